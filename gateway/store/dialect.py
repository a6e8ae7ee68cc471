"""The one module that knows which database it talks to: connection set-up, safety checks, upserts, triggers.

SQLite runs in WAL mode with `synchronous=FULL`, so that a commit that was answered survives a crash of the machine;
`check_durability` refuses to start on anything weaker.  Write transactions begin with `BEGIN IMMEDIATE`: the wait
for the one writer happens at the beginning, where nothing is lost by giving up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import ClauseElement, Connection, Dialect, Engine, Executable, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.model.errors import StoreUnsafe

__all__ = [
    "APPEND_ONLY", "check_durability", "execute_rows", "insert_ignore", "insert_missing", "open_engine",
    "upsert_counts",
]  # fmt: skip

_BUSY_SECONDS = 20

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


def execute_rows(connection: Connection, statement: Executable, rows: Sequence[dict[str, Any]]) -> int:
    """Execute an insert, update or delete once per row; gives how many rows of the table it changed or made.

    Every row has the same keys.  The statement is compiled once per process, and a row becomes what the driver takes
    without SQLAlchemy's work per row and column, which cost more than the database's own.
    """
    text, names, fixed = _compiled(connection.dialect, statement, tuple(rows[0]))
    if names is None:
        return connection.exec_driver_sql(text, [{**fixed, **row} for row in rows]).rowcount
    if fixed:
        rows = [{**fixed, **row} for row in rows]
    pick = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    return connection.exec_driver_sql(text, [pick(row) for row in rows]).rowcount


@cache
def _compiled(
    dialect: Dialect, statement: Executable, keys: tuple[str, ...]
) -> tuple[str, tuple[str, ...] | None, dict[str, Any]]:
    """Text for the driver, the parameters' names in their order (None where they go by name), and the values that
    the statement brings itself."""
    assert isinstance(statement, ClauseElement)
    made = statement.compile(dialect=dialect, column_keys=list(keys))
    fixed = {name: value for name, value in made.params.items() if name not in keys}
    assert isinstance(made, SQLCompiler)
    return str(made), tuple(made.positiontup) if made.positiontup is not None else None, fixed


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
    if not rows:
        return frozenset()
    statement = _INSERTS[connection.dialect.name](table).values(list(rows))
    done = connection.execute(statement.on_conflict_do_nothing(index_elements=list(key)).returning(table.c[key[0]]))
    return frozenset(row[0] for row in done)


@cache
def upsert_counts(name: str, table: Table, keys: tuple[str, ...], value: str) -> Executable:
    """A statement that adds bound parameter `value` to the row of `keys`, or makes the row with it."""
    statement = _INSERTS[name](table)
    added: Executable = statement.on_conflict_do_update(
        index_elements=list(keys), set_={value: table.c[value] + statement.excluded[value]}
    )
    return added
