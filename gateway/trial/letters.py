"""Sample documents for trials: right packets with real-sized attachments, and wrong ones of every common kind.

All names and subjects are invented; agencies are real units under assumed codes (mã giả định).
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from datetime import date, datetime

from edxml.codes import BusinessKind, Priority
from edxml.ids import DocumentId, OrganId
from edxml.packet import Organization, Packet, Reference, Replacement, StaffInfo, TraceHeader
from edxml.write import plan_attachment, write
from gateway.model.instants import VIETNAM

__all__ = ["Letter", "compose_letter", "damaged_letters", "recall_of", "replacement_of", "update_of"]

_SUBJECTS = (
    "V/v triển khai nhiệm vụ trọng tâm quý IV",
    "V/v rà soát số liệu phục vụ báo cáo tháng",
    "Thông báo lịch tiếp công dân định kỳ",
    "V/v đôn đốc giải ngân vốn đầu tư công",
    "V/v tăng cường phòng, chống dịch bệnh trên đàn vật nuôi",
    "Báo cáo tình hình kinh tế - xã hội",
    "V/v mời dự họp trực tuyến toàn tỉnh",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A packet ready to send, with what the trial expects of it."""

    name: str
    body: bytes
    sender: str  #: agency id
    recipients: tuple[str, ...]  #: organ ids as written
    document_id: str


def compose_letter(
    *,
    name: str,
    sender: str,
    sender_organ: str,
    sender_name: str,
    recipients: tuple[tuple[str, str], ...],
    number: int,
    day: date,
    priority: Priority = Priority.NORMAL,
    attachment_bytes: int = 12_000,
    seed: int = 0,
) -> Letter:
    """A right document packet to (organ id, name) pairs, with one pseudo-PDF of about `attachment_bytes`."""
    packet, file = _packet(sender_organ, sender_name, recipients, number, day, priority, attachment_bytes, seed)
    return _letter(name, sender, packet, file)


def _letter(name: str, sender: str, packet: Packet, file: bytes = b"") -> Letter:
    return Letter(
        name=name,
        body=_bytes(packet, file),
        sender=sender,
        recipients=tuple(one.raw_organ_id for one in packet.recipients),
        document_id=packet.document_id.text,
    )


def _packet(
    organ: str,
    organ_name: str,
    recipients: tuple[tuple[str, str], ...],
    number: int,
    day: date,
    priority: Priority,
    size: int,
    seed: int,
) -> tuple[Packet, bytes]:
    noise = random.Random(seed)  # noqa: S311 - a repeatable file, no secret
    file = b"%PDF-1.7\n% Truc trial\n" + noise.randbytes(max(size - 40, 0)) + b"\n%%EOF\n"
    file_name = f"{number:02d}-CV_Signed.pdf"
    attachment = plan_attachment(file_name, io.BytesIO(file), position=1)
    morning = datetime.combine(day, datetime.min.time(), VIETNAM).replace(hour=8)
    packet = Packet(
        sender=Organization(organ_id=OrganId.parse(organ), raw_organ_id=organ, name=organ_name),
        recipients=tuple(Organization(organ_id=OrganId.parse(o), raw_organ_id=o, name=n) for o, n in recipients),
        document_id=DocumentId(f"{organ},{day:%Y/%m/%d},{number:02d}/CV-TH"),
        code_number=f"{number:02d}",
        code_notation="CV-TH",
        promulgation_place="Nghệ An",
        promulgation_date=day,
        type="2",
        type_detail="18",
        type_name="Công văn",
        subject=noise.choice(_SUBJECTS),
        content="Văn bản thử, không có giá trị pháp lý",
        signer_competence="KT.",
        signer_position="Phó Giám đốc",
        signer_name="Nguyễn Văn Thử",
        priority=priority,
        to_places=("Như trên", "Lưu: VT"),
        trace=(TraceHeader(organ_id=OrganId.parse(organ), timestamp=morning),),
        business_reason="Văn bản điện tử mới",
        staff=StaffInfo(department="Văn thư", staff="Trần Thị Thử"),
        references=(Reference(content_id=attachment.content_id, content_type=attachment.content_type, name=file_name),),
        attachments=(attachment,),
    )
    return packet, file


def _bytes(packet: Packet, file: bytes) -> bytes:
    out = io.BytesIO()
    write(packet, out, open_attachment=[io.BytesIO(file)] if packet.attachments else [])
    return out.getvalue()


def recall_of(
    *, sender: str, sender_organ: str, sender_name: str, recipients: tuple[tuple[str, str], ...], number: int, day: date
) -> Letter:
    """The recall (thu hồi) of the letter with the same sender, number and day."""
    packet, _ = _packet(sender_organ, sender_name, recipients, number, day, Priority.NORMAL, 0, number)
    return _about("recall", sender, packet, BusinessKind.RECALL, "Thu hồi do sai nội dung")


def update_of(
    *, sender: str, sender_organ: str, sender_name: str, recipients: tuple[tuple[str, str], ...], number: int, day: date
) -> Letter:
    """The update (cập nhật) of the data of the letter with the same sender, number and day."""
    packet, _ = _packet(sender_organ, sender_name, recipients, number, day, Priority.NORMAL, 0, number)
    changed = replace(packet, document_changed=True, content="Văn bản thử, nội dung đã cập nhật")
    return _about("update", sender, changed, BusinessKind.UPDATE, "Cập nhật thông tin văn bản")


def _about(name: str, sender: str, packet: Packet, kind: BusinessKind, reason: str) -> Letter:
    acting = replace(
        packet,
        business_kind=kind,
        business_reason=reason,
        business_document_id=packet.document_id,
        attachments=(),
        references=(),
    )
    return _letter(name, sender, acting)


def replacement_of(
    replaced: tuple[str, ...],
    *,
    sender: str,
    sender_organ: str,
    sender_name: str,
    recipients: tuple[tuple[str, str], ...],
    number: int,
    day: date,
    attachment_bytes: int = 12_000,
) -> Letter:
    """A document of its own number that replaces (thay thế) those with the ids `replaced`, one or several."""
    packet, file = _packet(
        sender_organ, sender_name, recipients, number, day, Priority.NORMAL, attachment_bytes, number
    )
    organs = tuple(OrganId.parse(organ) for organ, _ in recipients)
    replacing = replace(
        packet,
        business_kind=BusinessKind.REPLACEMENT,
        business_reason="Thay thế do sai nội dung",
        replacements=tuple(Replacement(DocumentId(text), organs) for text in replaced),
    )
    return _letter("replacement", sender, replacing, file)


def damaged_letters(right: Letter) -> tuple[Letter, ...]:
    """Wrong packets: not XML, truncated, with a DTD, of the wrong root, with a NUL byte, with a secrecy mark."""
    body = right.body
    middle = body.index(b"<edXML:Subject>") + len(b"<edXML:Subject>")
    wrong = {
        "not_xml": b"%PDF-1.4 day khong phai goi tin",
        "truncated": body[: len(body) // 2],
        "doctype": body.replace(b"?>", b'?><!DOCTYPE edXML [<!ENTITY x "y">]>', 1),
        "wrong_root": b'<?xml version="1.0" encoding="UTF-8"?><vanban/>',
        "nul_byte": body[:middle] + b"\0" + body[middle:],
        "secret": body[:middle] + "MẬT. ".encode() + body[middle:],
    }
    return tuple(replace(right, name=name, body=wrong_body) for name, wrong_body in wrong.items())
