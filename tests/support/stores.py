"""A store of its own for a test, with a clock that the test turns, and short ways to fill it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import CursorResult

from gateway.channels import ChannelRow
from gateway.model.chain import SinkSureness
from gateway.model.instants import HOUR, SECOND, Instant
from gateway.store import Connection, Store, open_store

__all__ = ["Database", "HandClock", "allow_altering", "fresh_store", "inbox_row", "kinds_of_events", "tell"]


class Database(StrEnum):
    """What a store's rows are kept in."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class HandClock:
    """Clocks that stand until they are turned. Microseconds, as the store counts."""

    def __init__(self, start: int = 1_790_000_000 * SECOND, *, boot: str = "this machine") -> None:
        self._now = start
        self._boot_now = HOUR
        self.boot = boot

    def now(self) -> Instant:
        """What the hand shows."""
        return Instant(self._now)

    def turn(self, micros: int = SECOND) -> int:
        """Let time pass; what the hand shows then."""
        self._boot_now += micros
        return self.jump(micros)

    def jump(self, micros: int) -> int:
        """Somebody sets the clock, and no time passes; what the hand shows then."""
        self._now += micros
        return self._now

    def boot_now(self) -> int:
        """How long the machine has run: that nobody can set."""
        return self._boot_now


def fresh_store(folder: Path, clock: HandClock | None = None) -> Store:
    """An empty, migrated store of node "thu"; small reserve, so that a full test disk is no matter."""
    return open_store(folder, node="thu", clock=clock or HandClock(), reserve=1)


def inbox_row(channel_id: str = "hop-thu", **changes: object) -> ChannelRow:
    """A polled channel."""
    values: dict[str, object] = {
        "id": channel_id, "kind": "inbox", "sink": SinkSureness.IDEMPOTENT, "is_polled": True, **changes,
    }  # fmt: skip
    return ChannelRow(**values)  # type: ignore[arg-type]


def kinds_of_events(store: Store) -> list[tuple[str, str, str]]:
    """(kind, actor, reason) of every event, oldest first."""
    with store.read() as connection:
        rows = tell(connection, "SELECT kind, actor, reason FROM events ORDER BY rowid").all()
    return [(row[0], row[1], row[2]) for row in rows]


def allow_altering(connection: Connection) -> None:
    """Take away what makes the table of events refuse changes, as a hand in the database could."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP TRIGGER events_no_update")
        connection.exec_driver_sql("DROP TRIGGER events_no_delete")
    else:
        connection.exec_driver_sql("ALTER TABLE events DISABLE TRIGGER events_append_only")


def tell(connection: Connection, sql: str, *values: Any) -> CursorResult[*tuple[Any, ...]]:
    """Say a sentence of a test's own, written in SQLite's dialect with `?` for values, to either database.

    `rowid` is the order in which rows came: of events that of their commits, elsewhere that of their ids.
    """
    if connection.dialect.name != "sqlite":
        order = "position" if "FROM events" in sql else "id"
        sql = sql.replace("%", "%%").replace("?", "%s").replace("rowid", order)
    return connection.exec_driver_sql(sql, tuple(values))
