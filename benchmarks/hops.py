"""Hop by hop: the same documents through the same functions in this process, one thread, no HTTP.

For each hop: processor time per document, statements, pages of the database looked at, and how SQLite found its rows;
on PostgreSQL the time that its server was at the statements instead, on top of the processor time here.
What the whole product takes beyond their sum is HTTP, the event loop and the threads between them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import psycopg
from sqlalchemy import event

from benchmarks.load import Agency
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
    server_ms: float = 0.0


class Parties(Protocol):
    """Who writes to whom."""

    @property
    def sender(self) -> Agency: ...
    @property
    def recipients(self) -> tuple[Agency, ...]: ...


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

    def spent(self) -> tuple[int, float]:
        """Pages looked at, and milliseconds of a server, since the last call."""
        return sum(counter() for counter in self._counters), 0.0

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


_SPENT: Final = (
    "SELECT sum(s.shared_blks_hit + s.shared_blks_read)::bigint, sum(s.total_exec_time + s.total_plan_time) "
    "FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s"
)


class _ServerWatch(_Watch):
    """The same for a database of PostgreSQL whose statements pg_stat_statements counts; plans are read elsewhere."""

    def __init__(self, node: Node, counts: psycopg.Connection[Any]) -> None:
        super().__init__(node)
        self._counts, self._name = counts, node.store.engine.url.database
        self._before = (0, 0.0)

    def _on_connect(self, _connection: Any, _record: Any) -> None:
        pass

    def spent(self) -> tuple[int, float]:
        row = self._counts.execute(_SPENT, (self._name,)).fetchone()
        now = (int(row[0] or 0), float(row[1] or 0.0)) if row else (0, 0.0)
        before, self._before = self._before, now
        return now[0] - before[0], now[1] - before[1]

    def take_plans(self, _node: Node) -> frozenset[str]:
        return frozenset()


@dataclass(slots=True)
class _Round:
    cpu: dict[str, float]
    statements: dict[str, int]
    pages: dict[str, int]
    server: dict[str, float]


class _Walker:
    def __init__(self, node: Node, entry: Parties, run: str, watch: _Watch) -> None:
        caller = node.callers.authenticate(f"Bearer {entry.sender.token}")
        node.channels.refresh()
        self._node, self._entry, self._caller = node, entry, caller
        self._maker = PacketMaker(entry.sender.party, run=run)
        self._number = 0
        self._shown = collect.Shown()
        self._watch = watch
        self.plans: dict[str, frozenset[str]] = {}

    def round(self) -> _Round:
        """One group of documents all its way. Raises RuntimeError where one of them does not come through."""
        done = _Round({}, {}, {}, {})
        node, caller = self._node, self._caller
        submissions = [self._submission() for _ in range(_GROUP)]
        self._timed(done, "examine", lambda: [examine(node, s.spooled, body=s.body) for s in submissions])
        prepared = self._timed(done, "blob and seal", lambda: [prepare(node, s) for s in submissions])
        done.cpu["blob and seal"] -= done.cpu["examine"]  # `prepare` examines too
        answers = self._timed(done, "accept", lambda: accept(node, prepared))
        agencies = self._entry.recipients[: _GROUP // 2]
        wishes = [collect.Listing(agency_id=agency.id, limit=25) for agency in agencies]
        items = [
            i
            for listed in self._timed(done, "list", lambda: collect.list_items(node, wishes, self._shown))
            for i in listed
        ]
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
        self._watch.spent()
        before = self._watch.statements
        began = time.thread_time()
        result = work()
        done.cpu[hop] = time.thread_time() - began
        done.pages[hop], done.server[hop] = self._watch.spent()
        done.statements[hop] = self._watch.statements - before
        self.plans[hop] = self.plans.get(hop, frozenset()) | self._watch.take_plans(self._node)
        return result


def walk(
    folder: Path,
    entry: Parties,
    *,
    rounds: int = 40,
    run: str = "HOP",
    more: Mapping[str, str] | None = None,
    counts: str = "",
) -> tuple[HopFigures, ...]:
    """Send `rounds` groups of 20 documents through the hops of the node in `folder`; the first tenth only warms up.

    `run` tells the documents of this walk from those of others in the same store.  On PostgreSQL, `more` are the node's
    settings and `counts` is the address of a database that has pg_stat_statements.
    """
    with _logging(folder), opened(folder, more) as node, _watching(node, counts) as watch:
        walker = _Walker(node, entry, run, watch)
        done = [walker.round() for _ in range(rounds)][rounds // 10 :]
    return tuple(
        HopFigures(
            name=hop,
            cpu_ms=_median([one.cpu[hop] for one in done]) / _GROUP * 1000,
            statements=_median([one.statements[hop] for one in done]) / _GROUP,
            pages=_median([one.pages[hop] for one in done]) / _GROUP,
            plans=walker.plans[hop],
            server_ms=_median([one.server[hop] for one in done]) / _GROUP,
        )
        for hop in HOPS
    )


@contextmanager
def _watching(node: Node, counts: str) -> Iterator[_Watch]:
    if not counts:
        yield _Watch(node)
        return
    with closing(psycopg.connect(counts, autocommit=True)) as connection:
        yield _ServerWatch(node, connection)


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
