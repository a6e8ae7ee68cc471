"""Rules beyond the form: each broken alone gives exactly its finding; a right packet gives none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from edxml import BusinessKind, DocumentId, OrganId, Reference, Replacement, Severity, StatusCode, validate
from edxml.packet import ReceiverChange
from tests.support.packets import make_packet, make_status, organization

TODAY = date(2025, 9, 2)
PACKET = replace(
    make_packet(), references=(Reference(content_id="cid:1", content_type="application/pdf", name="van-ban.pdf"),)
)
ERROR, WARNING = Severity.ERROR, Severity.WARNING
UPDATE = BusinessKind.UPDATE

BROKEN: dict[str, tuple[dict[str, Any], str, Severity]] = {
    "subject": ({"subject": ""}, "edxml.subject_missing", ERROR),
    "no date": ({"promulgation_date": None}, "edxml.promulgation_date_missing", ERROR),
    "future": (
        {"promulgation_date": date(2025, 9, 3), "document_id": DocumentId("1")},
        "edxml.promulgation_date_future",
        ERROR,
    ),
    "no signer": ({"signer_name": ""}, "edxml.signer_missing", WARNING),
    "no kind": ({"type_name": ""}, "edxml.type_name_missing", WARNING),
    "unknown kind": ({"type_name": "Thư tình"}, "edxml.type_name_unknown", WARNING),
    "long": ({"subject": "x" * 501}, "edxml.value_too_long", WARNING),
    "long reason": ({"business_reason": "x" * 501}, "edxml.value_too_long", WARNING),
    "nameless": ({"sender": replace(organization("000.00.00.H99"), name="")}, "edxml.organ_name_missing", WARNING),
    "twice": (
        {"recipients": (organization("000.00.01.H99"), organization("H99.01"))},
        "edxml.recipient_repeated",
        ERROR,
    ),
    "other id": ({"document_id": DocumentId("H98,2025/09/01,123/UBND-VX")}, "edxml.document_id_differs", WARNING),
    "unlisted": ({"references": ()}, "edxml.reference_missing", WARNING),
    "dangling": (
        {"references": (*PACKET.references, Reference(content_id="cid:2", name="b.pdf"))},
        "edxml.reference_dangling",
        ERROR,
    ),
    "empty update": ({"business_kind": UPDATE}, "edxml.update_empty", WARNING),
    "no reason": (
        {"business_kind": BusinessKind.RECALL, "business_reason": ""},
        "edxml.reason_missing",
        WARNING,
    ),
    "empty replacement": ({"business_kind": BusinessKind.REPLACEMENT}, "edxml.replacement_empty", ERROR),
}


def found(packet: Any) -> list[tuple[str, Severity]]:
    return [(finding.code, finding.severity) for finding in validate(packet, today=TODAY)]


def test_right_packets_have_no_finding() -> None:
    assert found(PACKET) == []
    assert found(make_status()) == []
    assert found(replace(PACKET, document_id=DocumentId("18661"))) == []
    changes = (ReceiverChange(OrganId.parse("H99.01"), False),)
    assert found(replace(PACKET, business_kind=UPDATE, receiver_changes=changes)) == []
    replaced = (Replacement(DocumentId("1"), (OrganId.parse("H99.01"),)),)
    assert found(replace(PACKET, business_kind=BusinessKind.REPLACEMENT, replacements=replaced)) == []


@pytest.mark.parametrize(("change", "code", "severity"), BROKEN.values(), ids=BROKEN.keys())
def test_rule(change: dict[str, Any], code: str, severity: Severity) -> None:
    assert found(replace(PACKET, **change)) == [(code, severity)]


def test_missing_code_is_told_part_by_part() -> None:
    codes = {code for code, _ in found(replace(PACKET, code_number="", code_notation=""))}
    assert codes == {"edxml.code_number_missing", "edxml.code_notation_missing", "edxml.document_id_differs"}


def test_status_rules() -> None:
    status = make_status()
    nothing = replace(status, response_for=replace(status.response_for, document_id=None, code=""))
    assert found(nothing) == [("edxml.status_document_missing", ERROR)]
    refusal = replace(status, status_code=StatusCode.REFUSED, description="")
    assert found(refusal) == [("edxml.refusal_reason_missing", WARNING)]
    assert found(replace(status, timestamp=None)) == [("edxml.timestamp_missing", WARNING)]


def test_all_findings_come_at_once() -> None:
    bad = replace(PACKET, subject="", promulgation_date=None, references=(), signer_name="")
    assert len(found(bad)) == 4
