"""The shapes of answers and bodies, for FastAPI and OpenAPI: one pydantic class per word of the interface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.api.faults import MOST_FAULTS
from gateway.api.v1.shape import Id, Organ, Shape, Time
from gateway.api.v1.shapes_faults import ErrorShape
from gateway.api.v1.shapes_verdicts import VerdictShape

__all__ = [
    "AcceptedShape", "AgencyList", "AgencyShape", "CheckShape", "ConfirmedShape", "DocumentShape",
    "FindingShape", "HealthShape", "InboxShape", "ItemShape", "LegShape", "LiveShape", "MeShape", "NoticeList",
    "ProblemShape", "RepairShape", "SealCertificateList", "SealCertificateShape", "SentList",

]  # fmt: skip


class FindingShape(Shape):
    """One thing that is wrong in a packet: code, place, both languages."""

    code: str
    severity: Literal["error", "warning"]
    line: int | None
    path: str
    vi: str
    en: str


class RepairShape(Shape):
    """One deviation that was put right while reading."""

    name: str
    line: int | None
    path: str
    vi: str
    en: str


class ProblemShape(Shape):
    """RFC 9457, with a stable code and both languages."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    vi: str
    en: str
    findings: Annotated[list[FindingShape], Field(max_length=100, description="The first 100, errors before warnings")]
    findings_total: Annotated[int, Field(description="How many there are; `/v1/packets/check` names all of them")]
    errors: Annotated[list[ErrorShape], Field(max_length=MOST_FAULTS, description="Wrong fields of the request")]
    instance: str


class RecipientAnswer(Shape):
    """One recipient of a packet that was accepted."""

    delivery_id: Id
    agency_id: str
    organ_id: Organ
    state: str
    reason: str
    leg: str
    readdressed_from: str


class AcceptedShape(Shape):
    """The packet is ours: on disk, planned, committed. A repeat gets this again, with today's states."""

    packet_id: Id
    document_id: str
    is_repeat: bool
    accepted_at: Time
    recipients: list[RecipientAnswer]
    all_undeliverable: Annotated[bool, Field(description="Không nơi nhận nào gửi tới được / it reaches nobody")]
    findings: list[FindingShape]
    repairs: list[str]


class FileShape(Shape):
    """One attachment (tệp đính kèm): `digest` is SHA-256 of the decoded file, `length` its bytes."""

    position: int
    name: str
    content_type: str
    digest: str
    length: int


class ItemShape(Shape):
    """One item of an inbox. `key` stays the same over all fetches: keep it to see every packet once."""

    delivery_id: Id
    key: Id
    packet_id: Id
    document_id: str
    kind: str
    book: Literal["documents", "statuses"]
    status_code: str
    sender: Organ
    notation: str
    subject: str
    is_urgent: bool
    size: int
    digest: str
    accepted_at: Time
    state: str
    readdressed_from: str
    attachments: list[FileShape]


class InboxShape(Shape):
    """What waits: urgent first, then what was shown least recently. With `after` the oldest first, and `next` is the
    `after` of the next page; "" on the last one."""

    items: list[ItemShape]
    next: Annotated[str, Field(description="Only where `after` was given")] = ""


class ConfirmedShape(Shape):
    """The state of the delivery after it."""

    state: str


class RecipientShape(Shape):
    """One recipient: where its copy is, why, who must act next and since when."""

    delivery_id: Id
    agency_id: str
    agency_name: str
    organ_id: Organ
    state: str
    was: str
    reason: str
    reason_vi: str
    reason_en: str
    detail: str
    holder: str
    since: Time
    may_have_arrived: bool
    status_code: str
    leg: str
    readdressed_from: str
    tries: int
    key: str
    waits_for: str
    waits_until: Time | None = None


class StatusShape(Shape):
    """One status that came back."""

    packet_id: Id
    reporter_id: str
    code: str
    description: str
    reported_at: Time | None
    recorded_at: Time
    by_node: bool


