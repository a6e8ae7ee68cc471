"""The values of an edXML packet: what a document packet (gói tin văn bản) and a status packet (gói tin trạng thái) say.

Nothing here holds an attachment's bytes: an `Attachment` knows its digest, its length and where its text stands
in the packet.  Texts are as written but trimmed; times are aware UTC; dates are Vietnamese calendar days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from edxml.codes import BusinessKind, Dialect, Priority, StatusCode, SteeringType
from edxml.ids import DocumentId, OrganId
from edxml.values import hasten

__all__ = [
    "Attachment",
    "Organization",
    "OtherInfo",
    "Packet",
    "ReceiverChange",
    "Reference",
    "Replacement",
    "ResponseFor",
    "StaffInfo",
    "StatusPacket",
    "TraceHeader",
]


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An agency as a packet names it (From, To). `organ_id` is None only where it could not be read."""

    organ_id: OrganId | None
    raw_organ_id: str = field(default="", compare=False)  #: as written
    name: str = ""
    in_charge: str = ""  #: superior body (cơ quan chủ quản)
    address: str = ""
    email: str = ""
    telephone: str = ""
    fax: str = ""
    website: str = ""


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFor:
    """The document that this one answers, or that a status is about. `code` is "number/notation"."""

    organ_id: OrganId | None
    raw_organ_id: str = field(default="", compare=False)  #: as written
    code: str = ""
    promulgation_date: date | None = None
    document_id: DocumentId | None = None


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHeader:
    """One hop that the packet made, oldest first; real hops lack an organ id (the national axis in 2025)."""

    organ_id: OrganId | None
    timestamp: datetime | None


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class StaffInfo:
    """The person who handled it (người xử lý)."""

    department: str = ""
    staff: str = ""
    email: str = ""
    mobile: str = ""


class ReceiverChange(NamedTuple):
    """One line of an update's receiver list: ReceiverType 1 = added, 0 = removed."""

    organ_id: OrganId
    added: bool


class Replacement(NamedTuple):
    """A document that this one replaces, and for which recipients."""

    document_id: DocumentId
    organ_ids: tuple[OrganId, ...]


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class OtherInfo:
    """OtherInfo without Priority. `secret` is no field of the standard: where a sender has it, it is looked at."""

    sphere: str = ""  #: phạm vi lưu hành
    typer_notation: str = ""
    promulgation_amount: int | None = None
    page_amount: int | None = None
    direction: bool = False
    appendixes: tuple[str, ...] = ()
    reply_fors: str = ""
    reference_codes: str = ""
    secret: str = ""


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One line of the manifest in the packet's body."""

    content_id: str  #: as written, with or without `cid:`
    content_type: str = ""
    name: str = ""
    description: str = ""


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of a packet, without its bytes.

    `digest` (SHA-256, hex) and `length` are of the decoded file, unzipped where `encoding` is "zip".  `span` is
    where its text stands: byte offsets [start, end) in the packet as received, in the encoding `transfer` ("base64";
    in UTF-16 "base64-utf-16-le" and "base64-utf-16-be"; in MIME parts of dialect D also "binary" and
    "quoted-printable").  `sniffed` is the short name of what its bytes
    look like ("pdf", "zip", "ole", "xml", "text", "empty", "unknown" …).
    """

    position: int  #: from 1
    name: str
    content_id: str  #: without `cid:`
    content_type: str = ""
    description: str = ""
    encoding: str = "base64"  #: "base64", or "zip" where the file stands in a ZIP of its own
    digest: str = ""
    length: int = 0
    sniffed: str = field(default="unknown", compare=False)
    span: tuple[int, int] = field(default=(0, 0), compare=False)
    transfer: str = field(default="base64", compare=False)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A document packet. `document_id` is the packet's own; see `target_document_id` for what it acts on."""

    dialect: Dialect = field(default=Dialect.A, compare=False)
    sender: Organization
    recipients: tuple[Organization, ...]
    document_id: DocumentId
    code_number: str = ""  #: số
    code_notation: str = ""  #: ký hiệu
    promulgation_place: str = ""
    promulgation_date: date | None = None
    type: str = ""  #: as received: senders use it inconsistently, `type_name` alone is reliable
    type_detail: str = ""
    type_name: str = ""
    subject: str = ""  #: trích yếu
    content: str = ""
    signer_competence: str = ""  #: quyền hạn (TM., KT., TL., TUQ.)
    signer_position: str = ""
    signer_name: str = ""
    due_date: date | None = None  #: hạn trả lời
    priority: Priority = Priority.NORMAL
    to_places: tuple[str, ...] = ()  #: nơi nhận
    other: OtherInfo = OtherInfo()
    response_for: tuple[ResponseFor, ...] = ()
    steering_type: SteeringType | None = None
    tasks: tuple[str, ...] = ()
    application_type: str = ""
    trace: tuple[TraceHeader, ...] = ()
    business_kind: BusinessKind = BusinessKind.NEW
    business_reason: str = ""
    business_document_id: DocumentId | None = None
    document_changed: bool = False  #: update: BussinessDocumentInfo/DocumentInfo
    receivers_changed: bool = False  #: update: BussinessDocumentInfo/DocumentReceiver
    receiver_changes: tuple[ReceiverChange, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    staff: StaffInfo = StaffInfo()
    paper: bool = False  #: a paper copy goes out too
    references: tuple[Reference, ...] = field(default=(), compare=False)  #: writing makes them anew
    attachments: tuple[Attachment, ...] = ()

    @property
    def target_document_id(self) -> DocumentId:
        """The document that the packet is about.

        A recall or update names it in Bussiness/DocumentId, or repeats it in MessageHeader/DocumentId.  A new
        document is itself the target, whatever its business block says (official samples carry a stale id there).
        """
        if self.business_document_id is not None and self.business_kind in _ACTS_ON_ANOTHER:
            return self.business_document_id
        return self.document_id

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before ordinary documents (Priority 1 to 4)."""
        return self.priority.is_urgent

    @property
    def number_notation(self) -> str:
        """Số/ký hiệu as statuses quote it: "7816/VPCP-TTĐT"."""
        return f"{self.code_number}/{self.code_notation}"


_ACTS_ON_ANOTHER = (BusinessKind.RECALL, BusinessKind.UPDATE)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPacket:
    """A status packet: `sender` reports `status_code` about the document in `response_for`.

    `response_for.organ_id` is where the status goes: the document's issuer, but for 13 its recipient.
    """

    dialect: Dialect = field(default=Dialect.A, compare=False)
    sender: Organization
    response_for: ResponseFor
    staff: StaffInfo = StaffInfo()
    status_code: StatusCode
    description: str = ""
    timestamp: datetime | None = None
