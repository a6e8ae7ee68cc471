"""A finding names what is wrong, where, and what stood there, in both languages, gravest first."""

from __future__ import annotations

import io
import re
from datetime import date

import pytest

from edxml import Finding, Language, ReadResult, Severity, read
from tests.support.packets import build_packet

GOOD = build_packet(recipients=("000.00.01.H99",))


def judged(data: bytes) -> ReadResult:
    return read(io.BytesIO(data), check_rules=True, today=date(2026, 12, 1))


def with_value(name: str, value: bytes) -> bytes:
    changed, times = re.subn(rf"(<edXML:{name}>).*?<".encode(), rb"\g<1>" + value + b"<", GOOD, count=1)
    assert times == 1
    return changed


def the(code: str, result: ReadResult) -> Finding:
    (found,) = (finding for finding in result.findings if finding.code == code)
    return found


@pytest.mark.parametrize(
    ("data", "prefix", "line"),
    [
        (with_value("Subject", b"<x:y/>"), "x", 34),
        (GOOD.replace(b"<edXML:Subject>", b'<edXML:Subject q:a="1">'), "q", 34),
        (GOOD.replace(b"xmlns:edXML", b"xmlns:other"), "edXML", 3),
    ],
)
def test_the_advice_names_the_prefix_that_is_missing(data: bytes, prefix: str, line: int) -> None:
    finding = the("edxml.prefix_undeclared", judged(data))
    assert finding.place.line == line
    for language in Language:
        assert f"xmlns:{prefix} " in finding.text(language)


def test_no_other_finding_hides_a_prefix_that_is_missing() -> None:
    result = judged(with_value("Subject", b"<x:y/>").replace(b"JVBERi", b"!!!!!!"))
    assert [finding.code for finding in result.findings] == ["edxml.prefix_undeclared", "edxml.base64_garbage"]
    assert result.findings[0].place.line == 34


def test_a_file_that_is_no_base64_is_named() -> None:
    finding = the("edxml.base64_garbage", judged(GOOD.replace(b"JVBERi", b"!!!!!!")))
    for language in Language:
        assert "1 (“van-ban.pdf”)" in finding.text(language)


def test_a_date_that_is_none_is_told_as_it_stood_there() -> None:
    finding = the("edxml.date_unreadable", judged(with_value("PromulgationDate", b"2025/02/30")))
    assert finding.severity is Severity.WARNING
    for language in Language:
        assert "“2025/02/30”" in finding.text(language)


@pytest.mark.parametrize("name", ["CodeNumber", "CodeNotation"])
@pytest.mark.parametrize("letter", [b"&#x9;", b"&#x85;", b"\n", "\u2028".encode()])
def test_numbers_with_control_characters_are_refused(name: str, letter: bytes) -> None:
    result = judged(with_value(name, b"12" + letter + b"3"))
    assert result.is_refused
    shown = the("edxml.number_controls", result).text(Language.VI)
    assert "“12�3”" in shown
    assert shown.isprintable()


def test_what_refuses_the_packet_stands_first() -> None:
    data = with_value("PromulgationDate", b"2025/02/30").replace(b"<edXML:Type>2<", b"<edXML:Type>99<")
    gravities = [finding.severity for finding in judged(data).findings]
    assert Severity.WARNING in gravities
    assert gravities == sorted(gravities, key=lambda one: one is Severity.WARNING)
    assert gravities[0] is Severity.ERROR


def declared(name: str) -> bytes:
    return GOOD.replace(b'encoding="UTF-8"', f'encoding="{name}"'.encode())


@pytest.mark.parametrize("name", ["ascii", "US-ASCII", "windows-1258", "utf-16", "no-such-code", "hex", "cp037"])
def test_an_encoding_that_is_not_the_content_s_is_a_named_repair(name: str) -> None:
    result = judged(declared(name))
    assert not result.is_refused
    assert [repair.name for repair in result.repairs] == ["encoding_misdeclared"]


@pytest.mark.parametrize("name", ["ascii", "windows-1258"])
def test_an_encoding_that_reads_the_bytes_alike_is_no_lie(name: str) -> None:
    assert not judged(declared(name).decode().encode("ascii", "xmlcharrefreplace")).repairs


def test_a_packet_in_another_encoding_is_told_which_one_it_is_in() -> None:
    result = judged(declared("windows-1258").replace("ệ".encode(), b"\xea\xf2"))
    assert [finding.code for finding in result.findings] == ["edxml.encoding_unsupported"]
    assert "windows-1258" in result.findings[0].text(Language.VI)
    assert not result.repairs


@pytest.mark.parametrize(
    "broken",
    [
        b"<a b=1/>", b"<a b/>", b"<a 'x'/>", b"<a b='1'c='2'/>", b"<a:b:c/>", b"<:a/>", b"<?a:b ?>", b"<? x?>", b"&x ",
        b"&#q;", b"&#xD800;", b"<a xmlns:xml='u'/>", b"<a xmlns:b=''/>", b"<a xml:id='1 2'/>", b"<a <b/>", b"<1/>",
        b"<a xmlns:c='u' xmlns:b='u' c:d='' b:d=''/>",
    ],
)  # fmt: skip
def test_broken_xml_is_explained_in_the_reader_s_language(broken: bytes) -> None:
    finding = judged(with_value("Subject", broken)).findings[0]
    assert finding.code == "edxml.malformed"
    assert finding.params["why"] != "xml.other"
    words = set(re.findall(r"[a-z]+", finding.text(Language.VI).lower()))
    assert not words & {"parsing", "attribute", "expected", "expecting", "failed", "invalid", "name", "needed", "not"}
