"""Growth on PostgreSQL: is a document dearer where very many are stored already?

Two nodes, one empty and one filled (`benchmarks.province_fill`), both served at once and loaded in turns.  What the
server looked at is its own count (pg_stat_statements), how it found rows is what it says itself of every statement that
really ran (auto_explain), in runs that are not timed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from benchmarks.hops import HopFigures, walk
from benchmarks.load import LoadPlan
from benchmarks.measure import Interval, RunFolder, interleave, interval_of, run_load
from benchmarks.product import gaps_of
from benchmarks.province_contestants import PRODUCT, Place
from benchmarks.province_fill import fill
from benchmarks.province_services import ProvinceServer, Services

__all__ = ["Stored", "measure_hops", "measure_stored"]

_PLANNED: Final = 200
"""Documents of the runs whose plans are read: enough for plans that the server keeps."""
_HOT: Final = _PLANNED // 20
"""Statements that ran less often there are not compared: they are the clock's, not a document's."""
_EXPLAIN: Final = {
    "session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json", "auto_explain.log_level": "log",
}  # fmt: skip
_COUNTED: Final = "pg_stat_statements.track"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The product on an empty and on a filled store."""

    documents: int
    rows: int
    cpu_ratio: Interval
    empty_cpu_ms: Interval
    full_cpu_ms: Interval
    empty_pages: float  #: of the database looked at per document, whether cached or not
    full_pages: float
    dearest: tuple[tuple[str, float, float], ...]  #: statement, pages per document empty and full
    statements: int  #: whose plans were compared
    changed_plans: tuple[str, ...]
    disagreements: tuple[str, ...]

    @property
    def pages_ratio(self) -> float:
        return self.full_pages / self.empty_pages


def measure_stored(
    folders: RunFolder, services: Services, *, stored: int, documents: int, warm_up: int, pairs: int
) -> Stored:
    """Fill one of two nodes, read plans on both, then load both in turns."""
    _count_statements(services)
    full, empty = (PRODUCT.prepare(folders.fresh(name), services) for name in ("full", "empty"))
    rows = fill(full, services, stored)
    planned = [_plans(place, services) for place in (empty, full)]
    for place in (empty, full):
        _set(place, services, {_COUNTED: "top"})
    loaded: dict[str, list[float]] = {}
    pages: dict[str, dict[str, float]] = {}
    with ExitStack() as closing_:
        servers = [closing_.enter_context(PRODUCT.serve(place, services)) for place in (empty, full)]

        def load(place: Place, server: ProvinceServer, name: str, pair: int) -> float:
            plan = _plan(place, server, documents, f"G{pair}", warm_up if not pair else 100)
            before = _pages(place, services)
            cpu = run_load(plan, server).cpu_ms
            pages[name] = _less(_pages(place, services), before, plan.documents + plan.warm_up)
            loaded.setdefault(name, []).append(cpu)
            return cpu

        both = interleave(
            lambda pair: load(full, servers[1], "full", pair), lambda pair: load(empty, servers[0], "empty", pair),
            pairs=pairs,
        )  # fmt: skip
    wrong = [
        f"{place.folder.name}: {gaps[0]}" for place in (empty, full) if (gaps := gaps_of(place.folder, place.settings))
    ]
    same = planned[0].keys() & planned[1].keys()
    return Stored(
        documents=stored, rows=rows,
        cpu_ratio=interval_of([above / below for above, below in both]),
        empty_cpu_ms=interval_of(loaded["empty"]), full_cpu_ms=interval_of(loaded["full"]),
        empty_pages=sum(pages["empty"].values()), full_pages=sum(pages["full"].values()),
        dearest=_dearest(pages["empty"], pages["full"]),
        statements=len(same),
        changed_plans=tuple(
            f"{_short(statement)}: {_words(planned[0][statement])} → {_words(planned[1][statement])}"
            for statement in sorted(same) if planned[0][statement] != planned[1][statement]
        ),
        disagreements=tuple(wrong),
    )  # fmt: skip


def measure_hops(folders: RunFolder, services: Services, *, rounds: int) -> tuple[HopFigures, ...]:
    """Hop by hop in this process, one thread, on a fresh node: what each costs here and on the server."""
    _count_statements(services)
    place = PRODUCT.prepare(folders.fresh("hops"), services)
    _set(place, services, {_COUNTED: "top"})
    return walk(place.folder, place, rounds=rounds, more=place.settings, counts=services.cluster.admin_url)


