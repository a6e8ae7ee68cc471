"""Versions of the directory and of the configuration: whoever caches rows sees by them that the rows changed.

Every store function that changes agencies, systems, claims or channels raises the version itself, in the same
transaction, so that no caller can forget it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Executable, select, update

from gateway.store.dialect import lock_rows
from gateway.store.handle import Store
from gateway.store.schema import node
from gateway.store.statements import select_rows

__all__ = [
    "VersionWatch", "Versions", "lock_configuration", "raise_configuration", "raise_directory", "read_versions",
]  # fmt: skip

_READ = select(node.c.directory_version, node.c.configuration_version)
_RAISE_DIRECTORY = update(node).values(directory_version=node.c.directory_version + 1)
_RAISE_CONFIGURATION = update(node).values(configuration_version=node.c.configuration_version + 1)


@dataclass(frozen=True, slots=True)
class Versions:
    """Both versions at one moment. They only grow."""

    directory: int
    configuration: int


def read_versions(connection: Connection) -> Versions:
    """The versions as this transaction sees them."""
    return _versions(select_rows(connection, _READ, {}))


def _versions(rows: Sequence[Any]) -> Versions:
    [row] = rows
    return Versions(row.directory_version, row.configuration_version)


def lock_configuration(connection: Connection) -> None:
    """Let one transaction at a time change who exists and how they are reached: what was checked stays true until
    the commit."""
    lock_rows(connection, _READ, {})


def raise_directory(connection: Connection) -> None:
    """Agencies changed."""
    connection.execute(_RAISE_DIRECTORY)


def raise_configuration(connection: Connection) -> None:
    """Systems, tokens, claims or channels changed."""
    connection.execute(_RAISE_CONFIGURATION)


class VersionWatch:
    """The versions, asked for at most once in `every` seconds: what is cached by them is at most that much behind.

    May be used from any thread.
    """

    def __init__(self, store: Store, *, every: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._every = every
        self._clock = clock
        self._asking = threading.Lock()
        self._telling = threading.Lock()
        self._seen: Versions | None = None
        self._look_at = 0.0

    def fresh(self) -> Versions | None:
        """What `look` would tell without asking anybody; None where it would have to ask."""
        return self._seen if self._clock() < self._look_at else None

    def look(self, *, force: bool = False) -> Versions:
        """The versions, read anew where the last look is too long ago: one trip to PostgreSQL. Raises StoreBusy."""
        seen = self._seen
        if seen is not None and not force and self._clock() < self._look_at:
            return seen
        with self._asking:
            seen = self._seen
            if seen is None or force or self._clock() >= self._look_at:
                asked, tell = self.beside()
                with self._store.read(is_hop=True, asks_first=True) as connection:
                    rows = select_rows(connection, *asked, is_last=True)
                seen = tell(rows)
            return seen

    def beside(self) -> tuple[tuple[Executable, Mapping[str, Any]], Callable[[Sequence[Any]], Versions]]:
        """What somebody may ask in a trip of his own who needs them next, and whom to tell what came: then nobody looks
        for as long as after a look. Its transaction must begin after this was called."""
        asked_at = self._clock()

        def tell(rows: Sequence[Any]) -> Versions:
            told = _versions(rows)
            with self._telling:
                if self._seen is None or asked_at + self._every >= self._look_at:  # else somebody looked since
                    self._seen, self._look_at = told, asked_at + self._every
                return self._seen

        return (_READ, {}), tell