class TimelineShape(Shape):
    """One thing that happened."""

    at: Time
    kind: str
    packet_id: str
    delivery_id: str
    agency_id: str
    state: str
    holder: str
    reason: str
    actor: str


class PacketShape(Shape):
    """One packet of a document, with how many of its recipients are in which state."""

    packet_id: Id
    kind: str
    book: Literal["documents", "statuses"]
    document_id: str
    sender_id: str
    sender: Organ
    notation: str
    subject: str
    status_code: str
    is_urgent: bool
    digest: str
    size: int
    accepted_at: Time
    states: dict[str, int]


class DocumentShape(Shape):
    """One document as the caller may see it: the packet, its recipients, statuses, verdicts, timeline, sisters."""

    packet: PacketShape
    recipients: list[RecipientShape]
    statuses: list[StatusShape]
    verdicts: list[VerdictShape]
    timeline: list[TimelineShape]
    family: list[PacketShape]


class SentShape(Shape):
    """One packet that the caller's agencies sent."""

    packet_id: Id
    book: Literal["documents", "statuses"]
    kind: str
    document_id: str
    sender_id: str
    notation: str
    subject: str
    status_code: str
    is_urgent: bool
    size: int
    accepted_at: Time
    states: dict[str, int]


class SentList(Shape):
    """Newest first; ask again with `after` = `next` for older ones, until `next` is empty."""

    items: list[SentShape]
    next: str


class NoticeShape(Shape):
    """What a sender was told of one delivery: `code` is a message code, with its texts."""

    notice_id: Id
    agency_id: str
    packet_id: Id
    delivery_id: str
    code: str
    vi: str
    en: str
    at: Time


class NoticeList(Shape):
    """Newest first; ask again with `after` = `next` for older ones, until `next` is empty."""

    items: list[NoticeShape]
    next: str


class LegShape(Shape):
    """One recipient of the route and the channel to it."""

    agency_id: str
    agency_name: str
    organ_ids: list[str]
    channel_kind: str
    reason: str
    vi: str
    en: str


class CheckShape(Shape):
    """What would happen if the packet were submitted now. Nothing of it was kept."""

    would_be_accepted: bool
    findings: list[FindingShape]
    repairs: list[RepairShape]
    route: list[LegShape]
    document_id: str
    sender_id: str
    size: int


class CodeShape(Shape):
    """One code of an agency; `assumed` codes are not the province's (mã giả định)."""

    scheme: str
    code: str
    valid_from: str | None
    valid_to: str | None
    assumed: bool
    note: Annotated[str, Field(description="“mã giả định” beside an assumed code, else empty")]


class AgencyShape(Shape):
    """An agency on the day asked for."""

    agency_id: str
    kind: str
    name: str
    within: str
    organ_id: str
    assumed: bool
    note: str
    is_in_force: bool
    is_reachable: bool
    valid_from: str | None
    valid_to: str | None
    successors: list[str]
    codes: list[CodeShape]


class AgencyList(Shape):
    """Best match first."""

    items: list[AgencyShape]


class MeShape(Shape):
    """Who the token says that you are."""

    system_id: str
    name: str
    is_operator: bool
    agencies: list[AgencyShape]


class LiveShape(Shape):
    """The process runs."""

    status: Literal["live"]


class CheckedShape(Shape):
    """One thing that was looked at."""

    name: str
    is_ok: bool
    code: str
    vi: str
    en: str


class HealthShape(Shape):
    """Whether documents can be taken in now."""

    status: Literal["ready", "not_ready"]
    checks: list[CheckedShape]


class SealCertificateShape(Shape):
    """One certificate of the node's seal ring."""

    state: Literal["former", "current", "announced"]
    begins: Annotated[Time, Field(description="From when its key seals")]
    valid_from: Time
    valid_until: Time
    subject: str
    fingerprint: Annotated[str, Field(description="SHA-256 of its DER, hex")]
    pem: str


class SealCertificateList(Shape):
    """The seal ring, in the order of use."""

    items: list[SealCertificateShape]
