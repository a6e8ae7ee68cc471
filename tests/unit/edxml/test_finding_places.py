"""Every finding says where: rules and secrecy marks too know the line, and no flood of findings hides another."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from edxml import DEFAULT_LIMITS, Finding, Severity, read
from edxml.rules import DOCUMENT_RULES, STATUS_RULES, Rule
from edxml.rules.examples import TODAY
from edxml.rules.reading import example_bytes
from edxml.secrecy import CODE as SECRECY
from tests.support.packets import build_packet


def findings(data: bytes, **options: Any) -> tuple[Finding, ...]:
    return read(io.BytesIO(data), today=TODAY, check_rules=True, **options).findings


def line_with(text: str, data: bytes) -> int:
    return next(number for number, line in enumerate(data.decode().splitlines(), 1) if text in line)


UNWRITABLE = ("reference_missing", "reference_dangling")
"""The writer makes the manifest anew, and right."""
RULES: tuple[Rule[Any], ...] = (*DOCUMENT_RULES, *STATUS_RULES)
WRITTEN = [rule for rule in RULES if rule.id not in UNWRITABLE]


@pytest.mark.parametrize("rule", WRITTEN, ids=[rule.id for rule in WRITTEN])
def test_each_rule_points_at_a_line_of_its_bad_example(rule: Rule[Any]) -> None:
    data = example_bytes(rule.bad)
    told = [finding for finding in findings(data) if finding.code == rule.code]
    assert told
    for finding in told:
        steps = [re.sub(r"\[\d+\]", "", step) for step in finding.place.path.split("/")]
        line = data.decode().splitlines()[(finding.place.line or 0) - 1]
        # the element itself or, where it is missing, the nearest above that stands there
        assert any(f"{step}>" in line or f"{step} " in line for step in steps), (finding.place, line)


def test_the_line_is_that_of_the_very_element() -> None:
    data = build_packet(recipients=("000.00.01.H99", "H99.02", "H99.01"), number="7", signer_name="")
    told = {finding.code: finding.place.line for finding in findings(data)}
    lines = data.decode().splitlines()
    third = [number for number, line in enumerate(lines, 1) if "<edXML:To>" in line][2]
    assert lines[(told["edxml.recipient_repeated"] or 0) - 1].strip() == "<edXML:OrganId>H99.01</edXML:OrganId>"
    assert third < (told["edxml.recipient_repeated"] or 0) < third + 5
    assert told["edxml.number_unpadded"] == line_with("<edXML:CodeNumber>7<", data)
    assert told["edxml.signer_missing"] == line_with("<edXML:SignerInfo>", data)


def test_lines_behind_an_attachment_count_its_lines() -> None:
    data = build_packet(files=(("a.pdf", b"%PDF-1.7 a"), ("../b.pdf", b"%PDF-1.7 b")))
    data = data.replace(b">JVBERi", b">\n\n\nJVBERi", 1)
    (unsafe,) = [finding for finding in findings(data) if finding.code == "edxml.attachment_name_unsafe"]
    assert unsafe.place.line == max(n for n, line in enumerate(data.decode().splitlines(), 1) if "../b.pdf" in line)


def test_a_packet_without_a_wrapper_has_lines_too() -> None:
    data = re.sub(rb"</?(?:edXML:)?edXMLHeader>", b"", build_packet(number="7"))
    data = data.replace(b"Bussiness>", b"Business>")
    (unpadded,) = [finding for finding in findings(data) if finding.code == "edxml.number_unpadded"]
    assert unpadded.place.line == line_with("<edXML:CodeNumber>", data)


def test_a_mark_of_secrecy_has_its_place_and_silences_the_rules() -> None:
    data = build_packet(subject="(MẬT) V/v kiểm tra", number="7")
    (mark,) = findings(data)
    assert (mark.code, mark.place.path.rpartition("/")[2]) == (SECRECY, "Subject")
    assert mark.place.line == line_with("<edXML:Subject>", data)
    cut = re.sub(rb"<edXML:From>.*?</edXML:From>", b"", data, flags=re.DOTALL)
    marks = [finding for finding in findings(cut) if finding.code == SECRECY]
    assert [mark.place.line for mark in marks] == [line_with("<edXML:Subject>", cut)]


def test_rules_need_a_day() -> None:
    with pytest.raises(ValueError, match="today"):
        read(io.BytesIO(build_packet()), check_rules=True)


def test_reading_judges_only_when_asked() -> None:
    data = build_packet(number="7")
    assert read(io.BytesIO(data), today=date(2025, 9, 2)).findings == ()


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        (b"<edXML:BussinessDocType>0", b"<edXML:BussinessDocType>7", "edxml.business_kind_unknown"),
        (b"<edXML:Subject>V/v", b"<edXML:Subject>(M\xe1\xba\xacT) V/v", SECRECY),
    ],
)
def test_a_flood_of_warnings_hides_no_error(right: bytes, wrong: bytes, code: str) -> None:
    data = build_packet().replace(right, wrong)
    flood = b"<edXML:Nothing/>" * (DEFAULT_LIMITS.findings + 5)
    result = read(io.BytesIO(data.replace(b"<edXML:From>", flood + b"<edXML:From>", 1)))
    assert [finding.code for finding in result.findings if finding.severity is Severity.ERROR] == [code]
    assert len(result.findings) == DEFAULT_LIMITS.findings + 1


def test_a_limit_of_findings_is_kept_for_each_code() -> None:
    limits = replace(DEFAULT_LIMITS, findings=2)
    data = build_packet().replace(b"<edXML:From>", b"<edXML:X/>" * 9 + b"<edXML:From/><edXML:From>")
    codes = [finding.code for finding in read(io.BytesIO(data), limits=limits).findings]
    assert codes.count("edxml.element_unknown") == 2
    assert codes.count("edxml.element_repeated") == 1
