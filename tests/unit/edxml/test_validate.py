"""validate: every rule of the book at once, over what the tests' own builders make. The rules: test_rules.py."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

from edxml import BusinessKind, DocumentId, Packet, StatusCode, StatusPacket, read, validate
from edxml.rules import apply_rules
from tests.support.packets import build_packet, build_status, make_packet, make_status

TODAY = date(2025, 9, 2)


def test_what_the_builders_write_has_no_finding() -> None:
    for data in (build_packet(), build_status()):
        result = read(io.BytesIO(data))
        assert result.packet is not None
        assert validate(result.packet, today=TODAY) == result.findings == ()


def test_all_findings_come_at_once_in_the_order_of_the_rules() -> None:
    bad = make_packet(subject="", promulgation_date=None, signer_name="", business_kind=BusinessKind.REPLACEMENT)
    codes = [finding.code for finding in validate(bad, today=TODAY)]
    assert codes == [
        "edxml.subject_missing",
        "edxml.signer_missing",
        "edxml.promulgation_date_missing",
        "edxml.replacement_empty",
        "edxml.reference_missing",
    ]


def test_a_status_meets_the_rules_of_statuses_alone() -> None:
    status: StatusPacket = replace(make_status(status_code=StatusCode.REFUSED), description="", timestamp=None)
    assert {f.code for f in validate(status, today=TODAY)} == {
        "edxml.refusal_reason_missing",
        "edxml.timestamp_missing",
    }
    assert apply_rules(status, today=TODAY, statuses=()) == ()


def test_the_day_decides_what_is_future() -> None:
    packet: Packet = make_packet(document_id="18661")
    packet = replace(packet, document_id=DocumentId("18661"), trace=())
    early = {finding.code for finding in validate(packet, today=date(2025, 8, 31))}
    assert "edxml.promulgation_date_future" in early
    assert "edxml.promulgation_date_future" not in {f.code for f in validate(packet, today=date(2025, 9, 1))}
