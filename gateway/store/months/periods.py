"""Months that may go (thời hạn lưu giữ): what stands in their way, what they carry forward, and their going.

Nothing goes that is open, parked, owed, unread or held, or whose document goes on in a later month.  What identifies a
document and a submission (documents, submissions, idempotency, chains) never goes: a repeat is known for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, bindparam, delete, exists, func, insert, select, update

from gateway.model.instants import DAY, id_floor
from gateway.model.states import LinkKind
from gateway.store.dialect import COMMIT_ORDER, settled_until, upsert_counts
from gateway.store.followers import Follower
from gateway.store.months import holds
from gateway.store.months.holds import Hold
from gateway.store.months.partitions import (
    PARTITIONED,
    Month,
    is_partitioned,
    letting_go,
    made_at,
    month_named,
    month_of,
    partitions_of,
)
from gateway.store.rollups import count
from gateway.store.schema import attempts, chains, deliveries, events, is_state, notices, packets, statuses, transfers
from gateway.store.schema_judged import followers, inspections, signature_verdicts
from gateway.store.schema_periods import carried, periods
from gateway.store.schema_walks import faults
from gateway.store.statements import execute_rows

__all__ = [
    "KEPT_TABLES", "Carried", "Obstacles", "Period", "add_carried", "carried_between", "count_deliveries",
    "delete_packets", "delete_strays", "drop_partitions", "gone_until", "last_position", "mark_dropped",
    "mark_recalled", "months_there", "obstacles", "own_partitions", "read_periods", "record", "rows_of",
    "settled_position", "uncount",
]  # fmt: skip

KEPT_TABLES: Final[Mapping[str, tuple[Table, Column[str]]]] = {
    "packets": (packets, packets.c.id),
    "deliveries": (deliveries, deliveries.c.packet_id),
    "events": (events, events.c.packet_id),
    "statuses": (statuses, statuses.c.packet_id),
    "notices": (notices, notices.c.packet_id),
    "signature_verdicts": (signature_verdicts, signature_verdicts.c.packet_id),
    "inspections": (inspections, inspections.c.packet_id),
    "attempts": (attempts, attempts.c.id),
    "transfers": (transfers, transfers.c.id),
}
"""What an archive holds, each table with the column whose id says to which month its rows belong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A month that was archived; `dropped_at` None: its rows are still here."""

    month: str
    file: str
    digest: str
    packets: int
    last_position: int
    archived_at: int
    archived_by: str
    dropped_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """Why a month may not go; it may where every figure is 0 and no hold stands."""

    open: int  #: deliveries that are not at their end
    parked: int  #: of these, parked ones
    going_on: int  #: deliveries of it in whose chain something later is open
    owing: int  #: statuses that the node still owes
    faults: int  #: what rounds found wrong in it
    unread: int  #: followers that are not through with its events
    earlier: int  #: packets of earlier months: they go first
    holds: tuple[Hold, ...]

    @property
    def is_free(self) -> bool:
        """Whether nothing stands in the way."""
        figures = (self.open, self.going_on, self.owing, self.faults, self.unread, self.earlier)
        return not any(figures) and not self.holds


Carried = tuple[int, str, str, str]
"""What is carried forward is counted by (day, agency, book, fate)."""


def _values(month: Month) -> dict[str, str]:
    return {"low": month.low, "high": month.high}


def _within(column: Column[str]) -> tuple[Any, Any]:
    return column >= bindparam("low"), column < bindparam("high")


# --- which months ------------------------------------------------------------------------------------------------

_BY_PACKET = ("deliveries", "events", "packets")
_FIRSTS = [
    select(func.min(column)).where(column >= bindparam("low"))
    for _, column in (KEPT_TABLES[table] for table in _BY_PACKET)
]


def months_there(connection: Connection, until: int) -> list[Month]:
    """The months that anything of a packet lies in and that ended by the instant `until`, oldest first."""
    found: list[Month] = []
    low = id_floor(1)
    while (first := _first_from(connection, low)) is not None and first < id_floor(until):
        month = month_of(made_at(first))
        if month.end > until:
            break
        found.append(month)
        low = month.high
    return found


def _first_from(connection: Connection, low: str) -> str | None:
    """The first packet's id from there on that a row of some table names."""
    found = (connection.execute(first, {"low": low}).scalar() for first in _FIRSTS)
    return min((one for one in found if one is not None), default=None)


# --- what stands in the way --------------------------------------------------------------------------------------

_UNDONE = ("waiting", "ready", "available", "claimed", "fetched", "handed_over", "parked")
_later = deliveries.alias("later")
_OPEN = (
    select(deliveries.c.state, func.count().label("n"))
    .where(*_within(deliveries.c.packet_id), is_state(deliveries.c.state, *_UNDONE))
    .group_by(deliveries.c.state)
)
_GOING_ON = (
    select(func.count())
    .select_from(_later.join(deliveries, deliveries.c.chain_id == _later.c.chain_id))
    .where(
        is_state(_later.c.state, *_UNDONE), _later.c.packet_id >= bindparam("high"), *_within(deliveries.c.packet_id)
    )
)
_OWING = select(func.count()).where(deliveries.c.owes != "", *_within(deliveries.c.packet_id))
_FAULTS = select(func.count()).where(*_within(faults.c.packet_id))
_UNREAD = select(func.count()).where(followers.c.name.in_(list(Follower)), followers.c.position < bindparam("last"))
_EARLIER = select(func.count()).select_from(
    select(packets.c.id).where(packets.c.id < bindparam("low")).limit(1).subquery()
)
_LAST = select(func.max(COMMIT_ORDER)).select_from(events).where(*_within(events.c.packet_id))


