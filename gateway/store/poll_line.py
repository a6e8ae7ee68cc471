"""Poll line (đường dò): how a process of a node on SQLite hears that another one has written.

SQLite tells nobody of a commit, but says cheaply whether there was one (`PRAGMA data_version`, on a connection that
writes nothing itself).  It cannot say what changed: everybody who waits is called and looks.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from sqlalchemy import Engine

from monitoring import log

__all__ = ["PollLine"]

_EVERY: Final = 0.25  # seconds
_LEAST_APART: Final = 1.0
"""Seconds between two calls where this process writes too, whose own changes look like another's."""

_log = log.get("gateway.store")


class PollLine:
    """Looks four times a second from `open` on; `gateway.transport.board.WakeLine` says what it promises."""

    def __init__(self, engine: Engine) -> None:
        self._database = str(engine.url.database)
        self._writes_itself = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, hear: Callable[[Sequence[str]], None], on_back: Callable[[], None]) -> None:
        """Call `on_back()` after commits of other processes: within a second, mostly within a quarter of one."""
        self._thread = threading.Thread(target=self._run, args=(on_back,), name="poll-line", daemon=True)
        self._thread.start()

    def send(self, topics: Sequence[str]) -> None:
        """Nothing is sent: the others see the commit."""
        self._writes_itself.set()

    def close(self) -> None:
        """Look no more. Safe to repeat."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, on_back: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                self._watch(on_back)
            except sqlite3.Error as why:
                _log.warning("poll_line.lost", error=type(why).__name__)
                self._stopping.wait(_LEAST_APART)

    def _watch(self, on_back: Callable[[], None]) -> None:
        with closing(sqlite3.connect(self._database)) as connection:
            seen = _version(connection)
            waited = 0.0
            while not self._stopping.wait(_EVERY):
                waited += _EVERY
                if (now := _version(connection)) == seen:
                    continue
                if self._writes_itself.is_set() and waited < _LEAST_APART:
                    continue
                seen, waited = now, 0.0
                self._writes_itself.clear()
                on_back()


def _version(connection: sqlite3.Connection) -> int:
    [(version,)] = connection.execute("PRAGMA data_version").fetchall()
    return int(version)
