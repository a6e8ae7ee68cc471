"""`make bench`: the product's speed as ratios of the embedded limit, both measured now, on this machine.

    python -m benchmarks [--documents N] [--pairs N] [--json FILE]

A ratio counts only if its limit run reaches 80 % of the figure that was measured for this hardware (2,550
documents/s at 0.42 ms): below that the machine is busy with something else, and the ratio flatters.
The exit code is 1 if the books of a run do not match, or if a ratio that counts misses its target.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import LIMIT, Contestant, Entry
from benchmarks.load import LoadPlan
from benchmarks.measure import (
    Interval,
    LoadRun,
    RunFolder,
    Server,
    interleave,
    interval_of,
    memory_bytes,
    percentile,
    run_load,
    serve,
)
from benchmarks.product import PRODUCT

LIMIT_FIGURE: Final = 2_550.0  # documents/s, `limits.md` §8: SQLite, groups, P-256
LIMIT_CPU_FIGURE: Final = 0.42  # milliseconds per document, the same row
_COUNTS_FROM: Final = 0.8
_RATE: Final = 25.0  # documents/s of the latency run
_IDLE_SECONDS: Final = 5.0

CONTESTANTS: tuple[Contestant, ...] = (PRODUCT,)
"""What is held against the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """A contestant that is not busy: latency at 25 documents/s, then nothing at all."""

    submit_p50_ms: float
    submit_p99_ms: float
    visible_p50_ms: float
    visible_p99_ms: float
    idle_cpu_percent: float
    idle_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """The medians of a contestant's throughput runs."""

    documents_per_second: Interval
    cpu_ms: Interval
    load_cpu_ms: float
    submit_p50_ms: float
    submit_p99_ms: float
    mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was measured of one contestant, and what disagreed."""

    name: str
    throughput: Throughput
    calm: Calm
    speed_ratio: Interval | None
    cpu_ratio: Interval | None
    disagreements: tuple[str, ...]


class Bench:
    """Runs contestants, each run with a new process in a fresh folder."""

    def __init__(self, folders: RunFolder, documents: int, calm_documents: int) -> None:
        self._folders = folders
        self._documents = documents
        self._calm_documents = calm_documents
        self.disagreements: dict[str, list[str]] = {}

    def run(self, contestant: Contestant) -> LoadRun:
        """One throughput run, its books matched after the server has ended."""
        folder = self._folders.fresh(contestant.name)
        entry = contestant.prepare(folder)
        with serve(entry.command, folder, environment=entry.environment) as server:
            plan = _plan(contestant, entry, server, documents=self._documents)
            run = run_load(plan, server)
        self.disagreements.setdefault(contestant.name, []).extend(contestant.match(folder, plan, run))
        return run

    def run_calm(self, contestant: Contestant) -> Calm:
        """One latency run, and a rest."""
        folder = self._folders.fresh(f"{contestant.name}-calm")
        entry = contestant.prepare(folder)
        with serve(entry.command, folder, environment=entry.environment) as server:
            plan = _plan(contestant, entry, server, documents=self._calm_documents, rate=_RATE)
            result = run_load(plan, server).result
            time.sleep(1.0)
            before = server.cpu_seconds()
            time.sleep(_IDLE_SECONDS)
            idle = (server.cpu_seconds() - before) / _IDLE_SECONDS
            return Calm(
                submit_p50_ms=percentile(result.submit_ms, 0.5),
                submit_p99_ms=percentile(result.submit_ms, 0.99),
                visible_p50_ms=percentile(result.visible_ms, 0.5),
                visible_p99_ms=percentile(result.visible_ms, 0.99),
                idle_cpu_percent=idle * 100,
                idle_mib=memory_bytes(server.pid) / 2**20,
            )


def _plan(
    contestant: Contestant, entry: Entry, server: Server, *, documents: int, rate: float | None = None
) -> LoadPlan:
    return LoadPlan(
        dialect=contestant.dialect, port=server.port, sender=entry.sender, recipients=entry.recipients,
        documents=documents, rate=rate,
    )  # fmt: skip


def _throughput(runs: Sequence[LoadRun]) -> Throughput:
    submit_ms = [value for run in runs for value in run.result.submit_ms]
    return Throughput(
        documents_per_second=interval_of([run.documents_per_second for run in runs]),
        cpu_ms=interval_of([run.cpu_ms for run in runs]),
        load_cpu_ms=statistics.median(run.load_cpu_ms for run in runs),
        submit_p50_ms=percentile(submit_ms, 0.5),
        submit_p99_ms=percentile(submit_ms, 0.99),
        mib=max(run.server_memory for run in runs) / 2**20,
    )


def _runs_of(bench: Bench, contestant: Contestant) -> Callable[[int], LoadRun]:
    return lambda _pair: bench.run(contestant)


def measure_all(bench: Bench, contestants: Sequence[Contestant], pairs: int) -> tuple[Report, ...]:
    """The limit alone, or each contestant in interleaved pairs with it. The limit's report comes first."""
    limit_runs: list[LoadRun] = []
    reports = []
    for contestant in contestants:
        both = interleave(_runs_of(bench, contestant), _runs_of(bench, LIMIT), pairs=pairs)
        limit_runs.extend(below for _, below in both)
        reports.append(
            Report(
                name=contestant.name,
                throughput=_throughput([above for above, _ in both]),
                calm=bench.run_calm(contestant),
                speed_ratio=interval_of([a.documents_per_second / b.documents_per_second for a, b in both]),
                cpu_ratio=interval_of([a.cpu_ms / b.cpu_ms for a, b in both]),
                disagreements=tuple(bench.disagreements[contestant.name]),
            )
        )
    if not limit_runs:
        limit_runs = [bench.run(LIMIT) for _ in range(pairs)]
    limit = Report(
        name=LIMIT.name, throughput=_throughput(limit_runs), calm=bench.run_calm(LIMIT),
        speed_ratio=None, cpu_ratio=None, disagreements=tuple(bench.disagreements[LIMIT.name]),
    )  # fmt: skip
    return (limit, *reports)


