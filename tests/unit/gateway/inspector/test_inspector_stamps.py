"""A time stamp by an authority whose key was stolen proves no time: whoever has the key could state any."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from edxml.sign import Policy
from edxml.sign.certificates import load_certificates
from edxml.sign.policy import RevocationMode
from edxml.sign.revocation import CachedRevocations
from gateway.inspector.pdf import inspect_pdf
from gateway.model.inspection import PdfVerdict, StampState
from gateway.model.instants import as_instant
from tests.support.certificates import NOW, Authority
from tests.support.pdfs import plain_pdf, sign_pdf, stamp_pdf, stamping

DAY = timedelta(days=1)
ROOT, TSA = Authority("CA"), Authority("CA thời gian")
STAMPER = stamping(TSA, NOW - 20 * DAY)


def listed(since: datetime, reason: x509.ReasonFlags | None) -> bytes:
    """The authority's list with its stamper on it."""
    assert isinstance(STAMPER.tsa_cert, asn1_x509.Certificate)
    (stamper,) = load_certificates([STAMPER.tsa_cert.dump()])
    entry = x509.RevokedCertificateBuilder().serial_number(stamper.serial_number).revocation_date(since)
    if reason is not None:
        entry = entry.add_extension(x509.CRLReason(reason), critical=False)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(TSA.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_revoked_certificate(entry.build())
    )
    return made.sign(TSA.issued.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def policy_with(lists: Sequence[bytes]) -> Policy:
    return Policy(
        anchors=(ROOT.certificate,),
        time_stamp_anchors=(TSA.certificate,),
        revocation_source=CachedRevocations.load(lists=lists),
    )


@pytest.mark.parametrize(
    ("since", "reason", "is_good"),
    [
        (NOW - 5 * DAY, x509.ReasonFlags.key_compromise, False),  # the stamp says that it is older: it would
        (NOW - 5 * DAY, None, False),
        (NOW - 5 * DAY, x509.ReasonFlags.superseded, True),
        (NOW - 5 * DAY, x509.ReasonFlags.cessation_of_operation, True),
        (NOW - 30 * DAY, x509.ReasonFlags.superseded, False),
        (NOW + DAY, x509.ReasonFlags.key_compromise, True),  # nobody knew when the packet came
    ],
)
def test_a_stamp_by_a_revoked_authority(since: datetime, reason: x509.ReasonFlags | None, is_good: bool) -> None:
    """An expired signer's document was made good by a stamp that anybody with the stolen key could make."""
    ended = ROOT.issue("Hết hạn", days=(365, -10))
    pdf = sign_pdf(plain_pdf(), ended, stamper=STAMPER)
    policy = policy_with([listed(since, reason), ROOT.crl(at=NOW - 30 * DAY, days=60)])
    (one,) = inspect_pdf(io.BytesIO(pdf), policy, as_instant(NOW)).signatures
    expected = (PdfVerdict.VALID, StampState.GOOD) if is_good else (PdfVerdict.EXPIRED, StampState.INVALID)
    assert (one.verdict, one.stamp) == expected
    _, whole = inspect_pdf(io.BytesIO(stamp_pdf(pdf, STAMPER)), policy, as_instant(NOW)).signatures
    assert whole.is_stamp
    assert (whole.stamp is StampState.GOOD, whole.stamped_at is not None) == (is_good, is_good), "over the file as well"
    unasked = replace(policy, revocation=RevocationMode.OFF)
    assert inspect_pdf(io.BytesIO(pdf), unasked, as_instant(NOW)).signatures[0].stamp is StampState.GOOD
