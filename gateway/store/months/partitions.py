"""Partitions by month (phân vùng theo tháng) of what grows for ever, on PostgreSQL. SQLite keeps one table of each.

A month is one of Việt Nam's calendar.  Packets and deliveries lie in the month of their own id, events in that of their
packet's: whatever was told of a packet goes when it goes.  Transfers and attempts are the queue and stay whole.  What
no month holds falls into a table for the rest, so that taking in never fails for a missing month.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from gateway.model.instants import VIETNAM, as_instant, as_local, id_floor
from gateway.store.dialect import APPEND_ONLY

__all__ = [
    "GUARD", "PARTITIONED", "Month", "Partition", "analyze", "append_only_on", "cut_into_months", "is_partitioned",
    "letting_go", "locked_all", "made_at", "make_month", "missing_months", "month_named", "month_of",
    "packets_without_month",
    "partitions_of", "rest_count",
]  # fmt: skip

PARTITIONED: Final = {"packets": "id", "deliveries": "id", "events": "packet_id"}
"""Table → the column by which its rows go to months: text of UUIDv7, which sorts by time."""

_REST: Final = "rest"
_BEFORE: Final = "before"
_LOOSE: Final = "loose"
_LEAST: Final = "0"
"""Every id sorts after it, and what is told of no packet before."""
_LOCK_MILLISECONDS: Final = 500
"""That others wait behind us at most while we wait for a table: less than PostgreSQL takes to look for deadlocks, so
that nobody is ended for our sake."""
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Month:
    """A month in Việt Nam."""

    year: int
    month: int

    @property
    def name(self) -> str:
        """As people write it: 2026-11."""
        return f"{self.year:04}-{self.month:02}"

    @property
    def start(self) -> int:
        """Its first instant."""
        return as_instant(datetime(self.year, self.month, 1, tzinfo=VIETNAM))

    @property
    def end(self) -> int:
        """The first instant after it."""
        return self.later(1).start

    @property
    def low(self) -> str:
        """What every id made in it sorts after."""
        return id_floor(self.start)

    @property
    def high(self) -> str:
        """What every id made in it sorts before."""
        return id_floor(self.end)

    def later(self, months: int) -> Month:
        """The month so many months after it, or before it."""
        count = self.year * 12 + self.month - 1 + months
        return Month(year=count // 12, month=count % 12 + 1)


def month_of(instant: int) -> Month:
    """The month that an instant lies in."""
    local = as_local(instant).astimezone(VIETNAM)
    return Month(year=local.year, month=local.month)


def month_named(name: str) -> Month:
    """The month of a name as `Month.name` writes it."""
    year, _, month = name.partition("-")
    return Month(year=int(year), month=int(month))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One table of a partitioned one."""

    name: str
    low: str
    high: str


_BOUND = re.compile(r"FROM \('([^']*)'\) TO \('([^']*)'\)")
_PARTITIONS = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = to_regclass(%s) AND NOT i.inhdetachpending ORDER BY 1"
)


def is_partitioned(connection: Connection) -> bool:
    """Whether this database keeps months apart."""
    if connection.dialect.name == "sqlite":
        return False
    kind = connection.exec_driver_sql("SELECT relkind FROM pg_class WHERE oid = to_regclass('packets')").scalar()
    return kind in ("p", b"p")


def partitions_of(connection: Connection, table: str) -> list[Partition]:
    """The months of a table that are there, oldest first; without the rest and what belongs to no packet."""
    found = []
    for name, bound in connection.exec_driver_sql(_PARTITIONS, (table,)):
        if match := _BOUND.search(bound):
            found.append(Partition(name=name, low=match[1], high=match[2]))
    return sorted(found, key=lambda one: one.high)


def rest_count(connection: Connection, table: str, low: str, high: str) -> int:
    """How many rows from `low` up to `high` lie in the table for the rest: of months that nobody made."""
    column = PARTITIONED[table]
    told = f"SELECT count(*) FROM {table}_{_REST} WHERE {column} >= %s AND {column} < %s"  # noqa: S608 - names of ours
    return int(connection.exec_driver_sql(told, (low, high)).scalar_one())