def last_position(connection: Connection, month: Month) -> int:
    """The place of the month's last event in the order of commits; 0 where it has none.

    Whatever changes in the month leaves an event: the same place twice is an unchanged month.
    """
    return int(connection.execute(_LAST, _values(month)).scalar() or 0)


def settled_position(connection: Connection, month: Month) -> int:
    """The same as far as this transaction can know it: smaller where something that began before may yet commit.

    What is written down with it is out of date as soon as that commits, or until it is written anew.
    """
    return min(last_position(connection, month), settled_until(connection) - 1)


def obstacles(connection: Connection, month: Month) -> Obstacles:
    """Why this month may not go yet."""
    values = _values(month)
    undone = {row.state: int(row.n) for row in connection.execute(_OPEN, values)}

    def many(statement: Any, **more: int) -> int:
        return int(connection.execute(statement, {**values, **more}).scalar_one())

    return Obstacles(
        open=sum(undone.values()),
        parked=undone.get("parked", 0),
        going_on=many(_GOING_ON),
        owing=many(_OWING),
        faults=many(_FAULTS),
        unread=many(_UNREAD, last=last_position(connection, month)),
        earlier=many(_EARLIER),
        holds=tuple(holds.holding(connection, month)),
    )


# --- what was archived -------------------------------------------------------------------------------------------

_PERIODS = select(periods).order_by(periods.c.month)
_FORGET = delete(periods).where(periods.c.month == bindparam("b_month"), periods.c.dropped_at.is_(None))
_DROPPED = update(periods).where(periods.c.month == bindparam("b_month")).values(dropped_at=bindparam("now"))


def read_periods(connection: Connection) -> dict[str, Period]:
    """The months that were archived, by name."""
    return {row.month: Period(**row._mapping) for row in connection.execute(_PERIODS)}


def record(connection: Connection, period: Period) -> None:
    """Write down that a month was archived, in place of an archive that it had before its rows changed."""
    connection.execute(_FORGET, {"b_month": period.month})
    connection.execute(insert(periods), {name: getattr(period, name) for name in Period.__dataclass_fields__})


def mark_dropped(connection: Connection, month: Month, now: int) -> None:
    """All rows of the month are gone."""
    connection.execute(_DROPPED, {"b_month": month.name, "now": now})


_NEWEST_GONE = select(func.max(periods.c.month))


def gone_until(connection: Connection) -> str:
    """What every id made after the last month of which anything may have gone sorts after; "" where none ever went.

    A day later than the month's end: what hangs on a packet is made after its id, by an upload's length.
    """
    newest: str | None = connection.execute(_NEWEST_GONE).scalar()
    if newest is None:
        return ""
    return id_floor(month_named(newest).end + DAY)


def rows_of(connection: Connection, table: str, month: Month) -> Iterator[dict[str, Any]]:
    """The rows of a month as they stand, in the order of their ids, a thousand at a time."""
    held, column = KEPT_TABLES[table]
    order = [column, *(each for each in held.primary_key.columns if each is not column)]
    found = select(held).where(*_within(column)).order_by(*order).execution_options(yield_per=1000)
    for row in connection.execute(found, _values(month)):
        yield dict(row._mapping)


# --- carried forward ---------------------------------------------------------------------------------------------

_CARRIED = (
    select(carried.c.agency_id, carried.c.book, carried.c.fate, func.sum(carried.c.count).label("n"))
    .where(carried.c.day >= bindparam("start"), carried.c.day < bindparam("end"))
    .group_by(carried.c.agency_id, carried.c.book, carried.c.fate)
)


def add_carried(connection: Connection, month: Month, counts: Mapping[Carried, int]) -> None:
    """Carry these forward, in the transaction in which their rows go."""
    rows = [
        {"month": month.name, "day": day, "agency_id": agency_id, "book": book, "fate": fate, "count": n}
        for (day, agency_id, book, fate), n in sorted(counts.items())
    ]
    if rows:
        keys = ("month", "day", "agency_id", "book", "fate")
        execute_rows(connection, upsert_counts(connection.dialect.name, carried, keys, "count"), rows)


def carried_between(connection: Connection, start: int, end: int) -> dict[tuple[str, str, str], int]:
    """What was carried forward of days that begin in [start, end), by (agency, book, fate)."""
    rows = connection.execute(_CARRIED, {"start": start, "end": end})
    return {(row.agency_id, row.book, row.fate): int(row.n) for row in rows}


# --- going -------------------------------------------------------------------------------------------------------

