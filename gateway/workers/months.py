"""Upkeep of months on PostgreSQL: tables are made ahead of time, and what fell into the rest moves to its month."""

from __future__ import annotations

from gateway.model.instants import wall_now
from gateway.store import Store
from gateway.store.months import listed, partitions
from gateway.store.months.partitions import PARTITIONED, Month, month_of
from gateway.store.repeating import repeated_where_undone
from monitoring import log

__all__ = ["keep_months"]

_log = log.get("months")


def keep_months(store: Store, ahead: int) -> int:
    """Make this month and `ahead` months after it where they are missing; how many tables were made. Safe to repeat.

    `truc periodic` does it every hour, `truc init` once, so that a new node has its months from the first day.
    Each table in a transaction of its own, which nobody who writes to other months waits for.  By this machine's wall
    clock, from which ids are made.  Finds anew from which month on anything is listed.  Nothing on SQLite.  Raises
    StoreBusy.
    """
    with store.read() as connection:
        if not partitions.is_partitioned(connection):
            return 0
        wanted = partitions.missing_months(connection, month_of(wall_now()), ahead)
    for table, month in wanted:
        fell = _make(store, table, month)
        if fell:
            _log.error("months.late", reason=table, count=fell)
    if wanted:
        _log.info("months.made", count=len(wanted))
        _analyze(store)
    with store.write() as connection:
        listed.find_anew(connection, store.now(connection))
    return len(wanted)


@repeated_where_undone
def _make(store: Store, table: str, month: Month) -> int:
    """Make one month of a table; how many of its rows had fallen into the rest.

    Who looks after the database locks tables as well, in an order of his own: of two who wait for each other one is
    undone, and not for an hour.
    """
    with store.write() as connection, partitions.locked_all(connection, f"{table}_rest"):
        fell = partitions.rest_count(connection, table, month.low, month.high)
        return fell if partitions.make_month(connection, table, month) else 0


@repeated_where_undone
def _analyze(store: Store) -> None:
    with store.write() as connection:
        for table in PARTITIONED:
            partitions.analyze(connection, table)
