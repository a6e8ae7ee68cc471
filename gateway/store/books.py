"""What the account reads: packets, deliveries and events as they stand, packet by packet, in constant memory.

Every statement walks an index from a key onwards, so closing a month costs that month, however much is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, Executable, bindparam, func, select

from gateway.model.events import Event, EventKind
from gateway.model.instants import DAY, id_floor
from gateway.store.dialect import COMMIT_ORDER, WRITE_ORDER
from gateway.store.schema import deliveries, events, packets, rollups

__all__ = [
    "BookedDelivery", "BookedEvent", "BookedPacket", "PacketFacts", "counted_deliveries", "counted_rollups",
    "loose_events", "next_packets", "packets_between",
]  # fmt: skip

Counts = dict[tuple[str, str, str], int]
"""Deliveries by (agency, book, state); no entry is zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedEvent:
    """One event as it stands in the store, with what its leaf digest was made of."""

    id: str
    recorded_at: int
    rule_version: int
    leaf: bytes
    event: Event
    written: int = 0  #: in the order of writing, 0 where nobody knows
    place: int = 0  #: in the order of commits


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketFacts:
    """What a packet's own row says of it. `recipients`: the organ id, as written, of each delivery it was to have."""

    book: str
    sender_id: str
    recipients: tuple[str, ...]
    recorded_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedDelivery:
    """What a delivery's row says."""

    id: str
    agency_id: str
    organ: str
    book: str
    state: str
    accepted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedPacket:
    """Everything stored under one packet id. `facts` is None where the packet has no row of its own."""

    id: str
    facts: PacketFacts | None
    deliveries: tuple[BookedDelivery, ...]
    events: tuple[BookedEvent, ...]


# --- which packets -------------------------------------------------------------------------------------------

_PAGE = 200
"""Packets looked up at once."""
_PAGE_EVENTS = 20_000
"""A page is cut short where its packets have more events than this: what is sorted at once stays small."""


def _ids_from(column: Column[str]) -> Executable:
    """The next packet ids in an index that begins with them, and how many entries each has."""
    return (
        select(column.label("id"), func.count().label("entries"))
        .where(column > bindparam("after"), column <= bindparam("high"))
        .group_by(column)
        .order_by(column)
        .limit(_PAGE)
    )


_IN_EVENTS = _ids_from(events.c.packet_id)
_IN_SOURCES = (_ids_from(packets.c.id), _ids_from(deliveries.c.packet_id))
_BOUNDS = select(func.min(events.c.packet_id), func.max(events.c.packet_id)).where(
    events.c.recorded_at >= bindparam("start"),
    events.c.recorded_at < bindparam("end"),
    events.c.kind.in_([EventKind.PACKET_ACCEPTED, EventKind.DELIVERY_PLANNED]),
)


def _window(connection: Connection, start: int, end: int) -> tuple[str, str]:
    """Bounds of packet ids that hold every packet entered in [start, end), and some neighbours.

    An id is made before its packet is accepted, by an upload's length at most (a day is allowed), so the ids of a
    period lie close together; where ids and events were stamped by different clocks (a simulation), the events'
    own bounds widen the window.
    """
    found = connection.execute(_BOUNDS, {"start": start, "end": end}).one()
    low, high = id_floor(start - DAY), id_floor(end)
    return (low if found[0] is None else min(low, found[0])), (high if found[1] is None else max(high, found[1]))


def packets_between(connection: Connection, start: int, end: int) -> Iterator[BookedPacket]:
    """Every packet that may have entered the books in [start, end): the caller looks at when each really did.

    A packet comes up where any of its row, its deliveries or its events exists.  Holds one page in memory.
    """
    after, high = _window(connection, start, end)
    while page := _next_page(connection, after, high):
        yield from _load(connection, page)
        after = page[-1]


def next_packets(connection: Connection, after: str, until: str) -> tuple[BookedPacket, ...]:
    """The next packets after that id, up to and with `until`: one page, read along the indexes of ids."""
    page = _next_page(connection, after, until)
    return tuple(_load(connection, page)) if page else ()


def _next_page(connection: Connection, after: str, high: str) -> list[str]:
    at = {"after": after, "high": high}
    entries = {row.id: row.entries for row in connection.execute(_IN_EVENTS, at)}
    for source in _IN_SOURCES:
        for row in connection.execute(source, at):
            entries.setdefault(row.id, 0)
    page: list[str] = []
    total = 0
    for packet_id in sorted(entries)[:_PAGE]:
        total += entries[packet_id]
        if page and total > _PAGE_EVENTS:
            break
        page.append(packet_id)
    return page