_COUNTED = (
    select(deliveries.c.agency_id, deliveries.c.book, deliveries.c.state, func.count())
    .where(*_within(deliveries.c.packet_id))
    .group_by(deliveries.c.agency_id, deliveries.c.book, deliveries.c.state)
)


def count_deliveries(connection: Connection, month: Month) -> list[tuple[str, str, str, int]]:
    """How many deliveries of the month are of an agency, a book and a state."""
    return [(agency, book, state, n) for agency, book, state, n in connection.execute(_COUNTED, _values(month))]


_PACKETS = select(func.count()).select_from(packets).where(*_within(packets.c.id))


def count_packets(connection: Connection, month: Month) -> int:
    """How many packets of a month are stored."""
    return int(connection.execute(_PACKETS, _values(month)).scalar_one())


def uncount(connection: Connection, counts: Iterable[tuple[str, str, str, int]]) -> None:
    """Take deliveries that go off the roll-ups, in the transaction in which they go."""
    count(connection, [(agency, book, state, -n) for agency, book, state, n in counts])


_after = deliveries.alias("after")
_LAST_LINK = select(deliveries.c.chain_id).where(
    *_within(deliveries.c.packet_id),
    ~exists().where(
        _after.c.chain_id == deliveries.c.chain_id,
        _after.c.position > deliveries.c.position,
        _after.c.packet_id < bindparam("high"),
    ),
)
_ENDED = (
    update(chains)
    .where(~chains.c.ended_recalled, chains.c.id.in_(_LAST_LINK.where(deliveries.c.kind == LinkKind.RECALL)))
    .values(ended_recalled=True)
)
_WENT_ON = (
    update(chains)
    .where(chains.c.ended_recalled, chains.c.id.in_(_LAST_LINK.where(deliveries.c.kind != LinkKind.RECALL)))
    .values(ended_recalled=False)
)


def mark_recalled(connection: Connection, month: Month) -> None:
    """Keep beside the chains of a month that is about to go whether a recall was the last that joined them in it.

    A document that comes after its recall is known for ever (protocol §6).  What is kept says nothing while links are
    left, so it may be told early, and again.
    """
    for statement in (_ENDED, _WENT_ON):
        connection.execute(statement, _values(month))


_STRAYS = ((transfers, transfers.c.id), (attempts, attempts.c.id), *(
    (table, table.c.packet_id) for table in (statuses, notices, signature_verdicts, inspections)
))  # fmt: skip


_LEFT_BEHIND = {
    table.name: (table.c.id < bindparam("high"), ~exists().where(theirs))
    for table, theirs in (
        (transfers, deliveries.c.transfer_id == transfers.c.id),
        (attempts, deliveries.c.id == attempts.c.delivery_id),
    )
}
"""Earlier months are gone when one goes."""


def delete_packets(connection: Connection, ids: Sequence[str]) -> None:
    """Delete these packets with their deliveries and events, row by row; `delete_strays` takes the rest of the month.

    Attempts and transfers that were made in a later month stand in that month's archive, and go with it.
    """
    values = {"ids": list(ids)}
    with letting_go(connection):
        for name in _BY_PACKET:
            table, column = KEPT_TABLES[name]
            connection.execute(delete(table).where(column.in_(bindparam("ids", expanding=True))), values)


def delete_strays(connection: Connection, month: Month, most: int = 2000) -> bool:
    """Delete up to `most` rows that were kept beside the packets of a month that is gone; False where none is left.

    A transfer or an attempt whose delivery is there stays: where machines' clocks differ it may have been made in this
    month for a packet of the next one.  It goes with that one.
    """
    gone = 0
    for table, column in _STRAYS:
        keys = list(table.primary_key.columns)
        page = select(*keys).where(*_LEFT_BEHIND.get(table.name, _within(column))).limit(most)
        found = connection.execute(page, _values(month)).all()
        if found:
            chosen = [{f"b_{key.name}": value for key, value in zip(keys, row, strict=True)} for row in found]
            connection.execute(delete(table).where(*(key == bindparam(f"b_{key.name}") for key in keys)), chosen)
            gone += len(found)
    return gone > 0


_LATE_DELIVERIES = delete(deliveries).where(*_within(deliveries.c.packet_id), deliveries.c.id >= bindparam("high"))


def own_partitions(connection: Connection, month: Month) -> dict[str, str]:
    """The partition of each table that holds exactly this month; {} where some table has none."""
    if not is_partitioned(connection):
        return {}
    named = {
        table: one.name
        for table in PARTITIONED
        for one in partitions_of(connection, table)
        if (one.low, one.high) == (month.low, month.high)
    }
    return named if named.keys() == PARTITIONED.keys() else {}


def drop_partitions(connection: Connection, month: Month, named: Mapping[str, str]) -> None:
    """Drop the partitions of a month, which must be held (`partitions.locked_all`).

    Deliveries of its packets that were made in a later month go too.
    """
    connection.execute(_LATE_DELIVERIES, _values(month))
    for table, name in named.items():
        connection.exec_driver_sql(f"ALTER TABLE {table} DETACH PARTITION {name}")
        connection.exec_driver_sql(f"DROP TABLE {name}")
