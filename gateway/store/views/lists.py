"""Lists, bounded and paged by key: what was sent and told, what is parked, open for longest, slowest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, func, literal_column, select

from gateway.model.instants import SECOND, id_floor
from gateway.model.states import DeliveryState
from gateway.store import schema
from gateway.store.schema import deliveries, packets

__all__ = [
    "IS_OPEN", "DeliveryLine", "NoticeLine", "SentLine", "SlowLine", "notices", "oldest_open", "parked", "sent",
    "slowest", "undelivered",
]  # fmt: skip

IS_OPEN = deliveries.c.state.in_(
    [literal_column(f"'{state}'") for state in ("ready", "available", "fetched", "handed_over", "parked")]
)
"""Open in a state that lasts. Spelt out like the index `deliveries_open`: with bound values it would not be used."""

NEWEST = "g"
"""Sorts after every id (hexadecimal digits and hyphens): where a list that begins with the newest begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentLine:
    """A packet that an agency sent. `states`: how many recipients are in which state."""

    packet_id: str
    book: str
    kind: str
    document_id: str
    sender_id: str
    notation: str
    subject: str
    status_code: str
    is_urgent: bool
    size: int
    accepted_at: int
    states: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLine:
    """A delivery in a list for operators; no subject in it."""

    delivery_id: str
    packet_id: str
    document_id: str
    sender_id: str
    agency_id: str
    organ: str
    book: str
    kind: str
    state: str
    reason: str
    detail: str
    holder: str
    since: int
    accepted_at: int
    head_since: int | None
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowLine:
    """A delivered one and the seconds from its acceptance to its receipt."""

    line: DeliveryLine
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeLine:
    """What a sender was told; `code` is a message code."""

    notice_id: str
    agency_id: str
    packet_id: str
    delivery_id: str
    code: str
    at: int


# --- for agencies --------------------------------------------------------------------------------------------

_SENT = (
    select(
        packets.c.id.label("packet_id"), packets.c.book, packets.c.kind, packets.c.document_id, packets.c.sender_id,
        packets.c.notation, packets.c.subject, packets.c.status_code, packets.c.is_urgent, packets.c.size,
        packets.c.accepted_at,
    )
    .where(packets.c.sender_id == bindparam("agency"), packets.c.id < bindparam("after"))
    .order_by(packets.c.id.desc())
    .limit(bindparam("limit"))
)  # fmt: skip
_STATES = (
    select(deliveries.c.packet_id, deliveries.c.state, func.count().label("n"))
    .where(deliveries.c.packet_id.in_(bindparam("ids", expanding=True)))
    .group_by(deliveries.c.packet_id, deliveries.c.state)
    .order_by(deliveries.c.state)
)
_NOTICES = (
    select(schema.notices)
    .where(schema.notices.c.agency_id == bindparam("agency"), schema.notices.c.id < bindparam("after"))
    .order_by(schema.notices.c.id.desc())
    .limit(bindparam("limit"))
)


def sent(
    connection: Connection, agency_ids: Iterable[str], *, after: str = NEWEST, limit: int = 50
) -> tuple[SentLine, ...]:
    """Documents and statuses that these agencies sent, newest first; `after`: the last packet id seen so far."""
    rows = _newest(connection, _SENT, agency_ids, "packet_id", after, limit)
    states: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in connection.execute(_STATES, {"ids": [row.packet_id for row in rows]}):
        states[row.packet_id].append((row.state, row.n))
    return tuple(SentLine(**row._mapping, states=tuple(states[row.packet_id])) for row in rows)


def notices(
    connection: Connection, agency_ids: Iterable[str], *, after: str = NEWEST, limit: int = 50
) -> tuple[NoticeLine, ...]:
    """What these agencies were told of their deliveries, newest first; `after`: the last notice id seen so far."""
    return tuple(
        NoticeLine(
            notice_id=row.id,
            agency_id=row.agency_id,
            packet_id=row.packet_id,
            delivery_id=row.delivery_id,
            code=row.code,
            at=row.at,
        )
        for row in _newest(connection, _NOTICES, agency_ids, "id", after, limit)
    )


