"""Walks (đi kiểm tra): what goes round over everything stored, a page at a time, and the faults that it finds.

A walk remembers the last packet that it looked at, in the transaction that keeps what it found there.  A fault that is
found again stays as it was; one that is not found again is gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from gateway.model.events import Event, EventKind
from gateway.store import events
from gateway.store.dialect import insert_ignore
from gateway.store.schema_walks import faults, walks
from monitoring.registry import FaultBook

__all__ = ["Fault", "Walk", "count_faults", "first_faults", "keep", "read_walk", "standing"]

_MOST = 10_000
"""Faults of one book that are kept: enough to see that everything is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far a walk came: `after` is the last packet looked at, "" where a round begins; `ended_at` 0: never ended."""

    name: str
    after: str = ""
    ended_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fault:
    """One thing that is wrong, by names and codes alone; `packet_id` is "" where it is no packet's."""

    packet_id: str = ""
    kind: str = ""
    delivery_id: str = ""
    agency_id: str = ""
    detail: str = ""


_COLUMNS = (faults.c.packet_id, faults.c.kind, faults.c.delivery_id, faults.c.agency_id, faults.c.detail)
_READ = select(walks).where(walks.c.name == bindparam("name"))
_ADVANCE = (
    update(walks)
    .where(walks.c.name == bindparam("b_name"), walks.c.after == bindparam("b_before"))
    .values(after=bindparam("b_after"), ended_at=bindparam("b_ended_at"))
)
_OF_BOOK = faults.c.book == bindparam("b_book")
_ON_PAGE = select(*_COLUMNS).where(
    _OF_BOOK, faults.c.packet_id > bindparam("b_before"), faults.c.packet_id <= bindparam("b_last")
)
_AT_END = select(*_COLUMNS).where(
    _OF_BOOK, or_(faults.c.packet_id > bindparam("b_before"), faults.c.packet_id == "")
)  # fmt: skip
_GONE = delete(faults).where(
    _OF_BOOK,
    faults.c.packet_id == bindparam("b_packet"),
    faults.c.kind == bindparam("b_kind"),
    faults.c.delivery_id == bindparam("b_delivery"),
    faults.c.agency_id == bindparam("b_agency"),
    faults.c.detail == bindparam("b_detail"),
)
_COUNT = select(faults.c.book, faults.c.kind, func.count().label("n")).group_by(faults.c.book, faults.c.kind)
_FIRST = (
    select(*_COLUMNS).where(_OF_BOOK, faults.c.packet_id > "").order_by(faults.c.packet_id).limit(bindparam("b_most"))
)
_NO_PACKET = select(*_COLUMNS).where(_OF_BOOK, faults.c.packet_id == "")


def read_walk(connection: Connection, name: str) -> Walk:
    """Where a walk stands; at the beginning where it never went."""
    row = connection.execute(_READ, {"name": name}).one_or_none()
    return Walk(name=name) if row is None else Walk(name=row.name, after=row.after, ended_at=row.ended_at)


def keep(
    connection: Connection,
    walk: Walk,
    book: FaultBook,
    found: Collection[Fault],
    *,
    last: str,
    at: int,
    actor: str,
    now: int,
) -> tuple[Collection[Fault], Collection[Fault]]:
    """Keep what a walk found between `walk.after` and the packet `last`; "" ends the round. Gives (new, gone).

    Every new fault, and every one that is gone, becomes an event of `actor` that names its packet.  Where another
    process was faster nothing is kept.
    """
    insert_ignore(connection, walks, [{"name": walk.name, "after": "", "ended_at": 0}], "name")
    ended_at = walk.ended_at if last else now
    step = {"b_name": walk.name, "b_before": walk.after, "b_after": last, "b_ended_at": ended_at}
    if connection.execute(_ADVANCE, step).rowcount != 1:
        return (), ()
    page = {"b_book": book, "b_before": walk.after} | ({"b_last": last} if last else {})
    known = {_fault(*row) for row in connection.execute(_ON_PAGE if last else _AT_END, page)}
    new, gone = sorted(set(found) - known), sorted(known - set(found))
    held = sum(count_faults(connection).get(book, {}).values()) if new else 0
    new = new[: max(_MOST - held, 0)]
    if new:
        connection.execute(insert(faults), [_row(fault) | {"book": book, "found_at": now} for fault in new])
    if gone:
        connection.execute(_GONE, [{"b_book": book} | dict(zip(_NAMES, astuple(fault), strict=True)) for fault in gone])
    told = [(EventKind.FAULT_FOUND, fault) for fault in new] + [(EventKind.FAULT_MENDED, fault) for fault in gone]
    events.append(connection, [_event(kind, fault, at, actor) for kind, fault in told], now)
    return new, gone


_NAMES = ("b_packet", "b_kind", "b_delivery", "b_agency", "b_detail")


def _fault(packet_id: str, kind: str, delivery_id: str, agency_id: str, detail: str) -> Fault:
    return Fault(packet_id=packet_id, kind=kind, delivery_id=delivery_id, agency_id=agency_id, detail=detail)


def _row(fault: Fault) -> dict[str, str]:
    return {column.name: value for column, value in zip(_COLUMNS, astuple(fault), strict=True)}


def _event(kind: EventKind, fault: Fault, at: int, actor: str) -> Event:
    return Event(
        kind=kind, at=at, actor=actor, packet_id=fault.packet_id, delivery_id=fault.delivery_id,
        agency_id=fault.agency_id, reason=fault.kind,
    )  # fmt: skip


def count_faults(connection: Connection) -> dict[str, dict[str, int]]:
    """How many faults stand in each book, by kind."""
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(_COUNT):
        counts.setdefault(row.book, {})[row.kind] = row.n
    return counts


def standing(connection: Connection, book: str) -> frozenset[Fault]:
    """The faults of one book that are no packet's."""
    return frozenset(_fault(*row) for row in connection.execute(_NO_PACKET, {"b_book": book}))


def first_faults(connection: Connection, book: str, most: int) -> tuple[Fault, ...]:
    """The faults of one book that are a packet's, the oldest packets first."""
    return tuple(_fault(*row) for row in connection.execute(_FIRST, {"b_book": book, "b_most": most}))
