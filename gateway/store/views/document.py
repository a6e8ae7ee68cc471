"""One document as its sender, one of its recipients or an operator may see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, union_all

from edxml.errors import EdxmlError
from edxml.ids import DocumentId, document_key
from gateway.model.events import EventKind
from gateway.model.states import AttemptEnd, Book, ChannelState, DeliveryState
from gateway.model.windows import held_until, parse_windows
from gateway.store.channels import stored_windows
from gateway.store.dialect import COMMIT_ORDER, WRITE_ORDER
from gateway.store.schema import attempts, channels, deliveries, events, packets, statuses, transfers
from gateway.store.views.verdicts import VerdictLine, verdicts
from routing.directory import Directory

__all__ = [
    "DocumentView", "PacketLine", "RecipientLine", "StatusLine", "TimelineLine", "document", "document_keys",
    "find_packets", "named_issuers",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketLine:
    """One packet of a document. `states`: how many of the recipients that may be seen are in which state."""

    packet_id: str
    kind: str
    book: str
    document_key: str
    document_id: str
    sender_id: str
    sender_organ: str
    notation: str
    subject: str
    status_code: str
    is_urgent: bool
    wire_digest: str
    size: int
    accepted_at: int
    states: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientLine:
    """One delivery: where it is, why, who must act next and since when."""

    delivery_id: str
    agency_id: str
    organ: str  #: as the sender wrote it
    state: str
    was: str  #: the state before
    reason: str
    detail: str  #: the channel's own reason code, where it gave one
    holder: str
    since: int
    may_have_arrived: bool  #: computed from attempts (protocol §2)
    status_code: str  #: the furthest business status that came back
    leg: str  #: why this road
    readdressed_from: str
    tries: int
    key: str  #: the transfer: what the other side knows the hand-over by
    waits_for: str = ""  #: why its channel hands nothing over now: window, paused, draining, broken; "" where it does
    waits_until: int | None = None  #: when that ends by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """One business status that came back (trạng thái xử lý)."""

    status_id: str
    packet_id: str  #: the status packet
    document_packet_id: str
    reporter_id: str
    code: str
    description: str
    reported_at: int | None
    recorded_at: int
    by_node: bool  #: the node spoke for the agency


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLine:
    """One thing that happened, as the events tell it."""

    at: int
    kind: str
    packet_id: str
    delivery_id: str
    agency_id: str
    state: str
    holder: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentView:
    """A packet, its recipients, and what surrounds it: statuses, verdicts, timeline, all packets of the document."""

    packet: PacketLine
    recipients: tuple[RecipientLine, ...]  #: of this packet, by delivery id
    statuses: tuple[StatusLine, ...]  #: of the whole document, in order of arrival
    verdicts: tuple[VerdictLine, ...]  #: on signatures of the whole document, by packet and place
    timeline: tuple[TimelineLine, ...]  #: of the whole document, oldest first
    family: tuple[PacketLine, ...]  #: every packet of the document, this one too, oldest first


# --- finding -------------------------------------------------------------------------------------------------

_IDS = union_all(
    select(packets.c.id).where(packets.c.id == bindparam("text")),
    select(deliveries.c.packet_id).where(deliveries.c.id == bindparam("text")),
    select(transfers.c.packet_id).where(transfers.c.id == bindparam("text")),
)
_KEYS = (
    select(packets.c.id)
    .where(packets.c.document_key.in_(bindparam("keys", expanding=True)), packets.c.book == Book.DOCUMENTS)
    .order_by(packets.c.id.desc())
    .limit(bindparam("limit"))
)


def find_packets(connection: Connection, text: str, *, issuers: Iterable[str] = (), limit: int = 20) -> tuple[str, ...]:
    """Ids of packets that a person may mean by `text`, newest first: a packet's, a delivery's or a document's id.

    Also the key of a delivery, the one name that its recipient knows it by (`den/<key>`, `Idempotency-Key`).
    A document's id (mã định danh văn bản) is unique per issuer (protocol §12): it is looked for as issued by each of
    the agencies `issuers` (our own ids; `named_issuers` gives those that it names itself).  Statuses, which bear it as
    well, are found by their own ids alone.  Says nothing of who may see them: ask `document` with `seen_by`.
    """
    if found := connection.execute(_IDS, {"text": text}).scalar():
        return (str(found),)
    keys = document_keys(text, issuers)
    if not keys:
        return ()
    return tuple(row.id for row in connection.execute(_KEYS, {"keys": keys, "limit": limit}))


def named_issuers(directory: Directory, text: str) -> frozenset[str]:
    """Ids of the agencies that ever had the organ code which a document's id begins with; none where it names none."""
    try:
        parts = DocumentId(text).parts
    except EdxmlError:
        return frozenset()
    return frozenset() if parts is None else frozenset(agency.id for agency in directory.find_all(parts.organ))