def packets_without_month(connection: Connection) -> int:
    """How many packets lie in the table for the rest, because nobody made their month."""
    if not is_partitioned(connection):
        return 0
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM packets_{_REST}").scalar_one())  # noqa: S608


_IN_REST = "SELECT min({column}) FROM {table}_rest WHERE {column} >= %s AND {column} < %s"


def missing_months(connection: Connection, current: Month, ahead: int) -> list[tuple[str, Month]]:
    """(table, month) for each month from `current` on, or of rows in the rest, that a table lacks."""
    found = []
    for table, column in PARTITIONED.items():
        there = partitions_of(connection, table)
        wanted = {current.later(each) for each in range(ahead + 1)}
        low = id_floor(1)
        while first := _first_in_rest(connection, table, column, low, current.high):
            month = month_of(made_at(first))
            wanted.add(month)
            low = month.high
        found += [(table, each) for each in sorted(wanted) if not _holds(there, each)]
    return found


def _first_in_rest(connection: Connection, table: str, column: str, low: str, high: str) -> str | None:
    told = _IN_REST.format(column=column, table=table)
    first: str | None = connection.exec_driver_sql(told, (low, high)).scalar()
    return first


def _holds(there: list[Partition], month: Month) -> bool:
    return any(one.low <= month.low < one.high for one in there)


def made_at(row_id: str) -> int:
    """When a row's id was made, to the millisecond."""
    return int(row_id[:8] + row_id[9:13], 16) * 1000


def analyze(connection: Connection, table: str) -> None:
    """Let the planner know a table as a whole: autovacuum looks at its parts alone."""
    connection.exec_driver_sql(f"ANALYZE {table}")


# --- one month more ----------------------------------------------------------------------------------------------


