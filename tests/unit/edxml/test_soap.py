"""Dialect D: an envelope and its parts become the packet that dialect A would have been; deviations have names."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from datetime import date

import pytest

from edxml import (
    STRICT,
    Dialect,
    Packet,
    ReadResult,
    StatusPacket,
    open_decoded,
    read,
    validate,
    write,
)
from tests.support.packets import build_packet, build_status, make_packet, make_status
from tests.support.soap import SOAP_11, SOAP_12, build_soap, soap_envelope, soap_message, soap_part

PDF = b"%PDF-1.7\nxin chao\n%%EOF\n"
FILES = (("van-ban.pdf", PDF), ("Phụ lục 1.bin", bytes(range(256)) * 5), ("ghi chú.txt", "Xin chào\r\n".encode()))
GOOD = build_soap()
ROOT = soap_part(soap_envelope(make_packet()), "8bit", "Content-Type: text/xml; charset=utf-8", "Content-ID: <Start>")
FILE = soap_part(PDF, "binary", "Content-Type: application/pdf", "Content-ID: <1>")


def read_bytes(data: bytes) -> ReadResult:
    return read(io.BytesIO(data))


def document(data: bytes) -> Packet:
    result = read_bytes(data)
    assert not result.is_refused, result.findings
    assert isinstance(result.packet, Packet)
    return result.packet


def codes(result: ReadResult) -> set[str]:
    return {finding.code for finding in result.findings}


def names(result: ReadResult) -> set[str]:
    return {repair.name for repair in result.repairs}


def files_of(data: bytes) -> list[bytes]:
    return [b"".join(open_decoded(io.BytesIO(data), file)) for file in document(data).attachments]


@pytest.mark.parametrize("namespace", [SOAP_11, SOAP_12])
@pytest.mark.parametrize("transfer", ["base64", "binary", "quoted-printable"])
def test_the_same_packet_as_in_dialect_a(transfer: str, namespace: str) -> None:
    data = build_soap(files=FILES, transfer=transfer, namespace=namespace)
    result = read_bytes(data)
    assert result.packet == document(build_packet(files=FILES))
    assert result.dialect is Dialect.D
    assert names(result) == {"soap_envelope"}
    assert result.findings == ()
    assert files_of(data) == [file for _, file in FILES]
    assert isinstance(result.packet, Packet)
    assert {file.transfer for file in result.packet.attachments} == {transfer}
    assert validate(result.packet, today=date(2025, 9, 2)) == ()


def test_strict_refuses_the_form_itself() -> None:
    strict = read(io.BytesIO(GOOD), profile=STRICT)
    assert strict.is_refused
    assert "edxml.repair_forbidden" in codes(strict)


def test_written_anew_it_is_dialect_a() -> None:
    data = build_soap(files=FILES, transfer="binary")
    packet, out = document(data), io.BytesIO()
    write(packet, out, open_attachment=lambda file: open_decoded(io.BytesIO(data), file))
    assert read(io.BytesIO(out.getvalue()), profile=STRICT).packet == packet


@pytest.mark.parametrize("transfer", ["base64", "binary", "quoted-printable"])
def test_a_zip_of_one_entry_is_unwrapped_from_any_encoding(transfer: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5_000))
    part = soap_part(
        out.getvalue(), transfer, "Content-Type: application/zip", 'Content-Disposition: x; filename="a.doc"'
    )
    data = soap_message([ROOT.replace(b'href="cid:1"', b'href="cid:9"').replace(b"van-ban.pdf", b"a.doc"), part])
    (file,) = document(data).attachments
    assert (file.encoding, file.sniffed, file.transfer, file.name) == ("zip", "ole", transfer, "a.doc")
    assert files_of(data) == [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5_000)]


class Collector:
    """An attachment sink that keeps what comes."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str, str]] = []
        self.data: list[bytes] = []

    def begin(self, position: int, name: str, content_type: str) -> None:
        self.begun.append((position, name, content_type))
        self.data.append(b"")

    def write(self, data: bytes) -> None:
        self.data[-1] += data

    def end(self, attachment: object) -> None:
        pass


def test_a_sink_gets_each_file_decoded_with_its_name_of_the_manifest() -> None:
    sink = Collector()
    read(io.BytesIO(build_soap(files=FILES, transfer="quoted-printable")), on_attachment=sink)
    assert [name for _, name, _ in sink.begun] == [name for name, _ in FILES]
    assert sink.data == [data for _, data in FILES]


