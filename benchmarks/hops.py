"""Hop by hop: the same documents through the same functions in this process, one thread, no HTTP.

For each hop: processor time per document, statements, pages of the database looked at, and how SQLite found its rows.
What the whole product takes beyond their sum is HTTP, the event loop and the threads between them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import event

from benchmarks.contestants import Entry
from benchmarks.measure import page_counter
from benchmarks.packets import PacketMaker
from benchmarks.product import opened
from gateway.exchange import collect
from gateway.exchange.accept import accept
from gateway.exchange.examine import examine, prepare
from gateway.exchange.submission import Answer, Submission
from gateway.node import Node
from monitoring import log

__all__ = ["HOPS", "HopFigures", "walk"]

HOPS: Final = ("examine", "blob and seal", "accept", "list", "fetch", "confirm")
_GROUP: Final = 20
_BY_THE_CLOCK: Final = "SCAN node"
"""How the one row with the configuration's version is read: once a second, in whatever hop that happens to fall."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class HopFigures:
    """One hop, for groups of 20 documents: figures are per document, medians of all rounds."""

    name: str
    cpu_ms: float
    statements: float
    pages: float
    plans: frozenset[str]


class _Watch:
    """Sees every statement of one store: counts it, explains it once, and reads SQLite's page counters."""

    def __init__(self, node: Node) -> None:
        self._counters: list[Callable[[], int]] = []
        self.statements = 0
        self.plans: dict[str, frozenset[str]] = {}
        self._asked: dict[str, Any] = {}
        node.store.close()  # the pool begins anew, with connections that are watched
        event.listen(node.store.engine, "connect", self._on_connect)
        event.listen(node.store.engine, "before_cursor_execute", self._on_execute)

    def _on_connect(self, connection: Any, _record: Any) -> None:
        self._counters.append(page_counter(connection))

    def _on_execute(
        self, connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        self.statements += 1
        if statement not in self._asked and not statement.startswith(("BEGIN", "PRAGMA")):
            self._asked[statement] = parameters[0] if many else parameters

    def pages(self) -> int:
        """Pages looked at since the last call."""
        return sum(counter() for counter in self._counters)

    def take_plans(self, node: Node) -> frozenset[str]:
        """How SQLite finds the rows of every statement seen since the last call."""
        asked, self._asked = self._asked, {}
        found: set[str] = set()
        with node.store.read() as connection:
            raw = connection.connection.cursor()
            for statement, parameters in asked.items():
                rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                found.update(row[3] for row in rows if row[3] != _BY_THE_CLOCK)
            raw.close()
        self._asked = {}
        return frozenset(found)


@dataclass(slots=True)
class _Round:
    cpu: dict[str, float]
    statements: dict[str, int]
    pages: dict[str, int]


class _Walker:
    def __init__(self, node: Node, entry: Entry, run: str) -> None:
        caller = node.callers.authenticate(f"Bearer {entry.sender.token}")
        node.channels.refresh()
        self._node, self._entry, self._caller = node, entry, caller
        self._maker = PacketMaker(entry.sender.party, run=run)
        self._number = 0
        self._watch = _Watch(node)
        self.plans: dict[str, frozenset[str]] = {}

    def round(self) -> _Round:
        """One group of documents all its way. Raises RuntimeError where one of them does not come through."""
        done = _Round({}, {}, {})
        node, caller = self._node, self._caller
        submissions = [self._submission() for _ in range(_GROUP)]
        self._timed(done, "examine", lambda: [examine(node, s.spooled, body=s.body) for s in submissions])
        prepared = self._timed(done, "blob and seal", lambda: [prepare(node, s) for s in submissions])
        done.cpu["blob and seal"] -= done.cpu["examine"]  # `prepare` examines too
        answers = self._timed(done, "accept", lambda: accept(node, prepared))
        agencies = self._entry.recipients[: _GROUP // 2]
        wishes = [collect.Listing(agency_id=agency.id, limit=25) for agency in agencies]
        items = [i for listed in self._timed(done, "list", lambda: collect.list_items(node, wishes)) for i in listed]
        wants = [collect.Fetch(caller=caller, delivery_id=item.delivery_id) for item in items]
        served = self._timed(done, "fetch", lambda: collect.fetch(node, wants))
        said = [collect.Confirm(caller=caller, delivery_id=item.delivery_id) for item in items]
        states = self._timed(done, "confirm", lambda: collect.confirm(node, said))
        good = sum(isinstance(answer, Answer) for answer in answers), len(items), len(served), len(states)
        if good != (_GROUP,) * 4:
            raise RuntimeError(f"of {_GROUP} documents (accepted, listed, fetched, confirmed) were {good}")
        return done

    def _submission(self) -> Submission:
        self._number += 1
        to = self._entry.recipients[self._number % (_GROUP // 2)]
        body = self._maker.make(self._number, to.party)
        return Submission(
            caller=self._caller, spooled=self._node.store.blobs.spool(), digest=hashlib.sha256(body).hexdigest(),
            size=len(body), body=body, received_at=self._node.now(),
        )  # fmt: skip

    def _timed(self, done: _Round, hop: str, work: Callable[[], _Result]) -> _Result:
        self._watch.pages()
        before = self._watch.statements
        began = time.thread_time()
        result = work()
        done.cpu[hop] = time.thread_time() - began
        done.pages[hop] = self._watch.pages()
        done.statements[hop] = self._watch.statements - before
        self.plans[hop] = self.plans.get(hop, frozenset()) | self._watch.take_plans(self._node)
        return result


def walk(folder: Path, entry: Entry, *, rounds: int = 40, run: str = "HOP") -> tuple[HopFigures, ...]:
    """Send `rounds` groups of 20 documents through the hops of the node in `folder`; the first tenth only warms up.

    `run` tells the documents of this walk from those of others in the same store.
    """
    with _logging(folder), opened(folder) as node:
        walker = _Walker(node, entry, run)
        done = [walker.round() for _ in range(rounds)][rounds // 10 :]
    return tuple(
        HopFigures(
            name=hop,
            cpu_ms=_median([one.cpu[hop] for one in done]) / _GROUP * 1000,
            statements=_median([one.statements[hop] for one in done]) / _GROUP,
            pages=_median([one.pages[hop] for one in done]) / _GROUP,
            plans=walker.plans[hop],
        )
        for hop in HOPS
    )


@contextmanager
def _logging(folder: Path) -> Iterator[None]:
    """Lines go where those of the product go, and cost what they cost there."""
    with open(f"{folder}.hops.log", "a") as stream:
        log.configure("json", "info", stream=stream)
        try:
            yield
        finally:
            log.configure("json", "error")


def _median(values: list[Any]) -> float:
    ordered = sorted(values)
    return float(ordered[len(ordered) // 2])
