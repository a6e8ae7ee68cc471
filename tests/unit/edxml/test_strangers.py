"""What a stranger's packet hides: second blocks, markup in values, files under odd prefixes; and what is said of it."""

from __future__ import annotations

import io

import pytest

from edxml import Language, ReadResult, Severity, StatusPacket, read
from edxml.limits import DEFAULT_LIMITS
from edxml.rules.examples import GOOD_DOCUMENT
from edxml.rules.reading import example_bytes
from edxml.sign.signing import SigningRefused, read_tidy

GOOD = example_bytes(GOOD_DOCUMENT).decode()


def read_text(text: str) -> ReadResult:
    """The packet read three times over, so that it is judged by its shape as well: all must say the same."""
    data = text.encode()
    results = [read(io.BytesIO(data)) for _ in range(3)]
    assert results[0].findings == results[1].findings == results[2].findings
    assert results[0].packet == results[1].packet == results[2].packet
    return results[0]


def codes(result: ReadResult, severity: Severity = Severity.ERROR) -> list[str]:
    return [finding.code for finding in result.findings if finding.severity is severity]


BLOCKS = {
    "edXMLEnvelope": "edXMLEnvelope",
    "edXMLHeader": "edXMLHeader",
    "MessageHeader": "MessageHeader",
    "TraceHeaderList": "TraceHeaderList",
    "edXMLBody": "edXMLBody",
    "edXMLManifest": "edXMLManifest",
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_second_block_is_refused_since_others_may_read_that_one(name: str) -> None:
    start, end = GOOD.index(f"<edXML:{name}"), GOOD.index(f"</edXML:{name}>") + len(f"</edXML:{name}>")
    block = GOOD[start:end]
    result = read_text(GOOD[:end] + block.replace("V/v kết nối", "V/v việc khác") + GOOD[end:])
    assert codes(result) == ["edxml.element_repeated"]
    assert result.findings[0].params["name"] == name
    assert result.findings[0].place.line is not None


def test_a_second_list_of_files_is_read_and_told() -> None:
    start, end = GOOD.index("  <AttachmentEncoded>"), GOOD.index("</AttachmentEncoded>") + len("</AttachmentEncoded>\n")
    second = GOOD[start:end].replace("cid:1", "cid:2").replace("van-ban.pdf", "phu-luc.pdf")
    result = read_text(GOOD[:end] + second + GOOD[end:])
    assert "edxml.element_repeated" in codes(result, Severity.WARNING)
    assert result.packet is not None
    assert not isinstance(result.packet, StatusPacket)
    assert len(result.packet.attachments) == 2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("<edXML:Subject>V/v", "<edXML:Subject><b>TUYỆT</b> V/v"),
        ("<edXML:Content>", "<edXML:Content><b/>"),
        ("<edXML:TypeName>", "<edXML:TypeName>Công <i>văn</i> "),
        ("<edXML:OrganName>", "<edXML:OrganName><i>UBND</i>"),
    ],
)
def test_markup_within_a_value_is_refused_since_a_part_would_be_lost(right: str, wrong: str) -> None:
    assert GOOD.count(right) >= 1
    result = read_text(GOOD.replace(right, wrong, 1))
    assert "edxml.value_mixed" in codes(result)


def test_appendixes_hold_lines() -> None:
    result = read_text(
        GOOD.replace(
            "</edXML:OtherInfo>",
            "<edXML:Appendixes><edXML:Appendix>a</edXML:Appendix></edXML:Appendixes></edXML:OtherInfo>",
        )
    )
    assert codes(result) == []


@pytest.mark.parametrize("prefix", ["p" * 65, "p" * 5000, "ệ" * 30])
def test_a_file_is_found_under_a_prefix_of_any_length(prefix: str) -> None:
    result = read_text(
        GOOD.replace("edXML:ContentTransferEncoded", f"{prefix}:ContentTransferEncoded").replace(
            "ContentTransferEncoded xmlns:edXML=", f"ContentTransferEncoded xmlns:{prefix}="
        )
    )
    assert isinstance(result.packet, type(GOOD_DOCUMENT))
    assert [file.digest for file in result.packet.attachments] == [file.digest for file in GOOD_DOCUMENT.attachments]


@pytest.mark.parametrize("with_files", [True, False])
def test_an_entity_of_html_is_named_where_it_stands(with_files: bool) -> None:
    text = GOOD.replace("V/v kết nối", "V/v kết&nbsp;nối", 1)
    if not with_files:
        start, end = (
            GOOD.index("  <AttachmentEncoded>"),
            GOOD.index("</AttachmentEncoded>") + len("</AttachmentEncoded>\n"),
        )
        text = text.replace(GOOD[start:end], "")
    result = read_text(text)
    assert codes(result) == ["edxml.entity_undeclared"]
    assert result.findings[0].place.line == text[: text.index("&nbsp;")].count("\n") + 1
    assert "&nbsp;" in result.findings[0].text(Language.VI)


@pytest.mark.parametrize(
    "text",
    [GOOD.replace("V/v kết nối", "<![CDATA[V/v kết&nbsp;nối]]>", 1), GOOD.replace("V/v", "V/v<!-- &nbsp; -->", 1)],
)
def test_what_only_looks_like_an_entity_is_let_be(text: str) -> None:
    assert codes(read_text(text)) == []


def test_what_libxml2_finds_too_deep_is_called_so() -> None:
    result = read_text(GOOD.replace("<edXML:Subject>", "<d>" * 300 + "</d>" * 300 + "<edXML:Subject>"))
    assert codes(result) == ["edxml.too_deep"]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("V/v", "A & B", "&amp;"),
        ("V/v", "A < B", "&lt;"),
        ("V/v", "A\x00B", "ký tự mà XML cấm"),
        ("V/v", "A\x1bB", "ký tự mà XML cấm"),
        ("V/v", "A&#0;B", "ký tự mà XML cấm"),
        ("V/v", "A]]>B", "]]>"),
        ("</edXML:Subject>", "</edXML:Content>", "thẻ đóng"),
        ("<edXML:Subject>", "<edXML:Subject a=1>", "dấu nháy"),
        ("<edXML:Subject>", "<edXML:Subject a>", "dấu nháy"),
        ("<edXML:Subject>", "<edXML:Subject a='1' a='2'>", "hai thuộc tính"),
        ("<edXML:Subject>", "<!-- a -- b --><edXML:Subject>", "chú thích"),
        ("<edXML:Subject>", "<!1><edXML:Subject>", "“<!”"),
        ("</edXML>", "</edXML>x", "sau phần tử gốc"),
    ],
)
def test_why_xml_is_not_well_formed_is_said_in_the_clerks_language(right: str, wrong: str, said: str) -> None:
    assert right in GOOD
    (finding,) = read_text(GOOD.replace(right, wrong, 1)).findings
    assert finding.code == "edxml.malformed"
    assert said in finding.text(Language.VI)
    assert "XML sai cú pháp: xml." not in finding.text(Language.VI)
    assert finding.text(Language.VI) != finding.text(Language.EN)


def test_who_signs_is_told_in_one_language_why_not() -> None:
    with pytest.raises(SigningRefused) as refused:
        read_tidy(io.BytesIO(GOOD[:-20].encode()), DEFAULT_LIMITS)
    told = refused.value.text(Language.VI)
    assert "Gói tin bị cắt cụt" in told
    assert "packet" not in told