def _count_statements(services: Services) -> None:
    with closing(psycopg.connect(services.cluster.admin_url, autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def _plan(place: Place, server: ProvinceServer, documents: int, run: str, warm_up: int) -> LoadPlan:
    return LoadPlan(
        dialect=PRODUCT.dialect, port=server.port, sender=place.sender, recipients=place.recipients,
        documents=documents, warm_up=warm_up, run=run,
    )  # fmt: skip


def _set(place: Place, services: Services, settings: dict[str, str]) -> None:
    """Settings of one database for whoever connects from now on; "" takes one back."""
    name = sql.Identifier(str(make_url(place.settings["TRUC_DATABASE"]).database))
    with closing(psycopg.connect(services.cluster.admin_url, autocommit=True)) as connection:
        for setting, value in settings.items():
            what = sql.SQL(".").join(map(sql.Identifier, setting.split(".")))
            change = sql.SQL("SET {} = {}").format(what, value) if value else sql.SQL("RESET {}").format(what)
            connection.execute(sql.SQL("ALTER DATABASE {} ").format(name) + change)


# --- pages -------------------------------------------------------------------------------------------------------


def _pages(place: Place, services: Services) -> dict[str, float]:
    """Pages looked at so far, by statement."""
    name = str(make_url(place.settings["TRUC_DATABASE"]).database)
    with closing(psycopg.connect(services.cluster.admin_url)) as connection:
        found = connection.execute(
            "SELECT min(s.query), sum(s.shared_blks_hit + s.shared_blks_read)::float FROM pg_stat_statements s "
            "JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s GROUP BY s.queryid",
            (name,),
        ).fetchall()
    return {" ".join(query.split()): pages for query, pages in found}


def _less(after: dict[str, float], before: dict[str, float], documents: int) -> dict[str, float]:
    return {query: (pages - before.get(query, 0.0)) / documents for query, pages in after.items()}


def _dearest(empty: dict[str, float], full: dict[str, float], most: int = 6) -> tuple[tuple[str, float, float], ...]:
    """The statements that look at more pages on the filled store, the worst first."""
    more = sorted(full, key=lambda query: empty.get(query, 0.0) - full[query])[:most]
    return tuple((_short(query), empty.get(query, 0.0), full[query]) for query in more)


def _short(query: str) -> str:
    return query if len(query) <= 90 else f"{query[:45]} … {query[-40:]}"


# --- plans -------------------------------------------------------------------------------------------------------

_LOGGED: Final = re.compile(rb"duration: [0-9.]+ ms  plan:\n((?:\t.*\n)+)")
_OF_A_MONTH: Final = re.compile(r"_(?:\d{4}_\d{2}|rest|before|loose)(?=_|$)")


def _plans(place: Place, services: Services) -> dict[str, frozenset[str]]:
    """By hot statement, how its rows are found: the indexes that it uses, and tables that it reads whole."""
    log = services.cluster.folder / "log"
    _set(place, services, _EXPLAIN)
    begin = log.stat().st_size
    with PRODUCT.serve(place, services) as server:
        run_load(_plan(place, server, _PLANNED, "KH", 20), server)
    _set(place, services, dict.fromkeys(_EXPLAIN, ""))
    found: dict[str, frozenset[str]] = {}
    times: Counter[str] = Counter()
    for logged in _read_plans(log, begin):
        ways = frozenset(_ways(logged["Plan"]))
        query = " ".join(logged["Query Text"].split())
        times[query] += 1
        if ways:
            found[query] = found.get(query, frozenset()) | ways
    return {query: ways for query, ways in found.items() if times[query] >= _HOT}


def _read_plans(log: Path, begin: int) -> Iterator[dict[str, Any]]:
    with log.open("rb") as stream:
        stream.seek(begin)
        text = stream.read()
    for match in _LOGGED.finditer(text):
        yield json.loads(match[1].replace(b"\n\t", b"\n"))


def _ways(node: dict[str, Any]) -> Iterator[str]:
    """Months alike: which of them are looked at depends on what is asked for."""
    if index := node.get("Index Name"):
        yield f"by {_OF_A_MONTH.sub('', index)}"
    elif node["Node Type"] == "Seq Scan":
        yield f"all of {_OF_A_MONTH.sub('', node['Relation Name'])}"
    for under in node.get("Plans", ()):
        yield from _ways(under)


def _words(ways: frozenset[str]) -> str:
    return ", ".join(sorted(ways))
