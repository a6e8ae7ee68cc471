"""Packets for tests, made by the project's own writer: build_packet(…) and build_status(…) give bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from edxml import (
    Attachment,
    Dialect,
    DocumentId,
    OrganId,
    Organization,
    Packet,
    ResponseFor,
    StaffInfo,
    StatusCode,
    StatusPacket,
    TraceHeader,
    plan_attachment,
    write,
    write_status,
)

__all__ = [
    "SENDER",
    "build_packet",
    "build_status",
    "make_packet",
    "make_status",
    "organization",
    "random_attachments",
]

SENDER = "000.00.00.H99"
RECIPIENTS = ("000.00.01.H99", "H99.02")
PROMULGATED = date(2025, 9, 1)
Files = Sequence[tuple[str, bytes]]


def organization(organ: str, name: str = "") -> Organization:
    """An agency with the code `organ` and a plausible name."""
    return Organization(
        organ_id=OrganId.parse(organ),
        raw_organ_id=organ,
        name=name or f"Cơ quan {organ}",
        in_charge="UBND tỉnh Nghệ An",
        email="vanthu@nghean.gov.vn",
        telephone="0238 3840418",
    )


def make_packet(
    *,
    sender: str = SENDER,
    recipients: Iterable[str] = RECIPIENTS,
    number: str = "123",
    notation: str = "UBND-VX",
    document_id: str | None = None,
    files: Files = (("van-ban.pdf", b"%PDF-1.7\nxin chao\n%%EOF\n"),),
    **overrides: Any,
) -> Packet:
    """A right packet; `overrides` are fields of edxml.Packet and win over the rest."""
    organ = OrganId.parse(sender)
    own_id = document_id or f"{sender},{PROMULGATED:%Y/%m/%d},{number}/{notation}"
    packet = Packet(
        sender=organization(sender),
        recipients=tuple(organization(code) for code in recipients),
        document_id=DocumentId(own_id),
        code_number=number,
        code_notation=notation,
        promulgation_place="Nghệ An",
        promulgation_date=PROMULGATED,
        type="2",
        type_detail="18",
        type_name="Công văn",
        subject="V/v kết nối, liên thông phần mềm quản lý văn bản",
        content="V/v kết nối, liên thông phần mềm quản lý văn bản",
        signer_competence="TM.",
        signer_position="Chủ tịch",
        signer_name="Nguyễn Văn A",
        to_places=("Như trên", "Lưu: VT"),
        trace=(TraceHeader(organ_id=organ, timestamp=datetime(2025, 9, 1, 2, 0, tzinfo=UTC)),),
        business_reason="Văn bản điện tử mới",
        staff=StaffInfo(department="Văn thư", staff="Trần Thị B", email="vt@nghean.gov.vn", mobile="0912000001"),
        attachments=plan(files),
    )
    return replace(packet, **overrides)


def plan(files: Files) -> tuple[Attachment, ...]:
    """The Attachment values of (name, bytes) pairs."""
    return tuple(plan_attachment(name, io.BytesIO(data), position=at) for at, (name, data) in enumerate(files, 1))


def build_packet(
    *,
    files: Files = (("van-ban.pdf", b"%PDF-1.7\nxin chao\n%%EOF\n"),),
    dialect: Dialect = Dialect.A,
    **overrides: Any,
) -> bytes:
    """The bytes of a right document packet.

    Takes what make_packet takes: sender, recipients (organ ids as text), number, notation, document_id, files
    ((name, bytes) pairs), and any field of edxml.Packet.
    """
    out = io.BytesIO()
    packet = make_packet(files=files, **overrides)
    write(packet, out, open_attachment=[io.BytesIO(data) for _, data in files], dialect=dialect)
    return out.getvalue()


def make_status(
    *,
    sender: str = "000.00.01.H99",
    issuer: str = SENDER,
    code: str | StatusCode = StatusCode.ARRIVED,
    number: str = "123",
    notation: str = "UBND-VX",
    document_id: str | None = None,
    **overrides: Any,
) -> StatusPacket:
    """A right status packet about the document that make_packet gives; `issuer` is where the status goes."""
    own_id = document_id or f"{SENDER},{PROMULGATED:%Y/%m/%d},{number}/{notation}"
    status = StatusPacket(
        sender=organization(sender),
        response_for=ResponseFor(
            organ_id=OrganId.parse(issuer),
            raw_organ_id=issuer,
            code=f"{number}/{notation}",
            promulgation_date=PROMULGATED,
            document_id=DocumentId(own_id),
        ),
        staff=StaffInfo(department="Văn thư", staff="Lê Văn C"),
        status_code=StatusCode(code),
        description="Phần mềm đã nhận",
        timestamp=datetime(2025, 9, 1, 3, 4, 5, tzinfo=UTC),
    )
    return replace(status, **overrides)


def build_status(*, dialect: Dialect = Dialect.A, **overrides: Any) -> bytes:
    """The bytes of a right status packet; takes what make_status takes."""
    out = io.BytesIO()
    write_status(make_status(**overrides), out, dialect=dialect)
    return out.getvalue()


def random_attachments(seed: int = 0, *, count: int = 3, largest: int = 200_000) -> Files:
    """(name, bytes) pairs with Vietnamese names, the same for the same seed."""
    dice = random.Random(seed)
    endings = ("pdf", "docx", "bin", "txt")
    heads = {"pdf": b"%PDF-1.7\n", "docx": b"PK\x03\x04\x14\x00\x06\x00", "bin": b"\x00\x01", "txt": b"xin "}
    files = []
    for at in range(1, count + 1):
        ending = dice.choice(endings)
        files.append((f"Phụ lục {at}.{ending}", heads[ending] + dice.randbytes(dice.randrange(1, largest))))
    return tuple(files)