def _newest(
    connection: Connection, statement: Executable, agency_ids: Iterable[str], key: str, after: str, limit: int
) -> list[Any]:
    """The newest rows of several agencies: one page along the index for each, merged. One sort over all their rows
    would cost more with every packet stored."""
    rows: list[Any] = []
    for agency_id in sorted(set(agency_ids)):
        rows += connection.execute(statement, {"agency": agency_id, "after": after, "limit": limit})
    return sorted(rows, key=lambda row: str(row._mapping[key]), reverse=True)[:limit]


# --- for operators -------------------------------------------------------------------------------------------

_DELIVERIES = select(
    deliveries.c.id.label("delivery_id"), deliveries.c.packet_id, packets.c.document_id, packets.c.sender_id,
    deliveries.c.agency_id, deliveries.c.organ, deliveries.c.book, deliveries.c.kind, deliveries.c.state,
    deliveries.c.reason, deliveries.c.detail, deliveries.c.holder, deliveries.c.since, deliveries.c.accepted_at,
    deliveries.c.head_since, deliveries.c.transfer_id.label("key"),
).select_from(deliveries.join(packets, packets.c.id == deliveries.c.packet_id))  # fmt: skip
_PARKED = (
    _DELIVERIES.where(deliveries.c.state == DeliveryState.PARKED, deliveries.c.id > bindparam("after"))
    .order_by(deliveries.c.id)
    .limit(bindparam("limit"))
)
_OLDEST = _DELIVERIES.where(IS_OPEN).order_by(deliveries.c.head_since, deliveries.c.id).limit(bindparam("limit"))
_SLOWEST = (
    _DELIVERIES.where(
        deliveries.c.id >= bindparam("floor"),
        deliveries.c.accepted_at >= bindparam("start"),
        deliveries.c.state == DeliveryState.DELIVERED,
    )
    .order_by((deliveries.c.since - deliveries.c.accepted_at).desc(), deliveries.c.id)
    .limit(bindparam("limit"))
)


def parked(connection: Connection, *, limit: int = 50, after: str = "") -> tuple[DeliveryLine, ...]:
    """What waits for a person (chờ xử lý tay), the oldest delivery first; `after`: the last delivery id seen so far."""
    rows = connection.execute(_PARKED, {"after": after, "limit": limit})
    return tuple(DeliveryLine(**row._mapping) for row in rows)


def oldest_open(connection: Connection, *, limit: int = 50) -> tuple[DeliveryLine, ...]:
    """Heads that are open for longest, the oldest first; their age counts from `head_since`.

    Claims are left out: a claim is as old as its lease, and ends or comes back.
    """
    return tuple(DeliveryLine(**row._mapping) for row in connection.execute(_OLDEST, {"limit": limit}))


def slowest(connection: Connection, *, start: int, limit: int = 20) -> tuple[SlowLine, ...]:
    """Those delivered that took longest, of all accepted at `start` or later. Costs that span's deliveries."""
    given = {"floor": id_floor(start), "start": start, "limit": limit}
    lines = (DeliveryLine(**row._mapping) for row in connection.execute(_SLOWEST, given))
    return tuple(SlowLine(line=line, seconds=(line.since - line.accepted_at) / SECOND) for line in lines)


_UNDELIVERED = select(deliveries.c.packet_id, deliveries.c.agency_id).where(
    deliveries.c.id >= bindparam("floor"), deliveries.c.state != DeliveryState.DELIVERED
)


def undelivered(connection: Connection, start: int) -> Iterator[tuple[str, str]]:
    """(packet, recipient) of every delivery since `start` that the rows do not call delivered."""
    for row in connection.execute(_UNDELIVERED, {"floor": id_floor(start)}):
        yield row.packet_id, row.agency_id
