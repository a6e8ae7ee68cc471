"""The one module that knows which database it talks to: connection set-up, safety checks, upserts, triggers.

SQLite runs in WAL mode with `synchronous=FULL`, so that a commit that was answered survives a crash of the machine;
`check_durability` refuses to start on anything weaker.  Write transactions begin with `BEGIN IMMEDIATE`: the wait
for the one writer happens at the beginning, where nothing is lost by giving up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Executable,
    Row,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.model.errors import StoreUnsafe

__all__ = [
    "APPEND_ONLY", "COMMIT_ORDER", "check_durability", "execute_rows", "insert_ignore", "insert_missing", "lock_rows",
    "open_engine", "select_rows", "upsert_counts",
]  # fmt: skip

_BUSY_SECONDS = 20
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


COMMIT_ORDER: ColumnElement[int] = literal_column("events.rowid", BigInteger)
"""The order in which events were committed: one writer, and a table that only grows. Ids and clocks can be behind one
another."""


def open_engine(path: Path, *, wait_seconds: float = _BUSY_SECONDS) -> Engine:
    """An engine on the SQLite file `path` (made where missing). Waits up to `wait_seconds` for the writer's place."""
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": wait_seconds, "check_same_thread": False},
        pool_size=16,
        max_overflow=32,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16000",
            "temp_store=MEMORY",
            "wal_autocheckpoint=2000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("truc_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def check_durability(connection: Connection) -> None:
    """Raises StoreUnsafe where the database would lose what it confirmed: "accepted" means on disk."""
    if connection.dialect.name == "sqlite":
        wanted = {"journal_mode": ("wal",), "synchronous": ("2", "3")}
        for pragma, values in wanted.items():
            found = str(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()).lower()
            if found not in values:
                raise StoreUnsafe(setting=pragma, value=found, wanted=" / ".join(values))
    else:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            found = str(connection.exec_driver_sql(f"SHOW {setting}").scalar()).lower()
            if found == "off":
                raise StoreUnsafe(setting=setting, value=found, wanted="on")


def lock_rows(connection: Connection, rows: Select[Any], values: Mapping[str, Any]) -> bool:
    """Lock the rows that a select finds until the transaction ends; True where others may have changed them until now.

    PostgreSQL locks with FOR UPDATE, in the select's order.  SQLite has one writer, and BEGIN IMMEDIATE is its lock:
    nothing is asked, and what was read before still stands.
    """
    if connection.dialect.name == "sqlite":
        return False
    connection.execute(rows.with_for_update(), values).all()
    return True


def execute_rows(connection: Connection, statement: Executable, rows: Sequence[dict[str, Any]]) -> int:
    """Execute an insert, update or delete once per row; gives how many rows of the table it changed or made.

    Every row has the same keys.  The statement is compiled once per process, and a row becomes what the driver takes
    without SQLAlchemy's work per row and column, which cost more than the database's own.
    """
    key = (connection.dialect.name, statement, tuple(rows[0]))
    known = _compiled.get(key)
    if known is None:
        known = _compiled[key] = _compile(connection.dialect, statement, key[2], is_per_row=True)
    full = [{**known.fixed, **row} for row in rows] if known.fixed else rows
    if known.pick is None:
        return connection.exec_driver_sql(known.text, list(full)).rowcount
    return connection.exec_driver_sql(known.text, [known.pick(row) for row in full]).rowcount


def select_rows(connection: Connection, statement: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
    """The rows that a statement gives, as the driver has them: a truth value may be 0 or 1. Cheap as `execute_rows`."""
    key = (connection.dialect.name, statement, tuple(values))
    known = _compiled.get(key)
    if known is None:
        known = _compiled[key] = _compile(connection.dialect, statement, key[2], is_per_row=False)
    full = {**known.fixed, **values}
    return connection.exec_driver_sql(known.text, full if known.pick is None else known.pick(full)).all()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """What the driver is given: text, values that the statement brings itself, and how a row becomes a tuple (None
    where the driver takes parameters by name)."""

    text: str
    fixed: dict[str, Any]
    pick: Callable[[dict[str, Any]], tuple[Any, ...]] | None


_compiled: dict[tuple[str, Executable, tuple[str, ...]], _Compiled] = {}


def _compile(dialect: Dialect, statement: Executable, keys: tuple[str, ...], *, is_per_row: bool) -> _Compiled:
    made = cast(ClauseElement, statement).compile(dialect=dialect, column_keys=list(keys) if is_per_row else None)
    assert isinstance(made, SQLCompiler)
    missing = [column.name for column in (*made.insert_prefetch, *made.update_prefetch)]
    assert not missing, f"defaults are not filled in here: {missing}"
    assert not made.post_compile_params, "no lists here"
    fixed = {name: value for name, value in made.params.items() if name not in keys}
    return _Compiled(text=str(made), fixed=fixed, pick=_picker(made.positiontup))


def _picker(names: Sequence[str] | None) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
    if names is None:
        return None
    if len(names) == 1:
        (only,) = names
        return lambda row: (row[only],)
    return itemgetter(*names)


_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@cache
def _ignoring(name: str, table: Table, key: tuple[str, ...]) -> Executable:
    statement: Executable = _INSERTS[name](table).on_conflict_do_nothing(index_elements=list(key))
    return statement


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *key: str) -> None:
    """Insert rows whose unique `key` columns are not there yet; ask afterwards who holds a key."""
    if rows:
        execute_rows(connection, _ignoring(connection.dialect.name, table, key), rows)


def insert_ignore(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *key: str) -> frozenset[str]:
    """Insert rows whose unique `key` columns are not there yet; gives the first key column of those inserted now.

    The unique constraint decides, never a look before: two writers of one key get one winner.
    """
    done: set[str] = set()
    start = 0
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
def upsert_counts(name: str, table: Table, keys: tuple[str, ...], value: str) -> Executable:
    """A statement that adds bound parameter `value` to the row of `keys`, or makes the row with it."""
    statement = _INSERTS[name](table)
    added: Executable = statement.on_conflict_do_update(
        index_elements=list(keys), set_={value: table.c[value] + statement.excluded[value]}
    )
    return added
