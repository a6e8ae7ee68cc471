"""Each rule told by its own example alone; taken out, its example passes. Edges that one example cannot show."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from edxml import (
    BusinessKind,
    DocumentId,
    Finding,
    Language,
    OrganId,
    Packet,
    Severity,
    StatusCode,
    StatusPacket,
    read,
    validate,
)
from edxml.rules import DOCUMENT_RULES, READING_RULES, STATUS_RULES, ReadingRule, Rule, apply_rules, content
from edxml.rules.examples import TODAY, document, organization, status
from edxml.rules.reading import example_bytes

RULES: tuple[Rule[Any], ...] = (*DOCUMENT_RULES, *STATUS_RULES)


def found(packet: Packet | StatusPacket) -> list[str]:
    return [finding.code.removeprefix("edxml.") for finding in validate(packet, today=TODAY)]


def without(rule: Rule[Any], packet: Packet | StatusPacket) -> tuple[Finding, ...]:
    documents = [one for one in DOCUMENT_RULES if one is not rule]
    statuses = [one for one in STATUS_RULES if one is not rule]
    assert len(documents) + len(statuses) == len(RULES) - 1
    return apply_rules(packet, today=TODAY, documents=documents, statuses=statuses)


def test_ids_are_unique() -> None:
    ids = [rule.id for rule in (*RULES, *READING_RULES)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("rule", RULES, ids=[rule.id for rule in RULES])
def test_rule_is_told_by_its_own_example_alone_and_vanishes_with_it(rule: Rule[Any]) -> None:
    assert validate(rule.good, today=TODAY) == ()
    findings = validate(rule.bad, today=TODAY)
    assert [(finding.code, finding.severity) for finding in findings] == [(rule.code, rule.severity)]
    assert without(rule, rule.bad) == ()
    for language in Language:
        assert rule.text(language) != rule.code
        assert "{" not in findings[0].text(language)
    assert not re.search(r"\d{4}-\d\d-\d\d", findings[0].text(Language.VI)), "a Vietnamese sentence says 28/09/2018"


def test_each_rule_names_the_law_the_standard_or_says_that_it_is_practice() -> None:
    source = re.compile(r"QCVN 102:2016/|QĐ \d+/\d{4}/QĐ-TTg|NĐ \d+/\d{4}/NĐ-CP|Luật |practice: ")
    assert [rule.id for rule in (*RULES, *READING_RULES) if not source.match(rule.source)] == []


@pytest.mark.parametrize("rule", RULES, ids=[rule.id for rule in RULES])
def test_place_is_the_path_of_an_element(rule: Rule[Any]) -> None:
    (finding,) = validate(rule.bad, today=TODAY)
    assert re.fullmatch(r"edXML(/[A-Za-z]+(\[\d+\])?)+", finding.place.path)


@pytest.mark.parametrize("rule", READING_RULES, ids=[rule.id for rule in READING_RULES])
def test_rule_of_reading_is_told_by_its_own_example_alone(rule: ReadingRule) -> None:
    good = example_bytes(rule.good)
    assert rule.right.encode() in good
    assert read(io.BytesIO(good)).findings == ()
    result = read(io.BytesIO(rule.bad))
    assert {(finding.code, finding.severity) for finding in result.findings} == {(rule.code, rule.severity)}
    for finding in result.findings:
        assert "{" not in finding.text(Language.VI) + finding.text(Language.EN)


@pytest.mark.parametrize("field", content.LENGTHS | content.BUSINESS_LENGTHS)
def test_each_length_has_its_limit(field: str) -> None:
    outer, _, inner = field.partition(".")
    limit = (content.LENGTHS | content.BUSINESS_LENGTHS)[field].limit

    def with_length(length: int) -> Packet:
        value: Any = "a" * length
        if inner:
            value = replace(getattr(document(), outer), **{inner: value})
        return document(**{outer: value})

    assert "value_too_long" not in found(with_length(limit))
    assert "value_too_long" in found(with_length(limit + 1))


def test_lengths_of_agencies_places_and_statuses() -> None:
    long = replace(organization("H99.02"), name="a" * 201, fax="1" * 21)
    assert found(document(recipients=(organization("H99.01"), long))) == ["value_too_long"] * 2
    assert found(document(sender=replace(document().sender, address="a" * 501))) == ["value_too_long"]
    assert found(document(to_places=("a" * 150, "b" * 151))) == ["value_too_long"]
    assert found(status(staff=replace(status().staff, mobile="1" * 31))) == ["status_value_too_long"]


ACT = {"type": "1", "type_name": "Quyết định"}
KINDS: dict[str, tuple[tuple[str, str], dict[str, Any], list[str]]] = {
    "decision": (("15", "QĐ-UBND"), {"type_name": "Quyết định"}, []),
    "decision, look-alike Đ": (("15", "QÐ-UBND"), {"type_name": "quyết  định"}, []),
    "decision as plan": (("15", "KH-UBND"), {"type_name": "Quyết định (cá biệt)"}, ["notation_kind_differs"]),
    "capitals": (("15", "TTR-STC"), {"type_name": "Tờ trình"}, []),
    "kind of 2020 alone": (("15", "PB-STC"), {"type_name": "Phiếu báo"}, []),
    "abbreviation of 2011": (("15", "GT-STC"), {"type_name": "Giấy giới thiệu"}, []),
    "abbreviation of 2020": (("15", "GGT-STC"), {"type_name": "Giấy giới thiệu"}, []),
    "act, year in the number": (("20/2025", "QĐ-UBND"), ACT, []),
    "act number 2025": (("2025", "2025/QĐ-UBND"), ACT, []),
    "act repeating its number": (("20", "20/2025/QĐ-UBND"), ACT, ["notation_repeats_number"]),
    "act of another year": (("20/2024", "QĐ-UBND"), ACT, ["notation_year_differs"]),
    "joint act": (("20", "2025/TTLT-BTC-BNV"), {"type": "1", "type_name": "Thông tư liên tịch"}, []),
    "law": (("80", "2025/QH15"), {"type": "1", "type_name": "Luật"}, []),
    "resolution of the assembly": (("43", "2025/QH15"), {"type": "1", "type_name": "Nghị quyết"}, []),
    "resolution of its committee": (("1678", "NQ-UBTVQH15"), {"type": "1", "type_name": "Nghị quyết"}, []),
    "letter": (("15", "VPCP-TTĐT"), {}, []),
    "letter with a year": (("15", "2024/VPCP-TTĐT"), {}, ["notation_year_differs"]),
    "number with letter": (("07bis", "UBND-VX"), {}, []),
    "official sample": (("74fass22", "UBND-VX"), {}, ["number_form"]),
    "zero": (("0", "UBND-VX"), {}, ["number_unpadded"]),
    "notation with ending hyphen": (("15", "UBND-"), {}, ["notation_form"]),
}


@pytest.mark.parametrize(("code", "changes", "codes"), KINDS.values(), ids=KINDS.keys())
def test_number_and_notation(code: tuple[str, str], changes: dict[str, Any], codes: list[str]) -> None:
    assert found(document(code=code, **changes)) == codes


@pytest.mark.parametrize("text", ["", "TM.", "KT", "TL. BỘ TRƯỞNG", "tuq.", "Q. GIÁM ĐỐC"])
def test_competences(text: str) -> None:
    assert found(document(signer_competence=text)) == []


def test_kinds_in_both_groups_go_with_either() -> None:
    for kind in ("Nghị quyết", "Quyết định", "Chỉ thị"):
        for group in "12":
            codes = found(document(type=group, type_name=kind))
            assert "type_differs" not in codes
    assert "type_differs" in found(document(type="2", type_name="Thông tư"))


def test_document_id_is_compared_in_either_form_of_the_code() -> None:
    assert found(document(document_id=DocumentId("H99,2025/09/01,123/ubnd-vx"))) == []
    other = document(document_id=DocumentId("H98,2025/09/02,124/UBND-VX"))
    told = [finding.params["field"] for finding in validate(other, today=TODAY)]
    assert told == ["From/OrganId", "PromulgationDate", "Code"]


def test_recall_needs_no_block_of_its_own() -> None:
    recall = document(business_kind=BusinessKind.RECALL, business_reason="Sai số liệu", attachments=(), references=())
    assert found(recall) == []


def test_directions_of_statuses() -> None:
    issuer, recipient = OrganId.parse("H99"), OrganId.parse("H99.01")
    back = status(status_code=StatusCode.TAKE_BACK, sender=organization("H99"), response_for={"organ_id": recipient})
    assert found(back) == []
    assert found(replace(back, response_for=replace(back.response_for, organ_id=issuer))) == ["status_target_differs"]
    local = status(response_for={"document_id": DocumentId("18661"), "organ_id": OrganId.parse("H98")})
    assert found(local) == []
    assert found(status(response_for={"promulgation_date": date(2025, 9, 2)})) == ["status_document_differs"]


def test_severities_are_those_of_old() -> None:
    """What refuses a packet is a promise to senders: a rule turned into an error breaks them."""
    errors = {rule.id for rule in RULES if rule.severity is Severity.ERROR}
    assert errors == {
        "subject_missing", "code_number_missing", "code_notation_missing", "number_controls",
        "promulgation_date_missing", "promulgation_date_future", "recipient_repeated", "replacement_empty",
        "reference_dangling", "receiver_change_contradicts", "status_document_missing",
    }  # fmt: skip
