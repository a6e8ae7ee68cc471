"""A store of its own for a test, with a clock that the test turns, and short ways to fill it."""

from __future__ import annotations

from pathlib import Path

from gateway.channels import ChannelRow
from gateway.model.chain import SinkSureness
from gateway.model.instants import SECOND, Instant
from gateway.store import Store, open_store

__all__ = ["HandClock", "fresh_store", "inbox_row", "kinds_of_events"]


class HandClock:
    """A clock that stands until it is turned. Microseconds, as the store counts."""

    def __init__(self, start: int = 1_790_000_000 * SECOND) -> None:
        self._now = start

    def now(self) -> Instant:
        """What the hand shows."""
        return Instant(self._now)

    def turn(self, micros: int = SECOND) -> int:
        """Let time pass; what the hand shows then."""
        self._now += micros
        return self._now


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
        rows = connection.exec_driver_sql("SELECT kind, actor, reason FROM events ORDER BY rowid").all()
    return [(row[0], row[1], row[2]) for row in rows]