LISTED = re.compile(rb"<edXML:Reference.*?</edXML:Reference>\n", re.DOTALL)
BARE = ROOT.replace(b"<edXML:AttachmentName>van-ban.pdf</edXML:AttachmentName>", b"")
NAMED = FILE.replace(b"Content-ID", b'Content-Disposition: attachment; filename="ten khac.pdf"\r\nContent-ID')
JOINS: dict[str, tuple[bytes, str, str, set[str]]] = {
    # message, name, content id, repairs beside soap_envelope
    "by_id": (soap_message([ROOT, FILE]), "van-ban.pdf", "1", set()),
    "name_of_the_manifest_first": (soap_message([ROOT, NAMED]), "van-ban.pdf", "1", set()),
    "name_of_the_part": (soap_message([BARE, NAMED]), "ten khac.pdf", "1", set()),
    "no_name": (soap_message([BARE, FILE]), "tep-1", "1", {"attachment_name_missing"}),
    "id_escaped": (
        soap_message([ROOT.replace(b"cid:1", b"cid:a%20b"), FILE.replace(b"<1>", b"<a b>")]),
        "van-ban.pdf", "a b", set(),
    ),
    "by_location": (
        soap_message(
            [ROOT.replace(b"cid:1", b"tep/1.pdf"), FILE.replace(b"Content-ID: <1>", b"Content-Location: tep/1.pdf")]
        ),
        "van-ban.pdf", "tep/1.pdf", set(),
    ),
    "by_location_beside_an_id": (
        soap_message([ROOT.replace(b"cid:1", b"1.pdf"), FILE.replace(b"<1>", b"<x>\r\nContent-Location: 1.pdf")]),
        "van-ban.pdf", "1.pdf", set(),
    ),
    "by_position": (
        soap_message([ROOT, FILE.replace(b"Content-ID: <1>\r\n", b"")]), "van-ban.pdf", "1", {"attachment_id_missing"},
    ),
    "id_as_an_element": (
        soap_message([ROOT.replace(b' xlink:href="cid:1"', b"").replace(
            b"<edXML:AttachmentName>", b"<edXML:ContentId>cid:1</edXML:ContentId><edXML:AttachmentName>"), FILE]),
        "van-ban.pdf", "1", set(),
    ),
    "manifest_of_the_later_name": (
        soap_message([ROOT.replace(b"edXML:Manifest", b"edXML:edXMLManifest"), FILE]), "van-ban.pdf", "1", set(),
    ),
    "manifest_in_a_call": (
        soap_message([
            ROOT.replace(b"<SOAP-ENV:Body>", b"<SOAP-ENV:Body><SendDocument>").replace(
                b"</SOAP-ENV:Body>", b"</SendDocument></SOAP-ENV:Body>"), FILE]),
        "van-ban.pdf", "1", set(),
    ),
    "type_lies": (
        soap_message([ROOT, FILE.replace(b"application/pdf", b"image/png")]),
        "van-ban.pdf", "1", {"content_type_mismatch"},
    ),
    "padding": (
        soap_message([ROOT, soap_part(PDF + b"x", "base64", "Content-Type: application/pdf", "Content-ID: <1>")
                      .replace(b"=", b"")]),
        "van-ban.pdf", "1", {"base64_padding"},
    ),
    "root_declares_another_charset": (
        soap_message([ROOT.replace(b"charset=utf-8", b"charset=windows-1258"), FILE]),
        "van-ban.pdf", "1", {"encoding_misdeclared"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "name", "content_id", "repairs"), JOINS.values(), ids=JOINS.keys())
def test_files_and_their_lines_in_the_manifest(data: bytes, name: str, content_id: str, repairs: set[str]) -> None:
    result = read_bytes(data)
    assert names(result) == {"soap_envelope", *repairs}, result.repairs
    assert isinstance(result.packet, Packet)
    (file,) = result.packet.attachments
    assert (file.name, file.content_id) == (name, content_id)
    assert result.packet.references[0].content_id.removeprefix("cid:") == content_id
    assert "edxml.reference_dangling" not in {found.code for found in validate(result.packet, today=date(2025, 9, 2))}


def test_a_file_without_a_line_in_the_manifest_is_kept() -> None:
    packet = document(soap_message([LISTED.sub(b"", ROOT), NAMED]))
    assert [file.name for file in packet.attachments] == ["ten khac.pdf"]
    assert "edxml.reference_missing" in {found.code for found in validate(packet, today=date(2025, 9, 2))}


def test_what_every_piece_of_a_part_shows_is_told_once() -> None:
    part = b"Content-Type: application/octet-stream\r\nContent-ID: <1>\r\n\r\n" + b"\xff" * 500_000
    result = read_bytes(soap_message([ROOT, part]))
    places = [repair.place.line for repair in result.repairs if repair.name == "mime_encoding_undeclared"]
    assert places == [ROOT.count(b"\n") + 4]


def test_two_parts_of_one_id_are_both_kept() -> None:
    result = read_bytes(soap_message([ROOT, FILE, FILE]))
    assert "attachment_id_doubled" in names(result)
    assert isinstance(result.packet, Packet)
    assert [file.content_id for file in result.packet.attachments] == ["1", "1-2"]
    (place,) = (repair.place for repair in result.repairs if repair.name == "attachment_id_doubled")
    assert place.path == "multipart/part[3]"
    assert soap_message([ROOT, FILE, FILE]).splitlines()[(place.line or 0) - 1] == b"Content-Type: application/pdf"


START = b'Content-Type: multipart/related; boundary=Boundary; start="<Start>"\r\n\r\n'


def test_the_root_may_come_last_where_the_message_names_it() -> None:
    assert document(soap_message([FILE, ROOT], head=START)) == document(GOOD)
    assert codes(read_bytes(soap_message([FILE], head=START))) == {"edxml.mime_root_missing"}
    assert codes(read_bytes(soap_message([FILE, ROOT]))) == {"edxml.not_xml"}


@pytest.mark.parametrize("transfer", ["base64", "quoted-printable"])
def test_the_root_may_be_encoded(transfer: str) -> None:
    root = soap_part(soap_envelope(make_packet()), transfer, "Content-Type: text/xml", "Content-ID: <Start>")
    assert document(soap_message([root, FILE])) == document(GOOD)


def test_an_envelope_without_mime_is_read_but_has_no_files() -> None:
    packet = document(soap_envelope(make_packet()))
    assert packet.attachments == ()
    assert packet.dialect is Dialect.D
    found = validate(packet, today=date(2025, 9, 2))
    assert "edxml.reference_dangling" in {finding.code for finding in found}


def test_a_status_in_an_envelope() -> None:
    inner = build_status().decode()
    header = inner[inner.index("<edXML:MessageHeader>") : inner.index("</edXML:edXMLHeader>")]
    root = f'<e:Envelope xmlns:e="{SOAP_12}" xmlns:edXML="http://www.e-doc.vn/Schema/"><e:Header>{header}</e:Header></e:Envelope>'
    result = read_bytes(soap_message([soap_part(root.encode(), "8bit", "Content-Type: application/soap+xml")]))
    assert isinstance(result.packet, StatusPacket)
    assert result.packet == make_status()


DRAFT: dict[str, Callable[[bytes], bytes]] = {
    "author": lambda data: data.replace(b"SignerInfo>", b"Author>").replace(b"edXML:Position>", b"edXML:Function>"),
    "date": lambda data: data.replace(b"PromulgationDate>", b"Date>"),
    "type": lambda data: re.sub(
        rb"<edXML:DocumentType>.*</edXML:DocumentType>",
        "<edXML:type><value>2</value><description>Công văn</description></edXML:type>".encode(), data, flags=re.DOTALL,
    ),
    "hop": lambda data: re.sub(
        rb"(<edXML:TraceHeader>\s*)(<edXML:OrganId>.*?</edXML:OrganId>)",
        rb"\1<edXML:Sender>\2</edXML:Sender><edXML:Receiver><edXML:OrganId>H1</edXML:OrganId></edXML:Receiver>", data,
        flags=re.DOTALL,
    ),
}  # fmt: skip


@pytest.mark.parametrize("draft", DRAFT.values(), ids=DRAFT.keys())
def test_names_of_the_drafts(draft: Callable[[bytes], bytes]) -> None:
    data = draft(GOOD)
    assert data != GOOD
    result = read_bytes(data)
    assert names(result) == {"soap_envelope", "soap_old_names"}
    assert result.findings == ()
    good = document(GOOD)
    assert isinstance(result.packet, Packet)
    for field in ("signer_name", "signer_position", "promulgation_date", "type", "type_name", "trace"):
        assert getattr(result.packet, field) == getattr(good, field), field


def without_document_id(data: bytes) -> bytes:
    return re.sub(rb"<edXML:DocumentId>.*?</edXML:DocumentId>", b"", data)


def test_a_missing_document_id_is_made_of_what_identifies_the_document() -> None:
    result = read_bytes(without_document_id(GOOD).replace(b"2025/09/01</edXML:Prom", b"01/09/2025</edXML:Prom"))
    assert isinstance(result.packet, Packet)
    assert result.packet.document_id == document(GOOD).document_id
    assert "document_id_derived" in names(result)
    for gone in (b"123</edXML:CodeNumber>", b"UBND-VX</edXML:CodeNotation>", b"2025/09/01</edXML:PromulgationDate>"):
        assert "edxml.document_id_missing" in codes(
            read_bytes(without_document_id(GOOD).replace(gone, gone[gone.index(b"<") :]))
        )


def with_block(block: bytes) -> bytes:
    return GOOD.replace(b"<SOAP-ENV:Header>", b"<SOAP-ENV:Header>" + block)


FAULT = b"<SOAP-ENV:Fault><faultstring>Het  phien</faultstring></SOAP-ENV:Fault>"
REFUSED: dict[str, tuple[bytes, str]] = {
    "must_be_understood": (
        with_block(b'<w:Security xmlns:w="urn:w" SOAP-ENV:mustUnderstand="1"/>'), "edxml.soap_not_understood",
    ),
    "fault": (GOOD.replace(b"<SOAP-ENV:Body>", b"<SOAP-ENV:Body>" + FAULT), "edxml.soap_fault"),
    "nested": (
        soap_message([ROOT, soap_part(GOOD, "8bit", "Content-Type: multipart/mixed; boundary=x")]), "edxml.mime_nested",
    ),
    "root_is_dialect_a": (soap_message([soap_part(build_packet(), "8bit")]), "edxml.mime_root_unknown"),
    "root_is_a_file": (soap_message([FILE, ROOT]), "edxml.not_xml"),
    "root_garbage": (soap_message([soap_part(b"*", "base64").replace(b"Kg==", b"K*==")]), "edxml.mime_root_garbage"),
    "root_bad_quotes": (
        soap_message([b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<a=zz/>"]), "edxml.mime_root_garbage",
    ),
    "file_bad_quotes": (
        soap_message([ROOT, b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=zz"]),
        "edxml.quoted_printable_garbage",
    ),
    "file_garbage": (
        soap_message([ROOT, b"Content-Transfer-Encoding: base64\r\n\r\nQUJ*"]), "edxml.base64_garbage",
    ),
    "dtd_in_root": (
        GOOD.replace(b"<SOAP-ENV:Envelope", b"<!DOCTYPE x []><SOAP-ENV:Envelope"), "edxml.dtd_forbidden",
    ),
    "content_in_envelope": (
        with_block(b"<ContentTransferEncoded>QUJD</ContentTransferEncoded>"), "edxml.attachment_misplaced",
    ),
    "no_header": (
        re.sub(rb"<SOAP-ENV:Header>.*</SOAP-ENV:Header>", b"", GOOD, flags=re.DOTALL), "edxml.header_missing",
    ),
    "no_message_header": (GOOD.replace(b"MessageHeader>", b"Other>"), "edxml.header_missing"),
    "second_manifest": (
        GOOD.replace(b"</edXML:Manifest>", b"</edXML:Manifest><edXML:Manifest/>"), "edxml.element_repeated",
    ),
    "second_manifest_in_a_call": (
        GOOD.replace(b"</edXML:Manifest>", b"</edXML:Manifest><send><edXML:edXMLManifest/></send>"),
        "edxml.element_repeated",
    ),
    "files": (soap_message([ROOT, *[FILE] * 201]), "edxml.too_many_attachments"),
    "secret": (GOOD.replace("V/v kết nối".encode(), "(MẬT) V/v kết nối".encode()), "edxml.secrecy_mark"),
    "secret_field_of_the_draft": (
        GOOD.replace(b"<edXML:OtherInfo>", "<edXML:OtherInfo><edXML:Secret>Mật</edXML:Secret>".encode()),
        "edxml.secrecy_mark",
    ),
    "secret_name_of_a_part_of_a_broken_packet": (
        soap_message([
            without_document_id(ROOT).replace(b"CodeNumber>", b"X>"),
            FILE.replace(b"Content-ID", 'Content-Disposition: x; filename="TỐI MẬT.pdf"\r\nContent-ID'.encode()),
        ]),
        "edxml.secrecy_mark",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_by_name(data: bytes, code: str) -> None:
    result = read_bytes(data)
    assert result.is_refused
    assert code in codes(result), codes(result)


def test_blocks_that_need_not_be_understood_are_passed_over() -> None:
    result = read_bytes(with_block(b'<a:Action xmlns:a="urn:a" SOAP-ENV:mustUnderstand="0">x</a:Action>'))
    assert not result.is_refused
    assert result.findings == ()


def test_errors_that_come_along_are_told() -> None:
    (finding,) = read_bytes(with_block(b"<edXML:ErrorList><Error/><Error/></edXML:ErrorList>")).findings
    assert (finding.code, finding.params["count"]) == ("edxml.soap_errors_listed", 2)


def test_no_token_is_told() -> None:
    result = read_bytes(GOOD.replace(b"<edXML:To>", b"<edXML:Nowhere>").replace(b"</edXML:To>", b"</edXML:Nowhere>"))
    assert result.is_refused
    assert "chi-la-thu" not in repr(result)