def document_keys(text: str, issuers: Iterable[str]) -> list[str]:
    """Keys of a document's id as `exchange.examine` writes them: under our own id of each issuer."""
    try:
        document_id = DocumentId(text)
    except EdxmlError:
        return []
    return sorted({document_key(issuer, document_id) for issuer in issuers})


# --- one document --------------------------------------------------------------------------------------------

_ROOT = select(packets.c.root, packets.c.book).where(packets.c.id == bindparam("packet"))
_FAMILY = (
    select(
        packets.c.id.label("packet_id"), packets.c.kind, packets.c.book, packets.c.document_key,
        packets.c.document_id, packets.c.sender_id, packets.c.sender_organ, packets.c.notation, packets.c.subject,
        packets.c.status_code, packets.c.is_urgent, packets.c.wire_digest, packets.c.size, packets.c.accepted_at,
    )
    .where(packets.c.root == bindparam("root"), packets.c.book == bindparam("book"))
    .order_by(packets.c.id)
)  # fmt: skip
_RECIPIENTS = (
    select(
        deliveries.c.packet_id, deliveries.c.id.label("delivery_id"), deliveries.c.agency_id, deliveries.c.organ,
        deliveries.c.state, deliveries.c.was, deliveries.c.reason, deliveries.c.detail, deliveries.c.holder,
        deliveries.c.since, deliveries.c.status_code, deliveries.c.leg, deliveries.c.readdressed_from,
        deliveries.c.transfer_id.label("key"), transfers.c.tries, channels.c.windows, channels.c.open_until,
        channels.c.state.label("channel_state"),
    )
    .select_from(
        deliveries.outerjoin(transfers, deliveries.c.transfer_id == transfers.c.id)
        .outerjoin(channels, transfers.c.channel_id == channels.c.id)
    )
    .where(deliveries.c.packet_id.in_(bindparam("ids", expanding=True)))
    .order_by(deliveries.c.id)
)  # fmt: skip
_ATTEMPTED = (
    select(attempts.c.delivery_id)
    .select_from(deliveries.join(attempts, attempts.c.delivery_id == deliveries.c.id))
    .where(
        deliveries.c.packet_id.in_(bindparam("ids", expanding=True)),
        or_(attempts.c.outcome.is_(None), attempts.c.outcome != AttemptEnd.SURELY_NOT),
    )
    .distinct()
)
_STATUSES = (
    select(statuses)
    .where(statuses.c.document_key.in_(bindparam("keys", expanding=True)))
    .order_by(statuses.c.recorded_at, statuses.c.id)
)
_TIMELINE = (
    select(
        events.c.at, events.c.kind, events.c.packet_id, events.c.delivery_id, events.c.agency_id,
        events.c.state_after, events.c.holder_after, events.c.reason, events.c.actor,
    )
    .where(events.c.packet_id.in_(bindparam("ids", expanding=True)))
    .order_by(WRITE_ORDER, COMMIT_ORDER, events.c.recorded_at, events.c.id)
)  # fmt: skip


def document(
    connection: Connection, packet_id: str, *, seen_by: frozenset[str] | None, now: int | None = None
) -> DocumentView | None:
    """One packet with everything around it, as the agencies `seen_by` may see it; None: an operator, who sees all.

    A sender sees every recipient of its packets.  A recipient sees its own lines only, and those only once the
    packet was meant to reach it: what was withdrawn before it could arrive stays unseen, subject and all.  `now`: the
    store's clock, for what a channel waits for; None leaves that unsaid.  Gives
    None for what does not exist and for what may not be seen, alike.
    """
    root = connection.execute(_ROOT, {"packet": packet_id}).one_or_none()
    if root is None:
        return None
    family = connection.execute(_FAMILY, {"root": root.root, "book": root.book}).all()
    ids = {"ids": [row.packet_id for row in family]}
    senders = {row.packet_id: row.sender_id for row in family}
    arrived = {row.delivery_id for row in connection.execute(_ATTEMPTED, ids)}
    lines: dict[str, list[RecipientLine]] = {row.packet_id: [] for row in family}
    for row in connection.execute(_RECIPIENTS, ids):
        line = _recipient(row, row.delivery_id in arrived, now)
        if _may_see(seen_by, senders[row.packet_id], line):
            lines[row.packet_id].append(line)
    seen = tuple(
        _packet(row, lines[row.packet_id])
        for row in family
        if lines[row.packet_id] or _is_sender(seen_by, row.sender_id)
    )
    packet = next((line for line in seen if line.packet_id == packet_id), None)
    if packet is None:
        return None
    return DocumentView(
        packet=packet,
        recipients=tuple(lines[packet_id]),
        statuses=_statuses(connection, seen, seen_by),
        verdicts=verdicts(connection, [line.packet_id for line in seen]),
        timeline=_timeline(connection, seen, lines, seen_by),
        family=seen,
    )


