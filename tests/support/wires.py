"""What goes over the wire to PostgreSQL, as libpq writes it down: how many trips something takes, and what is on each.

    with Wire(store) as wire:
        deliver(…)
        wire.trips()          [["BEGIN", "UPDATE", "SELECT"], ["WITH", "COMMIT"], …]

A trip is what is sent before anybody waits for an answer: it ends with a Sync.
"""

from __future__ import annotations

import re
import tempfile
from types import TracebackType
from typing import Any, Final, Self

from psycopg.pq import Trace
from sqlalchemy import event

from gateway.store import Store

__all__ = ["Wire"]

_SENT: Final = re.compile(
    r'^F\t\d+\t(?:Parse\t "(?P<prepared>[^"]*)" "(?P<verb>\w+)|Bind\t "[^"]*" "(?P<bound>[^"]*)"|(?P<sync>Sync))', re.M
)


class Wire:
    """Listens to all connections of one store, which are made anew within it; for one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        self._engine.dispose()
        event.listen(self._engine, "connect", self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.remove(self._engine, "connect", self._listen)
        self._engine.dispose()
        self._file.close()

    def _listen(self, session: Any, _record: Any) -> None:
        session.pgconn.trace(self._file.fileno())
        session.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

    def trips(self) -> list[list[str]]:
        """What has gone since this began: of each trip the first word of each statement that was executed on it.

        A trip that only prepares something is empty.
        """
        self._file.seek(0)
        verbs: dict[str, str] = {}
        found: list[list[str]] = [[]]
        for sent in _SENT.finditer(self._file.read()):
            if sent["sync"]:
                found.append([])
            elif sent["prepared"] is not None:
                verbs[sent["prepared"]] = sent["verb"]
            else:
                found[-1].append(verbs[sent["bound"]])
        return found[:-1]
