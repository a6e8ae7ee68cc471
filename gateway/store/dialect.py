"""The one module that knows which database it talks to: safety checks, locks, the order of commits, upserts, triggers.

`gateway.store.engines` beside it connects.  `check_durability` refuses to start on a database that would lose what it
confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Executable,
    Select,
    Table,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.types import UserDefinedType

from gateway.model.errors import StoreUnsafe
from gateway.store.arrays import array
from gateway.store.schema import events
from gateway.store.statements import execute_one, execute_rows, select_one, select_rows, select_together

__all__ = [
    "APPEND_ONLY", "COMMIT_ORDER", "EVENTS_POSITION", "EVENTS_WRITTEN", "SERVER_CLOCK", "SERVER_NOW", "WRITE_ORDER",
    "AloneAt", "among", "begun_until", "check_durability", "continue_order", "count_after", "insert_ignore",
    "insert_missing", "inserting_missing", "is_writing", "lock_alone", "lock_and_select", "lock_rows", "settled_until",
    "texts", "upsert_counts", "whole_numbers", "writes_beside_others",
]  # fmt: skip

_LEAST_POSTGRES = 140_000
_TOGETHER = (64, 16, 4, 1)  # rows of one statement: a few sizes, so that each is compiled once

APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
        "CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$",
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()",
    ),
}
"""Statements that make the table of events refuse changes, by dialect name."""


class _Among(BinaryExpression[bool]):
    """A column is one of a list of texts."""

    inherit_cache = True


class _Texts(UserDefinedType[Sequence[str]]):
    """An array of texts as PostgreSQL reads it."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT[]"

    def bind_processor(self, _dialect: Dialect) -> Callable[[Any], Any]:
        return lambda values: array(list(values))


class _WholeNumbers(_Texts):
    """An array of whole numbers, likewise."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BIGINT[]"


def texts(name: str) -> ColumnElement[Any]:
    """The texts bound to `name` as an array of PostgreSQL's."""
    return cast(bindparam(name, type_=_Texts()), _Texts())


def whole_numbers(name: str) -> ColumnElement[Any]:
    """The whole numbers bound to `name` as an array of PostgreSQL's."""
    return cast(bindparam(name, type_=_WholeNumbers()), _WholeNumbers())


@compiles(_Among, "postgresql")
def _in_array(element: _Among, compiler: Any, **more: Any) -> str:
    """One text of the statement however long the list is, so that the server keeps the plan."""
    texts = compiler.process(bindparam(element.right.key, type_=_Texts()), **more)
    return f"{compiler.process(element.left, **more)} = ANY({texts}::TEXT[])"