_OF_EVERY_PACKET = frozenset({EventKind.PACKET_ACCEPTED, EventKind.SIGNATURE_CHECKED, EventKind.PACKET_INSPECTED})
_UNKNOWN_TO_RECIPIENT = frozenset({DeliveryState.WAITING, DeliveryState.WITHDRAWN, DeliveryState.UNDELIVERABLE})


def _is_sender(seen_by: frozenset[str] | None, sender_id: str) -> bool:
    return seen_by is None or sender_id in seen_by


def _may_see(seen_by: frozenset[str] | None, sender_id: str, line: RecipientLine) -> bool:
    if seen_by is None or sender_id in seen_by:
        return True
    return line.agency_id in seen_by and (line.may_have_arrived or line.state not in _UNKNOWN_TO_RECIPIENT)


_NOT_OF_LINE = frozenset({"packet_id", "tries", "windows", "open_until", "channel_state"})


def _recipient(row: Any, may_have_arrived: bool, now: int | None) -> RecipientLine:
    fields = {name: value for name, value in row._mapping.items() if name not in _NOT_OF_LINE}
    waits_for, until = _waits(row, now) if now is not None and row.state == DeliveryState.READY else ("", None)
    return RecipientLine(
        **fields, tries=row.tries or 0, may_have_arrived=may_have_arrived, waits_for=waits_for, waits_until=until
    )


def _waits(row: Any, now: int) -> tuple[str, int | None]:
    """What keeps its channel from handing anything over, and until when."""
    if row.channel_state != ChannelState.OPEN:
        return str(row.channel_state), None
    try:
        until = held_until(parse_windows(stored_windows(row.windows)), now)
    except ValueError:  # it holds its channel until an operator has mended it
        return "window", None
    if until is not None:
        return "window", until
    return ("broken", row.open_until) if row.open_until > now else ("", None)


def _packet(row: Any, lines: Iterable[RecipientLine]) -> PacketLine:
    states = Counter(line.state for line in lines)
    return PacketLine(**row._mapping, states=tuple(sorted(states.items())))


def _statuses(
    connection: Connection, seen: tuple[PacketLine, ...], seen_by: frozenset[str] | None
) -> tuple[StatusLine, ...]:
    """A sender sees what all reported, a recipient what it reported itself."""
    senders = {line.packet_id: line.sender_id for line in seen}
    rows = connection.execute(_STATUSES, {"keys": sorted({line.document_key for line in seen})})
    return tuple(
        StatusLine(
            status_id=row.id,
            packet_id=row.packet_id,
            document_packet_id=row.document_packet_id,
            reporter_id=row.reporter_id,
            code=row.code,
            description=row.description,
            reported_at=row.reported_at,
            recorded_at=row.recorded_at,
            by_node=row.by_node,
        )
        for row in rows
        if _is_sender(seen_by, senders.get(row.document_packet_id, "")) or row.reporter_id in (seen_by or ())
    )


def _timeline(
    connection: Connection,
    seen: tuple[PacketLine, ...],
    lines: Mapping[str, list[RecipientLine]],
    seen_by: frozenset[str] | None,
) -> tuple[TimelineLine, ...]:
    senders = {line.packet_id: line.sender_id for line in seen}
    own = {line.delivery_id for packet in seen for line in lines[packet.packet_id]}
    rows = connection.execute(_TIMELINE, {"ids": list(senders)})
    return tuple(
        TimelineLine(
            at=row.at,
            kind=row.kind,
            packet_id=row.packet_id,
            delivery_id=row.delivery_id,
            agency_id=row.agency_id,
            state=row.state_after,
            holder=row.holder_after,
            reason=row.reason,
            actor=row.actor,
        )
        for row in rows
        if _is_sender(seen_by, senders[row.packet_id]) or row.delivery_id in own or row.kind in _OF_EVERY_PACKET
    )
