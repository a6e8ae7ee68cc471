"""The writer: the same bytes each time, the element order of each dialect, and refusals of what cannot be written."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edxml import (
    STRICT,
    AttachmentDamaged,
    BusinessKind,
    Dialect,
    DocumentId,
    OrganId,
    Packet,
    Priority,
    ReceiverChange,
    Replacement,
    ResponseFor,
    TraceHeader,
    WriteRefused,
    open_decoded,
    plan_attachment,
    read,
    write,
    write_status,
)
from tests.support.packets import build_packet, build_status, make_packet, make_status

DATA = Path(__file__).parents[2] / "corpus" / "data"
FILES = (("Công văn số 123.pdf", b"%PDF-1.7\nxin chao\n%%EOF\n"), ("phụ lục.txt", "Xin chào\n".encode()))
FULL = {
    "files": FILES,
    "priority": Priority.EXPRESS,
    "business_kind": BusinessKind.UPDATE,
    "business_reason": "Sửa nơi nhận & <trích yếu>",
    "business_document_id": DocumentId("000.00.00.H99,2025/08/30,120/UBND-VX"),
    "document_changed": True,
    "receivers_changed": True,
    "receiver_changes": (
        ReceiverChange(OrganId.parse("000.00.01.H99"), False), ReceiverChange(OrganId.parse("H99.3"), True),
    ),
    "replacements": (Replacement(DocumentId("000.00.00.H99,2025/08/01,99/UBND"), (OrganId.parse("H99.02"),)),),
    "response_for": (
        ResponseFor(organ_id=OrganId.parse("H99.02"), code="7/SNV", document_id=DocumentId("H99.02,2025/08/02,7/SNV")),
    ),
}  # fmt: skip
GOLDEN = {
    "document_a.edxml": lambda: build_packet(**FULL),
    "document_b.edxml": lambda: build_packet(dialect=Dialect.B, **FULL),
    "status_a.edxml": build_status,
    "status_b.edxml": lambda: build_status(dialect=Dialect.B, code="02", description="Sai nơi nhận"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_bytes_are_those_of_the_first_day(name: str) -> None:
    """What a neighbour's system was tested against stays as it is; a change here is a change of our wire form."""
    assert GOLDEN[name]() == (DATA / name).read_bytes()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_pass_the_strict_profile(name: str) -> None:
    result = read(io.BytesIO((DATA / name).read_bytes()), profile=STRICT)
    assert not result.is_refused
    assert result.repairs == ()


def order(data: bytes, parent: bytes) -> list[str]:
    inside = re.search(rb"\n( *)<edXML:%b[^>]*>\n(.*?)\n\1</" % parent, data, flags=re.DOTALL)
    assert inside is not None
    found = re.findall(rb"^%b  <edXML:(\w+)" % inside[1], inside[2], flags=re.MULTILINE)
    return [name.decode() for name in found]


HEAD = ["Code", "PromulgationInfo", "DocumentType", "Subject", "Content", "SignerInfo"]


def test_dialect_a_has_the_order_of_vnpt() -> None:
    data = build_packet(**FULL)
    last = ["OtherInfo", "ResponseFor", "ToPlaces"]
    assert order(data, b"MessageHeader") == ["From", "To", "To", "DocumentId", *HEAD, *last]
    changes = ["Paper", "BussinessDocumentInfo", "ReplacementInfoList", "StaffInfo"]
    assert order(data, b"Bussiness") == ["DocumentId", "BussinessDocType", "BussinessDocReason", *changes]
    assert order(data, b"ResponseFor") == ["OrganId", "Code", "DocumentId"]


def test_dialect_b_has_the_order_of_the_standard() -> None:
    data = build_packet(dialect=Dialect.B, **FULL)
    last = ["ToPlaces", "OtherInfo", "ResponseFor", "DocumentId"]
    assert order(data, b"MessageHeader") == ["From", "To", "To", *HEAD, *last]
    assert b"<edXML:DigitalSignature/>" in data
    assert b'xlink:href="cid:1"' in data
    assert b"<ContentId>1</ContentId>" in data


REFUSED = {
    "no recipient": {"recipients": ()},
    "control character": {"subject": "a\x01b"},
    "half a character": {"subject": "a\ud800"},
    "trace without organ": {"trace": (TraceHeader(organ_id=None, timestamp=None),)},
    "recipient without organ": {"recipients": (replace(make_packet().recipients[0], organ_id=None),)},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_written_is_refused(change: dict[str, object]) -> None:
    packet = replace(make_packet(files=()), **change)  # type: ignore[arg-type]
    with pytest.raises(WriteRefused):
        write(packet, io.BytesIO())


@pytest.mark.parametrize("dialect", [Dialect.C, Dialect.D, Dialect.E, Dialect.F])
def test_other_dialects_are_not_written(dialect: Dialect) -> None:
    with pytest.raises(WriteRefused):
        write_status(make_status(), io.BytesIO(), dialect=dialect)


def test_other_bytes_than_planned_are_refused() -> None:
    with pytest.raises(WriteRefused, match="digest"):
        write(make_packet(), io.BytesIO(), open_attachment=[io.BytesIO(b"other")])


def test_attachments_may_come_as_pieces_and_are_opened_one_by_one() -> None:
    data = bytes(range(256)) * 2000
    files = [plan_attachment(f"{n}.bin", io.BytesIO(data), position=n) for n in (1, 2)]
    opened: list[int] = []

    def pieces(position: int) -> Iterator[bytes]:
        opened.append(position)
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    out = io.BytesIO()
    packet = make_packet(files=(), attachments=tuple(files))
    write(packet, out, open_attachment=lambda file: pieces(file.position))
    assert opened == [1, 2]
    again = read(io.BytesIO(out.getvalue())).packet
    assert isinstance(again, Packet)
    for attachment in again.attachments:
        assert b"".join(open_decoded(out, attachment)) == data


def test_opening_an_attachment_of_a_damaged_packet_says_so() -> None:
    data = build_packet()
    packet = read(io.BytesIO(data)).packet
    assert isinstance(packet, Packet)
    (attachment,) = packet.attachments
    start, _ = attachment.span
    with pytest.raises(AttachmentDamaged):
        b"".join(open_decoded(io.BytesIO(data[: start + 5]), attachment))
    with pytest.raises(AttachmentDamaged):
        b"".join(open_decoded(io.BytesIO(data[:start] + b"<" + data[start + 1 :]), attachment))
    with pytest.raises(AttachmentDamaged):
        b"".join(open_decoded(io.BytesIO(data), replace(attachment, encoding="zip")))
