"""Right packets from which the rules' examples are made by changing one thing. Codes H99.* belong to nobody."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from edxml.codes import StatusCode
from edxml.ids import DocumentId, OrganId
from edxml.packet import (
    Attachment,
    Organization,
    Packet,
    Reference,
    ResponseFor,
    StaffInfo,
    StatusPacket,
    TraceHeader,
)

__all__ = [
    "CONTENT",
    "GOOD_DOCUMENT",
    "GOOD_STATUS",
    "TODAY",
    "document",
    "file",
    "line",
    "organization",
    "status",
]

TODAY = date(2025, 9, 2)
"""The day on which the examples are looked at."""
CONTENT = b"%PDF-1.7\n%%EOF\n"
"""What every attached file of the examples holds."""

_ISSUED = date(2025, 9, 1)
_DOCUMENT_ID = "000.00.00.H99,2025/09/01,123/UBND-VX"


def organization(organ: str, name: str = "Sở Thử nghiệm") -> Organization:
    """An agency by its code and name."""
    return Organization(organ_id=OrganId.parse(organ), raw_organ_id=organ, name=name)


def file(position: int, name: str) -> Attachment:
    """An attached PDF."""
    return Attachment(
        position=position,
        name=name,
        content_id=str(position),
        content_type="application/pdf",
        digest=hashlib.sha256(CONTENT).hexdigest(),
        length=len(CONTENT),
        sniffed="pdf",
    )


def line(position: int, name: str) -> Reference:
    """The manifest's line for `file`."""
    return Reference(content_id=f"cid:{position}", content_type="application/pdf", name=name)


GOOD_DOCUMENT = Packet(
    sender=organization("000.00.00.H99", "UBND tỉnh Thử nghiệm"),
    recipients=(organization("000.00.01.H99"), organization("H99.02", "UBND xã Thử nghiệm")),
    document_id=DocumentId(_DOCUMENT_ID),
    code_number="123",
    code_notation="UBND-VX",
    promulgation_place="Nghệ An",
    promulgation_date=_ISSUED,
    type="2",
    type_detail="18",
    type_name="Công văn",
    subject="V/v kết nối, liên thông phần mềm quản lý văn bản",
    content="V/v kết nối, liên thông phần mềm quản lý văn bản",
    signer_competence="TM.",
    signer_position="Chủ tịch",
    signer_name="Nguyễn Văn A",
    to_places=("Như trên", "Lưu: VT"),
    trace=(TraceHeader(organ_id=OrganId.parse("000.00.00.H99"), timestamp=datetime(2025, 9, 1, 2, tzinfo=UTC)),),
    business_reason="Văn bản điện tử mới",
    staff=StaffInfo(department="Văn thư", staff="Trần Thị B"),
    references=(line(1, "van-ban.pdf"),),
    attachments=(file(1, "van-ban.pdf"),),
)

GOOD_STATUS = StatusPacket(
    sender=organization("000.00.01.H99"),
    response_for=ResponseFor(
        organ_id=OrganId.parse("000.00.00.H99"),
        raw_organ_id="000.00.00.H99",
        code="123/UBND-VX",
        promulgation_date=_ISSUED,
        document_id=DocumentId(_DOCUMENT_ID),
    ),
    staff=StaffInfo(department="Văn thư", staff="Lê Văn C"),
    status_code=StatusCode.ARRIVED,
    description="Phần mềm đã nhận, văn thư chưa xử lý",
    timestamp=datetime(2025, 9, 1, 3, 4, 5, tzinfo=UTC),
)


def document(*, code: tuple[str, str] | None = None, **changes: Any) -> Packet:
    """GOOD_DOCUMENT with `changes`; `code` = (number, notation), which its DocumentId then says too."""
    if code is not None:
        own_id = DocumentId(f"000.00.00.H99,2025/09/01,{code[0]}/{code[1]}")
        changes = {"code_number": code[0], "code_notation": code[1], "document_id": own_id} | changes
    return replace(GOOD_DOCUMENT, **changes)


def status(*, response_for: dict[str, Any] | None = None, **changes: Any) -> StatusPacket:
    """GOOD_STATUS with `changes`, also within its ResponseFor."""
    answered = replace(GOOD_STATUS.response_for, **(response_for or {}))
    return replace(GOOD_STATUS, response_for=answered, **changes)