_ROWS: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("documents/s", lambda r: f"{r.throughput.documents_per_second:.0f}"),
    ("  of the limit", lambda r: f"{r.speed_ratio}" if r.speed_ratio else ""),
    ("CPU ms/document", lambda r: f"{r.throughput.cpu_ms:.2f}"),
    ("  times the limit's", lambda r: f"{r.cpu_ratio}" if r.cpu_ratio else ""),
    ("load generator ms/document", lambda r: f"{r.throughput.load_cpu_ms:.2f}"),
    ("submit p50 / p99 ms, full load", lambda r: _two(r.throughput.submit_p50_ms, r.throughput.submit_p99_ms)),
    ("memory MiB, full load", lambda r: f"{r.throughput.mib:.0f}"),
    ("submit p50 / p99 ms at 25/s", lambda r: _two(r.calm.submit_p50_ms, r.calm.submit_p99_ms)),
    ("accepted → visible p50 / p99 ms", lambda r: _two(r.calm.visible_p50_ms, r.calm.visible_p99_ms)),
    ("idle CPU %", lambda r: f"{r.calm.idle_cpu_percent:.1f}"),
    ("idle memory MiB", lambda r: f"{r.calm.idle_mib:.0f}"),
)


def _two(first: float, second: float) -> str:
    return f"{first:.1f} / {second:.1f}"


def _print(console: Console, reports: Sequence[Report]) -> None:
    table = Table("", *(report.name for report in reports), title="one document's whole way, 20 KB")
    for title, show in _ROWS:
        table.add_row(title, *(show(report) for report in reports))
    console.print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target: what was reached, whether it was met, and whether the machine was quiet enough to say so."""

    target: str
    reached: float
    is_met: bool
    counts: bool


def judge(reports: Sequence[Report]) -> tuple[Verdict, ...]:
    """How the contestants (all but the first, the limit) stand to the targets."""
    limit, *contestants = reports
    speed_counts = limit.throughput.documents_per_second.median >= _COUNTS_FROM * LIMIT_FIGURE
    cpu_counts = limit.throughput.cpu_ms.median <= LIMIT_CPU_FIGURE / _COUNTS_FROM
    verdicts = []
    for report in contestants:
        assert report.speed_ratio is not None
        assert report.cpu_ratio is not None
        for target, reached, is_met, counts in (
            ("documents/s >= 0.40 of the limit", report.speed_ratio.median, report.speed_ratio.median >= 0.4,
             speed_counts),
            ("CPU per document <= 2.5 times", report.cpu_ratio.median, report.cpu_ratio.median <= 2.5, cpu_counts),
            ("visible p99 <= 25 ms", report.calm.visible_p99_ms, report.calm.visible_p99_ms <= 25, True),
            ("idle memory <= 120 MiB", report.calm.idle_mib, report.calm.idle_mib <= 120, True),
            ("idle CPU below 0.5 %", report.calm.idle_cpu_percent, report.calm.idle_cpu_percent < 0.5, True),
        ):  # fmt: skip
            name = f"{report.name}: {target}"
            verdicts.append(Verdict(target=name, reached=reached, is_met=is_met, counts=counts))
    return tuple(verdicts)


def _conclude(console: Console, reports: Sequence[Report], verdicts: Sequence[Verdict]) -> bool:
    """Print what follows from the figures; says whether all is well."""
    limit = reports[0].throughput
    console.print(
        f"The limit reached {limit.documents_per_second.median / LIMIT_FIGURE:.0%} of {LIMIT_FIGURE:,.0f} documents/s "
        f"and took {limit.cpu_ms.median:.2f} ms against {LIMIT_CPU_FIGURE} ms; "
        f"a ratio counts from {_COUNTS_FROM:.0%} on.",
        soft_wrap=True,
    )
    for verdict in verdicts:
        word = "met" if verdict.is_met else "MISSED"
        note = "" if verdict.counts else " (does not count: the limit run was disturbed)"
        console.print(f"{verdict.target}: {verdict.reached:.2f}, {word}{note}")
    wrong = [sentence for report in reports for sentence in report.disagreements]
    for sentence in wrong:
        console.print(f"BOOKS DO NOT MATCH: {sentence}")
    return not wrong and all(verdict.is_met or not verdict.counts for verdict in verdicts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=5_000, help="per throughput run")
    parser.add_argument("--calm-documents", type=int, default=250, help="of the latency run, at 25/s")
    parser.add_argument("--pairs", type=int, default=7, help="interleaved pairs with the limit")
    parser.add_argument("--limit-only", action="store_true", help="measure the limit alone")
    parser.add_argument("--folder", type=Path, help="where the runs' data goes: the disk that is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, '-' to standard output")
    options = parser.parse_args(arguments)
    folders = RunFolder(options.folder)
    try:
        bench = Bench(folders, options.documents, options.calm_documents)
        reports = measure_all(bench, () if options.limit_only else CONTESTANTS, options.pairs)
    finally:
        folders.remove()
    verdicts = judge(reports)
    to_output = str(options.json) == "-"
    console = Console(stderr=to_output)
    _print(console, reports)
    is_well = _conclude(console, reports, verdicts)
    if options.json:
        text = msgspec.json.encode(
            {"reports": [dataclasses.asdict(r) for r in reports], "verdicts": [dataclasses.asdict(v) for v in verdicts]}
        )
        sys.stdout.buffer.write(text + b"\n") if to_output else options.json.write_bytes(text + b"\n")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
