"""Every named repair: made by what makes it, recorded with its place, refused by the strict profile."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from edxml import (
    REPAIRS,
    STRICT,
    BusinessKind,
    Language,
    Packet,
    Place,
    Profile,
    ReadResult,
    Repair,
    StatusCode,
    StatusPacket,
    open_decoded,
    read,
)
from tests.support.packets import build_packet, build_status, make_packet
from tests.support.soap import build_soap

GOOD = build_packet()
SOAP = build_soap()
STATUS = build_status()
PDF = b"%PDF-1.7\nxin chao\n%%EOF\n"


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def streamed_zip(data: bytes) -> bytes:
    """As Java writes it: sizes in a descriptor behind the data."""

    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError

        def tell(self) -> int:
            raise OSError

    out = Unseekable()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0d0e2e1c.pdf", data)
    return out.getvalue()


def with_content(data: bytes, content_type: str = "application/pdf", name: str = "van-ban.pdf") -> bytes:
    text = base64.b64encode(data)
    packet = re.sub(rb"(ContentTransferEncoded[^>]*>)[^<]*<", lambda m: m[1] + text + b"<", GOOD, count=1)
    return packet.replace(b"application/pdf", content_type.encode()).replace(b"van-ban.pdf", name.encode())


def cut(data: bytes, element: str) -> bytes:
    return re.sub(rb"\s*<edXML:%b>.*?</edXML:%b>" % (element.encode(), element.encode()), b"", data, flags=re.DOTALL)


def swap(old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new, count)


BUSINESS = GOOD[GOOD.index(b"<edXML:Bussiness>") : GOOD.index(b"</edXML:Bussiness>") + len(b"</edXML:Bussiness>")]
TRACE = GOOD[GOOD.index(b"<edXML:TraceHeader>") : GOOD.index(b"</edXML:TraceHeader>") + len(b"</edXML:TraceHeader>")]
ATTACHMENT = GOOD[GOOD.index(b"<Attachment>") : GOOD.index(b"</Attachment>") + len(b"</Attachment>")]
NS = b"http://www.mic.gov.vn/TBT/QCVN_102_2016"

CASES: dict[str, bytes] = {
    "attachment_id_doubled": swap(ATTACHMENT, ATTACHMENT + ATTACHMENT),
    "attachment_id_missing": swap(b"<ContentId>cid:1</ContentId>", b""),
    "attachment_name_missing": swap(b"<AttachmentName>van-ban.pdf</AttachmentName>", b""),
    "base64_padding": with_content(PDF + b"x").replace(b"==<", b"<").replace(b"=<", b"<"),
    "bom": b"\xef\xbb\xbf" + GOOD,
    "business_before_trace": swap(BUSINESS, b"").replace(TRACE, BUSINESS + TRACE),
    "business_kind_missing": swap(b"<edXML:BussinessDocType>0</edXML:BussinessDocType>", b""),
    "business_missing": swap(BUSINESS, b""),
    "business_spelling": swap(b"edXML:Bussiness>", b"edXML:Business>"),
    "cid_prefix_mismatch": swap(b"<ContentId>cid:1", b"<ContentId>1"),
    "content_cdata": re.sub(rb"(2016\">)(JVBER[^<]*)<", rb"\1\n<![CDATA[\2]]>\n<", GOOD),
    "content_type_mismatch": with_content(b"\x89PNG\r\n\x1a\n0000"),
    "date_form": swap(b"2025/09/01</edXML:Prom", b"01/09/2025</edXML:Prom"),
    "date_impossible": swap(b"2025/09/01</edXML:Prom", b"2025/02/30</edXML:Prom"),
    "document_id_derived": cut(SOAP, "DocumentId"),
    "empty_response_for": swap(b"<edXML:ToPlaces>", b"<edXML:ResponseFor /><edXML:ToPlaces>"),
    "encoded_unprefixed": swap(b"edXML:ContentTransferEncoded", b"ContentTransferEncoded"),
    "encoding_misdeclared": swap(b'encoding="UTF-8"', b'encoding="utf-16"'),
    "junk_before_prolog": b"1212" + GOOD,
    "mime_bare_lf": build_soap(end=b"\n"),
    "mime_boundary_undeclared": build_soap(head=b"MIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n"),
    "mime_encoding_undeclared": SOAP.replace(b"Content-Transfer-Encoding: 8bit\r\n", b""),
    "mime_text_outside": b"Day la thong diep MIME.\r\n" + SOAP,
    "namespace_missing": swap(b' xmlns="%b"' % NS, b""),
    "priority_words": swap(b"Priority>0<", "Priority>Hoả tốc<".encode()),
    "root_case": swap(b"<edXML xmlns", b"<EdXml xmlns").replace(b"</edXML>", b"</EdXml>"),
    "soap_envelope": SOAP,
    "soap_old_names": SOAP.replace(b"SignerInfo>", b"Author>").replace(b"PromulgationDate>", b"Date>"),
    "status_code_14": STATUS.replace(b"StatusCode>01", b"StatusCode>14"),
    "status_code_short": STATUS.replace(b"StatusCode>01", b"StatusCode>1"),
    "trace_missing": re.sub(rb"<edXML:TraceHeaderList>.*</edXML:TraceHeaderList>", b"", GOOD, flags=re.DOTALL),
    "trace_organ_missing": swap(TRACE, TRACE.replace(b"<edXML:OrganId>000.00.00.H99</edXML:OrganId>", b"")),
    "trace_organ_null": swap(TRACE, TRACE.replace(b"000.00.00.H99", b"null")),
    "trace_organ_unreadable": swap(TRACE, TRACE.replace(b"000.00.00.H99", "số 1".encode())),
    "utf16": GOOD.decode().replace('"UTF-8"', '"utf-16"').encode("utf-16"),
    "wrapper_missing": swap(b"<edXML:edXMLHeader>", b"").replace(b"</edXML:edXMLHeader>", b""),
    "zip_unwrapped": with_content(zipped(("a.pdf", PDF))),
}
COMPANIONS = {
    **{name: {"soap_envelope"} for name in CASES if name.startswith(("mime_", "soap_", "document_id_"))},
    "trace_missing": {"business_missing"},
    "zip_unwrapped": {"content_type_mismatch"},
}
"""Repairs that the same fault also needs."""


def names(result: ReadResult) -> set[str]:
    return {repair.name for repair in result.repairs}


def test_the_plain_packets_need_no_repair() -> None:
    for data in (GOOD, STATUS):
        assert not read(io.BytesIO(data), profile=STRICT).is_refused


def test_every_repair_has_a_case_and_a_text() -> None:
    assert set(CASES) == REPAIRS
    for name in REPAIRS:
        said = Repair(name=name, place=Place()).as_dict()
        assert said["vi"] != said["en"]
        assert not said["vi"].startswith("repair.")


@pytest.mark.parametrize("name", sorted(REPAIRS))
def test_repair_is_made_recorded_and_forbidden_by_strict(name: str) -> None:
    data = CASES[name]
    result = read(io.BytesIO(data))
    assert names(result) == {name} | COMPANIONS.get(name, set())
    assert not result.is_refused, result.findings
    if b"StatusCode" not in data and name not in ("date_impossible", "attachment_id_doubled", "namespace_missing"):
        expected = make_packet()
        assert isinstance(result.packet, Packet)
        assert result.packet.subject == expected.subject
        assert result.packet.recipients == expected.recipients
    strict = read(io.BytesIO(data), profile=STRICT)
    assert strict.is_refused
    told = {f.params["repair"] for f in strict.findings if f.code == "edxml.repair_forbidden"}
    assert told == names(result)


def test_what_is_wrong_with_the_bytes_has_its_line() -> None:
    lines = {"bom": 1, "utf16": 1, "encoding_misdeclared": 1, "junk_before_prolog": 1}
    for name, line in lines.items():
        assert read(io.BytesIO(CASES[name])).repairs[0].place == Place(line=line)
    (late,) = read(io.BytesIO(b"a\n\nb" + CASES["encoding_misdeclared"].replace(b"<?xml", b"\n<?xml"))).repairs[1:]
    assert (late.name, late.place.line) == ("encoding_misdeclared", 4)
    (section,) = read(io.BytesIO(CASES["content_cdata"])).repairs
    assert section.place.line == CASES["content_cdata"][: CASES["content_cdata"].index(b"<![CDATA[")].count(b"\n") + 1


def test_values_after_repair() -> None:
    def packet(name: str) -> Packet:
        found = read(io.BytesIO(CASES[name])).packet
        assert isinstance(found, Packet)
        return found

    assert packet("date_form").promulgation_date == date(2025, 9, 1)
    assert packet("date_impossible").promulgation_date is None
    assert packet("business_missing").business_kind is BusinessKind.NEW
    assert packet("trace_organ_null").trace[0].organ_id is None
    assert packet("empty_response_for").response_for == ()
    assert packet("attachment_name_missing").attachments[0].name == "van-ban.pdf"
    assert packet("cid_prefix_mismatch").attachments[0].content_id == "1"
    status = read(io.BytesIO(CASES["status_code_14"])).packet
    assert isinstance(status, StatusPacket)
    assert status.status_code is StatusCode.CHANGE_AGREED


@pytest.mark.parametrize(
    ("text", "day"),
    [("2025-9-1", date(2025, 9, 1)), ("1.9.2025", date(2025, 9, 1)), ("2025/9/1", date(2025, 9, 1)),
     ("2025-09-01T10:00:00+07:00", date(2025, 9, 1)), ("0001/01/01", None), ("hôm qua", None), ("31/02/2025", None)],
)  # fmt: skip
def test_forms_of_dates(text: str, day: date | None) -> None:
    result = read(io.BytesIO(swap(b"2025/09/01</edXML:Prom", text.encode() + b"</edXML:Prom")))
    assert isinstance(result.packet, Packet)
    assert result.packet.promulgation_date == day
    assert names(result) == {"date_impossible" if day is None else "date_form"}


@pytest.mark.parametrize(
    "text", ["01/09/2025 10:04:05", "2025-09-01T10:04:05", "2025-09-01 10:04:05.123", "2025/09/01 10:04:05"]
)
def test_forms_of_times(text: str) -> None:
    packet = read(io.BytesIO(STATUS.replace(b"2025/09/01 10:04:05", text.encode()))).packet
    assert isinstance(packet, StatusPacket)
    assert packet.timestamp == datetime(2025, 9, 1, 3, 4, 5, tzinfo=UTC)


Verdict = tuple[bytes, str, str, str, set[str], set[str]]
BIG = bytes(range(256)) * 400
ZIPS: dict[str, Verdict] = {
    # content, type, name, encoding that comes out, repairs, findings
    "declared": (zipped(("x.pdf", PDF)), "application/zip", "a.pdf", "zip", set(), set()),
    "stored": (zipped(("x.pdf", PDF), method=0), "application/zip", "a.pdf", "zip", set(), set()),
    "streamed": (streamed_zip(PDF), "application/zip", "a.pdf", "zip", set(), set()),
    "large": (streamed_zip(BIG), "application/zip", "a.bin", "zip", set(), set()),
    "undeclared": (
        zipped(("x", b"abc")), "text/plain", "a.txt", "zip", {"zip_unwrapped", "content_type_mismatch"}, set(),
    ),
    "is_a_zip": (zipped(("x", b"abc")), "application/zip", "a.zip", "base64", set(), set()),
    "office": (zipped(("a", b"1"), ("b", b"2")), "application/docx", "a.docx", "base64", set(), set()),
    "office_of_one": (zipped(("a", b"1")), "application/docx", "a.docx", "base64", set(), set()),
    "office_wrapped": (
        zipped(("x", zipped(("a", b"1"), ("b", b"2")))), "application/zip", "a.xlsx", "zip", set(), set(),
    ),
    "several": (zipped(("a", b"1"), ("b", b"2")), "application/zip", "a.doc", "base64", set(), set()),
    "nested": (zipped(("x", zipped(("y", b"1")))), "application/zip", "a.doc", "zip", set(), {"edxml.zip_nested"}),
    "cut": (zipped(("x", BIG))[:-30], "application/zip", "a.doc", "base64", set(), {"edxml.zip_damaged"}),
    "wrong_crc": (
        zipped(("x", BIG), method=0).replace(BIG[:9], b"123456789", 1),
        "application/zip", "a.doc", "base64", set(), {"edxml.zip_damaged"},
    ),
    "encrypted": (
        zipped(("x", PDF)).replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00"),
        "application/zip", "a.doc", "base64", set(), {"edxml.zip_encrypted"},
    ),
    "bomb": (zipped(("x", bytes(40 << 20))), "application/zip", "a.doc", "base64", set(), {"edxml.zip_bomb"}),
}  # fmt: skip


class Collector:
    """An attachment sink that keeps what comes."""

    def __init__(self) -> None:
        self.files: list[tuple[int, str, str, bytes]] = []
        self._data = bytearray()
        self._begun: tuple[int, str, str] = (0, "", "")
        self.ended: list[str] = []

    def begin(self, position: int, name: str, content_type: str) -> None:
        self._begun = (position, name, content_type)
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def end(self, attachment: object) -> None:
        self.files.append((*self._begun, bytes(self._data)))
        self.ended.append(attachment.digest)  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", ZIPS.values(), ids=ZIPS.keys())
def test_zips(case: Verdict) -> None:
    content, content_type, name, encoding, repairs, findings = case
    data = with_content(content, content_type, name)
    sink = Collector()
    result = read(io.BytesIO(data), on_attachment=sink)
    assert isinstance(result.packet, Packet)
    (attachment,) = result.packet.attachments
    assert attachment.encoding == encoding
    assert names(result) == repairs
    assert {finding.code for finding in result.findings} == findings
    assert result.is_refused == (findings == {"edxml.zip_bomb"})
    file = b"".join(open_decoded(io.BytesIO(data), attachment))
    assert sink.files == [(1, name, content_type, file)]
    assert sink.ended == [attachment.digest]
    assert len(file) == attachment.length
    if encoding == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert file == archive.read(archive.namelist()[0])
    else:
        assert file == content


LAYOUTS: dict[str, Callable[[bytes], bytes]] = {
    "lines of 76": lambda text: base64.encodebytes(base64.b64decode(text)),
    "CRLF": lambda text: base64.encodebytes(base64.b64decode(text)).replace(b"\n", b"\r\n"),
    "tabs and blanks": lambda text: b"\t " + b" ".join(text[i : i + 5] for i in range(0, len(text), 5)) + b"\n",
    "character references": lambda text: text[:10] + b"&#13;&#xD;\n&#10;" + text[10:] + b"&#x20;",
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_base64_in_any_layout_is_the_same_file(layout: Callable[[bytes], bytes]) -> None:
    text = re.search(rb"2016\">(JVBER[^<]*)<", GOOD)
    assert text is not None
    data = GOOD.replace(text[1], layout(text[1]))
    result = read(io.BytesIO(data))
    assert isinstance(result.packet, Packet)
    assert result.repairs == ()
    assert b"".join(open_decoded(io.BytesIO(data), result.packet.attachments[0])) == PDF


def test_findings_carry_both_languages_and_a_place() -> None:
    result = read(io.BytesIO(cut(cut(GOOD, "DocumentId"), "To")))
    told = {finding.code: finding for finding in result.findings}
    assert set(told) == {"edxml.document_id_missing", "edxml.recipient_missing"}
    assert result.packet is None
    finding = told["edxml.document_id_missing"].as_dict()
    assert finding["path"] == "edXML/edXMLEnvelope/edXMLHeader/MessageHeader/DocumentId"
    assert finding["line"] == 5
    assert finding["vi"] != finding["en"]
    assert told["edxml.recipient_missing"].text(Language.VI).startswith("Thiếu nơi nhận")


def test_elements_of_a_foreign_namespace_are_not_taken_for_ours() -> None:
    foreign = b'<x:OrganId xmlns:x="urn:x">000.00.01.H99</x:OrganId>'
    result = read(io.BytesIO(swap(b"<edXML:OrganId>000.00.01.H99</edXML:OrganId>", foreign)))
    assert {finding.code for finding in result.findings} == {"edxml.element_unknown", "edxml.organ_id_missing"}
    encoded = b"edXML:ContentTransferEncoded"
    moved = swap(b'<%b xmlns:edXML="%b"' % (encoded, NS), b'<%b xmlns:edXML="urn:x"' % encoded)
    assert "edxml.attachment_misplaced" in {finding.code for finding in read(io.BytesIO(moved)).findings}


def test_element_order_is_no_repair() -> None:
    packet = GOOD[GOOD.index(b"<edXML:From>") : GOOD.index(b"</edXML:MessageHeader>")]
    children = re.findall(rb"<edXML:(\w+)>.*?</edXML:\1>", packet, flags=re.DOTALL)
    assert len(children) > 8
    parts = [m[0] for m in re.finditer(rb"<edXML:(\w+)>.*?</edXML:\1>", packet, flags=re.DOTALL)]
    turned = GOOD.replace(packet, b"\n".join(reversed(parts)))
    result = read(io.BytesIO(turned), profile=Profile(name="no repair"))
    assert result.findings == ()
    assert isinstance(result.packet, Packet)
    assert result.packet.subject == make_packet().subject