# --- what each holds -----------------------------------------------------------------------------------------

_FACTS = select(packets.c.id, packets.c.book, packets.c.sender_id, packets.c.recipients, packets.c.recorded_at).where(
    packets.c.id.in_(bindparam("ids", expanding=True))
)
_DELIVERIES = (
    select(
        deliveries.c.packet_id, deliveries.c.id, deliveries.c.agency_id, deliveries.c.organ, deliveries.c.book,
        deliveries.c.state, deliveries.c.accepted_at,
    )
    .where(deliveries.c.packet_id.in_(bindparam("ids", expanding=True)))
    .order_by(deliveries.c.packet_id, deliveries.c.id)
)  # fmt: skip
_EVENTS = (
    select(events, WRITE_ORDER.label("written"), COMMIT_ORDER.label("place"))
    .where(events.c.packet_id.in_(bindparam("ids", expanding=True)))
    .order_by(events.c.packet_id)
    .execution_options(yield_per=1000)
)


def _load(connection: Connection, ids: Sequence[str]) -> Iterator[BookedPacket]:
    rows = {"ids": list(ids)}
    facts = {row.id: _facts(row) for row in connection.execute(_FACTS, rows)}
    held = {
        packet_id: tuple(map(_delivery, group))
        for packet_id, group in groupby(connection.execute(_DELIVERIES, rows), key=lambda row: row.packet_id)
    }
    told = groupby(connection.execute(_EVENTS, rows), key=lambda row: row.packet_id)
    quiet = set(ids)
    for packet_id, group in told:
        quiet.discard(packet_id)
        happened = tuple(map(_event, group))
        yield BookedPacket(
            id=packet_id, facts=facts.get(packet_id), deliveries=held.get(packet_id, ()), events=happened
        )
    for packet_id in sorted(quiet):
        yield BookedPacket(id=packet_id, facts=facts.get(packet_id), deliveries=held.get(packet_id, ()), events=())


def _facts(row: Any) -> PacketFacts:
    return PacketFacts(
        book=row.book,
        sender_id=row.sender_id,
        recipients=tuple(json.loads(row.recipients)),
        recorded_at=row.recorded_at,
    )


def _delivery(row: Any) -> BookedDelivery:
    return BookedDelivery(
        id=row.id,
        agency_id=row.agency_id,
        organ=row.organ,
        book=row.book,
        state=row.state,
        accepted_at=row.accepted_at,
    )


def _event(row: Any) -> BookedEvent:
    event = Event(
        kind=row.kind,  # as stored: an altered kind must reach the check of its leaf, not fail here
        at=row.at,
        actor=row.actor,
        book=row.book,
        packet_id=row.packet_id,
        delivery_id=row.delivery_id,
        agency_id=row.agency_id,
        system_id=row.system_id,
        state_after=row.state_after,
        holder_after=row.holder_after,
        reason=row.reason,
        reported_at=row.reported_at,
        salt=row.salt,
    )
    return BookedEvent(
        id=row.id,
        recorded_at=row.recorded_at,
        rule_version=row.rule_version,
        leaf=row.leaf,
        event=event,
        written=row.written,
        place=row.place,
    )


_LOOSE = (
    select(events, WRITE_ORDER.label("written"), COMMIT_ORDER.label("place"))
    .where(
        events.c.packet_id == "",
        events.c.recorded_at >= bindparam("start"),
        events.c.recorded_at < bindparam("end"),
    )
    .execution_options(yield_per=1000)
)


def loose_events(connection: Connection, start: int, end: int) -> Iterator[BookedEvent]:
    """Events recorded in [start, end) that belong to no packet: of callers, channels, the node itself."""
    yield from map(_event, connection.execute(_LOOSE, {"start": start, "end": end}))


# --- counts --------------------------------------------------------------------------------------------------

_COUNTED = select(deliveries.c.agency_id, deliveries.c.book, deliveries.c.state, func.count().label("n")).group_by(
    deliveries.c.agency_id, deliveries.c.book, deliveries.c.state
)
_ROLLUPS = select(rollups.c.agency_id, rollups.c.book, rollups.c.state, rollups.c.count.label("n")).where(
    rollups.c.count != 0
)


def counted_deliveries(connection: Connection) -> Counts:
    """All deliveries ever stored, counted row by row: the one read here that grows with the store."""
    return {(row.agency_id, row.book, row.state): row.n for row in connection.execute(_COUNTED)}


def counted_rollups(connection: Connection) -> Counts:
    """The same as the roll-ups say it."""
    return {(row.agency_id, row.book, row.state): row.n for row in connection.execute(_ROLLUPS)}