def make_month(connection: Connection, table: str, month: Month) -> bool:
    """Make one month of a table; False where some partition holds it already.

    Rows of it that fell into the rest move over.  Writers of other months are not kept waiting: the new table is made
    apart and attached.  Wants a transaction of its own, in `locked_all` for that table's rest.
    """
    if _holds(partitions_of(connection, table), month):
        return False
    name, column = f"{table}_{month.year:04}_{month.month:02}", PARTITIONED[table]
    tell = connection.exec_driver_sql
    tell(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
    if table == "deliveries":
        tell(_UNIQUE_PLACE.format(name=name))
    with letting_go(connection):
        tell(
            f"WITH moved AS (DELETE FROM {table}_{_REST} WHERE {column} >= %s AND {column} < %s RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM moved",
            (month.low, month.high),
        )
    if table == "events":
        append_only_on(connection, name)
    tell(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{month.low}') TO ('{month.high}')")
    return True


_UNIQUE_PLACE = "CREATE UNIQUE INDEX {name}_place ON {name} (chain_id, position)"
"""One link per place of a chain; over months the chain's lock sees to it."""


def append_only_on(connection: Connection, name: str) -> None:
    """Refuse changes of a partition of events too: a trigger of the whole table does not see who names the part."""
    connection.exec_driver_sql(
        f"CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON {name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()"
    )


@contextmanager
def letting_go(connection: Connection) -> Iterator[None]:
    """Within it, and within this transaction alone, events may be deleted: a month that was archived goes, or moves."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP TRIGGER events_no_delete")
        yield
        connection.exec_driver_sql(APPEND_ONLY["sqlite"][1])
    else:
        connection.exec_driver_sql("SET LOCAL truc.letting_go = 'on'")
        yield
        connection.exec_driver_sql("SET LOCAL truc.letting_go = ''")


GUARD: Final = (
    "CREATE OR REPLACE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN IF TG_OP = 'DELETE' AND current_setting('truc.letting_go', true) = 'on' THEN RETURN NULL; END IF; "
    "RAISE EXCEPTION 'events are append-only'; END $$"
)
"""What the triggers on events do on PostgreSQL: they refuse everything but what `letting_go` does."""


@contextmanager
def locked_all(connection: Connection, *tables: str) -> Iterator[None]:
    """Hold tables for oneself until the transaction ends, asking again and again rather than making others wait.

    Raises what the database says where they could not be had within a minute.
    """
    until = time.monotonic() + _PATIENCE
    before = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    while True:
        point = connection.begin_nested()
        try:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        except OperationalError:
            point.rollback()
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{before}'")
            point.commit()
            break
    yield


# --- from one table to months ------------------------------------------------------------------------------------


def cut_into_months(connection: Connection, now: int) -> None:
    """Make months of the tables of an earlier release. What is there stays where it is, as the part before all months.

    One transaction, without copying a row: what was stored until the end of this month is one partition, and later
    months get their own.  Rows whose ids are ahead of the clock move to the rest.
    """
    month = month_of(now)
    connection.exec_driver_sql(GUARD)
    with locked_all(connection, *PARTITIONED):
        for table, column in PARTITIONED.items():
            _cut(connection, table, column, month)
            for ahead in range(2):
                make_month(connection, table, month.later(ahead))


def _cut(connection: Connection, table: str, column: str, month: Month) -> None:
    tell = connection.exec_driver_sql
    old = f"{table}_{_BEFORE}"
    indexes = tell(
        "SELECT i.relname, pg_get_indexdef(i.oid), x.indisprimary FROM pg_index x "
        "JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = to_regclass(%s) ORDER BY 1",
        (table,),
    ).all()
    for name, _, _ in indexes:
        tell(f"ALTER INDEX {name} RENAME TO {name}_{_BEFORE}")
    tell(f"ALTER TABLE {table} RENAME TO {old}")
    key = f"{column}, id" if column != "id" else "id"
    if column != "id":
        tell(f"ALTER TABLE {old} DROP CONSTRAINT {table}_pkey_{_BEFORE}, ADD PRIMARY KEY ({key})")
        tell(f"DROP INDEX {table}_packet_{_BEFORE}")
    tell(f"CREATE TABLE {table} (LIKE {old} INCLUDING DEFAULTS, PRIMARY KEY ({key})) PARTITION BY RANGE ({column})")
    for name, definition, is_primary in indexes:
        is_place = name == "deliveries_chain"
        if not is_primary and not is_place and not (column != "id" and name == f"{table}_packet"):
            tell(definition.replace("%", "%%"))
    tell(f"CREATE TABLE {table}_{_REST} PARTITION OF {table} DEFAULT")
    if column != "id":
        tell(f"CREATE TABLE {table}_{_LOOSE} PARTITION OF {table} FOR VALUES FROM (MINVALUE) TO ('{_LEAST}')")
    if table == "deliveries":
        tell(_UNIQUE_PLACE.format(name=f"{table}_{_REST}"))
    if not tell(f"SELECT EXISTS (SELECT FROM {old})").scalar():  # noqa: S608
        tell(f"DROP TABLE {old}")
    else:
        with letting_go(connection):
            tell(
                f"WITH ahead AS (DELETE FROM {old} WHERE {column} >= '{month.high}' RETURNING *) "  # noqa: S608
                f"INSERT INTO {table}_{_REST} SELECT * FROM ahead"
            )
            if column != "id":
                tell(
                    f"WITH loose AS (DELETE FROM {old} WHERE {column} < '{_LEAST}' RETURNING *) "  # noqa: S608
                    f"INSERT INTO {table}_{_LOOSE} SELECT * FROM loose"
                )
        tell(f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES FROM ('{_LEAST}') TO ('{month.high}')")
    if table == "events":
        for name in (table, f"{table}_{_REST}", f"{table}_{_LOOSE}"):
            append_only_on(connection, name)
