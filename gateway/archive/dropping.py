"""Letting a month go, once its archive was read again: what is carried forward and what goes are one commit.

PostgreSQL drops the month's partitions, for which nobody waits longer than half a second at a time; where a month has
no partition of its own (SQLite, and what came before there were months) its rows go a page at a time, each page with
what is carried forward of it.  A crash loses nothing: the same call goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edxml.crashpoints import crash_point, declare
from gateway.archive.folding import Folded, fold_month, fold_packets
from gateway.archive.reading import ArchiveDamaged, digest_of, verify
from gateway.model.errors import Conflict
from gateway.model.events import Event, EventKind
from gateway.store import Connection, Store, books, events
from gateway.store.months import holds, periods
from gateway.store.months.partitions import PARTITIONED, Month, locked_all
from gateway.store.months.periods import Period

__all__ = ["Dropped", "drop_month"]

declare("archive.page_gone", "some packets of the month are gone, with what is carried forward of them")
declare("archive.rows_gone", "all packets of the month are gone; the store does not say so yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A month that went; `by_partition`: with its tables."""

    month: str
    packets: int
    by_partition: bool


def drop_month(store: Store, month: Month, file: Path, *, actor: str) -> Dropped:
    """Let a month go whose archive `file` is. Safe to repeat and to be killed.

    Raises Conflict `archive.none`, `archive.other_file`, `archive.changed`, `archive.kept` where anything stands in the
    way, `archive.gap`; ArchiveDamaged, OSError, StoreBusy.  Nothing is gone then that was not in the archive.

    Crash points: `archive.page_gone`, `archive.rows_gone`.
    """
    with store.read() as connection:
        known = periods.read_periods(connection).get(month.name)
    if known is None:
        raise Conflict("archive.none", month=month.name)
    if known.dropped_at is not None:
        return Dropped(month=month.name, packets=0, by_partition=False)
    if digest_of(file) != known.digest:
        raise Conflict("archive.other_file", month=month.name, file=str(file))
    if verify(file).month != month.name:
        raise ArchiveDamaged(file=str(file), what="month")
    with store.write() as connection:
        periods.mark_recalled(connection, month)
    by_partition = _drop_partitions(store, month, known)
    packets = known.packets if by_partition else _drop_pages(store, month, known)
    crash_point("archive.rows_gone")
    _finish(store, month, known, actor)
    return Dropped(month=month.name, packets=packets, by_partition=by_partition)


def _check_may_go(connection: Connection, month: Month, known: Period) -> None:
    if periods.last_position(connection, month) > known.last_position:
        raise Conflict("archive.changed", month=month.name)
    found = periods.obstacles(connection, month)
    if not found.is_free:
        raise Conflict("archive.kept", month=month.name)


def _drop_partitions(store: Store, month: Month, known: Period) -> bool:
    with store.read() as connection:
        named = periods.own_partitions(connection, month)
        if not named:
            return False
        _check_may_go(connection, month, known)
        folded = fold_month(connection, month)
        counted = periods.count_deliveries(connection, month)
    with store.write() as connection, locked_all(connection, *PARTITIONED):
        _check_may_go(connection, month, known)  # the same last event: nothing that was folded has changed since
        periods.drop_partitions(connection, month, named)
        periods.add_carried(connection, month, folded.carried)
        periods.uncount(connection, counted)
    return True


def _drop_pages(store: Store, month: Month, known: Period) -> int:
    gone = 0
    while True:
        with store.write() as connection:
            page = books.next_packets(connection, month.low, month.high)
            if not page:
                return gone
            holds.lock(connection)
            _check_may_go(connection, month, known)
            folded = Folded()
            fold_packets(page, folded)
            periods.add_carried(connection, month, folded.carried)
            states = Counter((row.agency_id, row.book, row.state) for one in page for row in one.deliveries)
            periods.uncount(connection, [(*key, n) for key, n in states.items()])
            periods.delete_packets(connection, [packet.id for packet in page])
        gone += len(page)
        crash_point("archive.page_gone")


def _finish(store: Store, month: Month, known: Period, actor: str) -> None:
    while True:
        with store.write() as connection:
            if periods.delete_strays(connection, month):
                continue
            now = store.now(connection)
            periods.mark_dropped(connection, month, now)
            told = Event(kind=EventKind.PERIOD_DROPPED, at=now, actor=actor, reason=f"{month.name} {known.digest}")
            events.append(connection, [told], now)
            return
