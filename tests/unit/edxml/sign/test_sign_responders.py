"""Who may say that a certificate was revoked, and until when; what a link of a chain may not be passed over for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from edxml.sign import Policy
from edxml.sign.policy import RevocationMode
from edxml.sign.revocation import CachedRevocations
from edxml.sign.verdicts import Verdict
from tests.support.certificates import NOW, Authority, Issued, key_usage, name, new_key
from tests.unit.edxml.sign.forge import check, signed

DAY = timedelta(days=1)
EVER = 36_500  # days: an answer's own time is that of the machine that runs the test
ROOT = Authority()
WHO = ROOT.issue()
SIGNED = signed(WHO)


def verdict_with(*answers: bytes, packet: bytes = SIGNED, mode: RevocationMode = RevocationMode.HARD) -> Verdict:
    policy = replace(
        Policy.trusting([ROOT.certificate]),
        revocation=mode,
        revocation_source=CachedRevocations.load(answers=answers),
    )
    return check(packet, policy=policy).verdict


def delegate(**options: object) -> Issued:
    options = {"uses": (ExtendedKeyUsageOID.OCSP_SIGNING,), "days": (30, EVER)} | options
    return ROOT.issue("OCSP", **options)


def test_a_delegate_that_was_named_later_still_tells_of_a_revocation() -> None:
    """Authorities give responders new certificates every few weeks: the answer was passed over, and a revoked
    certificate was good under a soft policy."""
    later = delegate(days=(-2, EVER))
    revoked = ROOT.ocsp(WHO.certificate, revoked_at=NOW - DAY, at=NOW + 3 * DAY, responder=later)
    assert verdict_with(revoked) is Verdict.CERTIFICATE_REVOKED
    assert verdict_with(revoked, mode=RevocationMode.SOFT) is Verdict.CERTIFICATE_REVOKED
    assert verdict_with(ROOT.ocsp(WHO.certificate, at=NOW + 3 * DAY, responder=later)) is Verdict.VALID


@pytest.mark.parametrize(
    "options",
    [
        {"days": (30, -10)},  # ended before it answered
        {"usage": key_usage("key_encipherment")},
        {"hash": hashes.SHA224()},
        {"uses": (ExtendedKeyUsageOID.CLIENT_AUTH,)},
    ],
)
def test_no_delegate_of_the_issuer(options: dict[str, object]) -> None:
    assert verdict_with(ROOT.ocsp(WHO.certificate, responder=delegate())) is Verdict.VALID
    strange = ROOT.ocsp(WHO.certificate, responder=delegate(**options))
    assert verdict_with(strange) is Verdict.REVOCATION_UNKNOWN


def test_responders_forget_certificates_that_have_ended() -> None:
    ended = ROOT.issue("Hết hạn", days=(100, 5))
    packet = signed(ended)
    assert verdict_with(ROOT.ocsp(ended.certificate, at=NOW + 4 * DAY), packet=packet) is Verdict.VALID
    late = ROOT.ocsp(ended.certificate, at=NOW + 60 * DAY)
    assert verdict_with(late, packet=packet) is Verdict.REVOCATION_UNKNOWN
    revoked = ROOT.ocsp(ended.certificate, at=NOW + 60 * DAY, revoked_at=NOW - DAY)
    assert verdict_with(revoked, packet=packet) is Verdict.CERTIFICATE_REVOKED


@pytest.mark.parametrize("is_critical", [True, False])
def test_names_that_an_authority_may_not_certify_break_the_chain_however_they_are_marked(is_critical: bool) -> None:
    key = new_key()
    other = x509.NameConstraints(permitted_subtrees=[x509.DirectoryName(name("Cơ quan khác"))], excluded_subtrees=None)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("CA hẹp"))
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(other, critical=is_critical)
        .sign(ROOT.issued.key, hashes.SHA256())
    )
    narrow = Authority("Chưa dùng")
    narrow.issued = Issued(key=key, certificate=certificate, above=(ROOT.certificate,))
    assert check(signed(narrow.issue()), ROOT).verdict is Verdict.CHAIN_BROKEN
