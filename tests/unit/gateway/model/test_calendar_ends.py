"""The ends of the calendar, which strangers write: certificates without an end, and times that nobody lived through."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pytest

from edxml.messages import Language
from edxml.sign import Policy
from edxml.sign.verdicts import Verdict
from gateway.cli.output import make_voice
from gateway.inspector.pdf import inspect_pdf
from gateway.model.inspection import PdfVerdict
from gateway.model.instants import as_instant, as_local, local_iso
from tests.support.certificates import NOW, Authority
from tests.support.packets import build_packet
from tests.support.pdfs import plain_pdf, sign_pdf
from tests.unit.edxml.sign.forge import DS, ENVELOPED, EXCLUSIVE, check, forge

ROOT = Authority()
WHO = ROOT.issue()
NEVER = as_instant(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))  # RFC 5280 4.1.2.5: no well-defined end


def test_a_certificate_without_an_end_can_be_told() -> None:
    assert local_iso(NEVER) == "9999-12-31T23:59:59.000+00:00"
    assert local_iso(as_instant(NOW)) == "2026-06-01T15:00:00.000+07:00"
    assert local_iso(NEVER + 86_400_000_000).startswith("9999-12-31T23:59:59")
    assert local_iso(-as_instant(NOW) * 100) == "0001-01-01T00:00:00.000+00:00"
    assert local_iso(as_instant(datetime(1600, 1, 1, tzinfo=UTC))) == "1600-01-01T00:00:00.000+00:00"
    assert local_iso(as_instant(datetime(1960, 1, 1, tzinfo=UTC))) == "1960-01-01T08:00:00.000+08:00"
    assert make_voice(Language.EN).moment(NEVER) == "31/12/9999 23:59:59"


@pytest.mark.parametrize("micros", [0, 1, 999, 1_000, 59_999_999, 999_999, -1, -999_999, 1_790_000_000_123_456])
def test_a_moment_is_told_as_the_calendar_has_it(micros: int) -> None:
    for since in (0, as_instant(NOW), as_instant(datetime(1905, 12, 31, tzinfo=UTC))):
        assert local_iso(since + micros) == as_local(since + micros).isoformat(timespec="milliseconds")


@pytest.mark.parametrize("claimed", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_signature_of_a_time_outside_the_calendar_is_malformed(claimed: str) -> None:
    """Such a time was kept, and every answer that should tell it failed."""
    properties = (
        '<Object><x:QualifyingProperties xmlns:x="http://uri.etsi.org/01903/v1.3.2#" Target="#sig"><x:SignedProperties'
        f' Id="p"><x:SignedSignatureProperties><x:SigningTime>{claimed}</x:SigningTime></x:SignedSignatureProperties>'
        "</x:SignedProperties></x:QualifyingProperties></Object>"
    )

    def name(signature: object) -> None:
        signature.findall(f".//{{{DS}}}Reference")[1].set(  # type: ignore[attr-defined]
            "Type", "http://uri.etsi.org/01903#SignedProperties"
        )

    def signed(objects: str) -> bytes:
        targets = [("", (ENVELOPED, EXCLUSIVE)), ("#p", (EXCLUSIVE,))]
        return forge(build_packet(), WHO, targets=targets, objects=objects, edit=name)

    assert check(signed(properties.replace(claimed, "2026-05-01T00:00:00Z")), ROOT).verdict is Verdict.VALID
    assert check(signed(properties), ROOT).verdict is Verdict.MALFORMED


def test_a_pdf_that_claims_a_time_outside_the_calendar_claims_none() -> None:
    pdf = sign_pdf(plain_pdf(), WHO)
    claim = re.search(rb"/M \((D\\072\d{14}Z)\)", pdf)
    assert claim is not None
    policy = Policy.trusting([ROOT.certificate])
    for written in (b"D:00010101000000+14'", b"D:99991231235959-14'"):
        assert len(written) == len(claim[1])
        forged = pdf.replace(claim[1], written)
        (found,) = inspect_pdf(io.BytesIO(forged), policy, as_instant(NOW)).signatures
        assert found.verdict is PdfVerdict.BROKEN
        assert found.claimed_at is None