def among(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """`column` is one of the texts that are bound to `name`, any number of them."""
    listed = column.in_(bindparam(name, expanding=True))
    return _Among(listed.left, listed.right, listed.operator, type_=listed.type, negate=listed.negate)


SERVER_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""The clock of PostgreSQL's machine, in microseconds, at the moment at which it is asked."""


class _ServerNow(ColumnElement[int]):
    """What it tells while a statement is executed."""

    type = BigInteger()
    inherit_cache = True


@compiles(_ServerNow, "sqlite")
def _nothing(_element: _ServerNow, _compiler: Any, **_: Any) -> str:
    return "NULL"


@compiles(_ServerNow, "postgresql")
def _by_the_server(_element: _ServerNow, _compiler: Any, **_: Any) -> str:
    return SERVER_CLOCK


SERVER_NOW: ColumnElement[int] = _ServerNow()
"""The server's clock in a statement; NULL on SQLite, whose time is the process's."""


class _CommitOrder(ColumnElement[int]):
    """Where an event stands in the order of commits."""

    type = BigInteger()
    inherit_cache = True


class _WriteOrder(_CommitOrder):
    """Where an event stands in the order of writing."""

    inherit_cache = True


@compiles(_CommitOrder, "sqlite")
def _by_rowid(_element: _CommitOrder, _compiler: Any, **_: Any) -> str:
    return "events.rowid"  # one writer, and a table that only grows


@compiles(_CommitOrder, "postgresql")
def _by_position(_element: _CommitOrder, _compiler: Any, **_: Any) -> str:
    return "events.position"


@compiles(_WriteOrder, "postgresql")
def _by_number(_element: _WriteOrder, _compiler: Any, **_: Any) -> str:
    return "events.written"


COMMIT_ORDER: ColumnElement[int] = _CommitOrder()
"""The order in which events became certain. Ids and clocks can be behind one another.

PostgreSQL commits side by side: an event's `position` is its transaction's number and its place therein, and what a
transaction with a smaller number may still bring is waited for (`settled_until`).
"""

EVENTS_POSITION = (
    "CREATE SEQUENCE events_ordinal AS bigint MINVALUE 0 MAXVALUE 1048575 START 0 CYCLE",
    "CREATE FUNCTION events_base() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 0::bigint'",
    "CREATE FUNCTION events_position() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT events_base() + "
    "(pg_current_xact_id()::text::bigint << 20) + nextval(''events_ordinal'')'",
    "ALTER TABLE events ADD COLUMN position bigint NOT NULL DEFAULT events_position()",
    "CREATE INDEX events_position ON events (position)",
)
"""Statements that give events their place in the order of commits on PostgreSQL."""

WRITE_ORDER: ColumnElement[int] = _WriteOrder()
"""The order in which events of one delivery happened: whoever writes one holds the delivery's chain.

The order of commits is not that: a transaction gets its number with its first write, and may then wait for a chain on
which one with a later number is at work.  0: written before there was this order; of these that of commits says it.
"""

EVENTS_WRITTEN = (
    "CREATE SEQUENCE events_written AS bigint",
    "ALTER TABLE events ADD COLUMN written bigint NOT NULL DEFAULT 0",
    "ALTER TABLE events ALTER COLUMN written SET DEFAULT nextval('events_written')",
)
"""Statements that number events as they are written on PostgreSQL, without touching those that are there."""

_SETTLED = "SELECT events_base() + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20)"
_BEGUN = "SELECT events_base() + (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20)"
_NEWEST = (
    "SELECT max(position), events_base() + (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20) FROM events"
)
_REBASE = "CREATE OR REPLACE FUNCTION events_base() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT {}::bigint'"
_EVER = (1 << 63) - 1


def settled_until(connection: Connection) -> int:
    """Every event before this place in the order of commits is visible to this transaction, and none will be added."""
    if connection.dialect.name == "sqlite":
        return _EVER
    return int(connection.exec_driver_sql(_SETTLED).scalar_one())


def begun_until(connection: Connection) -> int:
    """A place in the order of commits: once `settled_until` gives it or more, all that runs now has ended."""
    if connection.dialect.name == "sqlite":
        return 0  # one writer, and this transaction began after it ended
    return int(connection.exec_driver_sql(_BEGUN).scalar_one())


def continue_order(connection: Connection) -> None:
    """Let new events come after those that are there.

    A database that was read into another server (pg_restore) meets smaller transaction numbers there, and whoever
    follows the events would pass over the new ones.  For an opening process, in a write transaction.
    """
    if connection.dialect.name != "sqlite":
        newest, next_one = connection.exec_driver_sql(_NEWEST).one()
        if newest is not None and newest >= next_one:
            base = int(connection.exec_driver_sql("SELECT events_base()").scalar_one())
            connection.exec_driver_sql(_REBASE.format(base + int(newest) + 1 - int(next_one)))


_AFTER: dict[str, Select[int]] = {
    "sqlite": select(func.max(COMMIT_ORDER) - bindparam("after")).select_from(events),
    "postgresql": select(func.count()).where(bindparam("after") < COMMIT_ORDER).select_from(events),
}


def count_after(connection: Connection, position: int) -> int:
    """How many events came after that place in the order of commits."""
    return int(select_one(connection, _AFTER[connection.dialect.name], {"after": position}) or 0)


_UNLOGGED = """
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(current_schema()) AND relpersistence = 'u' LIMIT 1"""
"""A table that somebody filled quickly: after a crash it is empty."""


def check_durability(connection: Connection) -> None:
    """Raises StoreUnsafe where the database would lose what it confirmed: "accepted" means on disk."""
    if connection.dialect.name == "sqlite":
        wanted = {"journal_mode": ("wal",), "synchronous": ("2", "3")}
        for pragma, values in wanted.items():
            found = str(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()).lower()
            if found not in values:
                raise StoreUnsafe(setting=pragma, value=found, wanted=" / ".join(values))
    else:
        version = int(str(connection.exec_driver_sql("SHOW server_version_num").scalar()))
        if version < _LEAST_POSTGRES:
            raise StoreUnsafe(
                setting="server_version", value=str(version // 10_000), wanted=f"≥ {_LEAST_POSTGRES // 10_000}"
            )
        for setting, needed in (("synchronous_commit", "on"), ("server_encoding", "UTF8")):
            value = str(connection.exec_driver_sql(f"SHOW {setting}").scalar())
            if value != needed:
                raise StoreUnsafe(setting=setting, value=value, wanted=needed)
        unlogged = connection.exec_driver_sql(_UNLOGGED).scalar()
        if unlogged is not None:
            raise StoreUnsafe(setting=unlogged, value="UNLOGGED", wanted="LOGGED")


def writes_beside_others(connection: Connection) -> bool:
    """Whether other transactions may write while this one does: what it read before it took a lock may have changed."""
    return connection.dialect.name != "sqlite" and is_writing(connection)


def is_writing(connection: Connection) -> bool:
    """Whether this is a connection of `Store.write`."""
    return bool(connection.get_execution_options().get("truc_writes", False))


def lock_rows(connection: Connection, rows: Select[Any], values: Mapping[str, Any]) -> bool:
    """Lock the rows that a select finds until the transaction ends; True where others may have changed them until now.

    PostgreSQL locks with FOR UPDATE, in the select's order.  SQLite has one writer, and BEGIN IMMEDIATE is its lock:
    nothing is asked, and what was read before still stands.  Reading transactions lock nothing.
    """
    if not writes_beside_others(connection):
        return False
    execute_one(connection, _locking(rows), values)
    return True


def lock_and_select(
    connection: Connection,
    locked: tuple[Select[Any], Mapping[str, Any]] | None,
    asked: Sequence[tuple[Executable, Mapping[str, Any]]],
) -> list[list[Any]]:
    """Lock as `lock_rows` does, where anything is to be locked, then select what is asked: each of it as it is since
    the lock is held. One trip on PostgreSQL."""
    if locked is None or not writes_beside_others(connection):
        return select_together(connection, asked)
    rows, values = locked
    return select_together(connection, [(_locking(rows), values), *asked])[1:]


@cache
def _locking(rows: Select[Any]) -> Select[Any]:
    return rows.with_for_update()


def lock_alone(connection: Connection, what: AloneAt) -> None:
    """Be the only transaction on this database that does `what`, until it ends."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS}, {int(what)})")


class AloneAt(IntEnum):
    """What one transaction at a time does; the number is PostgreSQL's name of the lock."""

    OPENING = 1
    MIGRATING = 2
    HOLDING = 3


_LOCKS = 0x54525543  # "TRUC"


_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@cache
def _ignoring(name: str, table: Table, key: tuple[str, ...]) -> Executable:
    statement: Executable = _INSERTS[name](table).on_conflict_do_nothing(index_elements=list(key))
    return statement


def _in_order(rows: Sequence[dict[str, Any]], key: tuple[str, ...]) -> Sequence[dict[str, Any]]:
    """Who writes the same keys side by side waits for the other; in one order, so that never both wait."""
    return rows if len(rows) < 2 else sorted(rows, key=itemgetter(*key))


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *key: str) -> int:
    """Insert rows whose unique `key` columns are not there yet; how many: where some were, ask who holds a key."""
    return execute_rows(connection, *inserting_missing(connection, table, rows, *key)) if rows else 0


def inserting_missing(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *key: str
) -> tuple[Executable, Sequence[dict[str, Any]]]:
    """The statement of `insert_missing`, and the rows in its order."""
    return _ignoring(connection.dialect.name, table, key), _in_order(rows, key)


def insert_ignore(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *key: str) -> frozenset[str]:
    """Insert rows whose unique `key` columns are not there yet; gives the first key column of those inserted now.

    The unique constraint decides, never a look before: two writers of one key get one winner.
    """
    done: set[str] = set()
    start = 0
    rows = _in_order(rows, key)
    while start < len(rows):
        count = next(size for size in _TOGETHER if size <= len(rows) - start)
        statement = _ignoring_many(connection.dialect.name, table, key, tuple(rows[0]), count)
        values = {
            f"{name}_{i}": value for i, row in enumerate(rows[start : start + count]) for name, value in row.items()
        }
        done.update(row[0] for row in select_rows(connection, statement, values))
        start += count
    return frozenset(done)


@cache
def _ignoring_many(name: str, table: Table, key: tuple[str, ...], columns: tuple[str, ...], count: int) -> Executable:
    """A statement for so many rows at once; its parameters are `column_number`."""
    places: list[dict[str, Any]] = [{column: bindparam(f"{column}_{i}") for column in columns} for i in range(count)]
    statement = _INSERTS[name](table).values(places).on_conflict_do_nothing(index_elements=list(key))
    made: Executable = statement.returning(table.c[key[0]])
    return made


@cache
def upsert_counts(
    name: str, table: Table, keys: tuple[str, ...], value: str, found: Select[Any] | None = None
) -> Executable:
    """A statement that adds bound parameter `value` to the row of `keys`, or makes the row with it; with `found`, those
    that a select gives, in its order."""
    statement = _INSERTS[name](table)
    if found is not None:
        statement = statement.from_select([*keys, value], found)
    added: Executable = statement.on_conflict_do_update(
        index_elements=list(keys), set_={value: table.c[value] + statement.excluded[value]}
    )
    return added
