"""`make bench`: the product's speed as ratios of the embedded limit, both measured now, on this machine.

    python -m benchmarks --packets [--quick] [--pairs N]
    python -m benchmarks [--quick] [--role serve|api] [--documents N] [--pairs N] [--json FILE]

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
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from benchmarks.contestants import LIMIT, Contestant, Entry
from benchmarks.growth import Growth, measure_growth
from benchmarks.load import LoadPlan
from benchmarks.measure import (
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
from benchmarks.packets_speed import measure_packets, show_packets
from benchmarks.product import product
from benchmarks.report import Calm, Report, Throughput, judge, show

_RATE: Final = 25.0  # documents/s of the latency run
_SETTLING: Final = 3.0  # seconds from the start of a process to its rest


class Bench:
    """Runs contestants, each run with a new process in a fresh folder."""

    def __init__(self, folders: RunFolder, options: argparse.Namespace) -> None:
        self._folders = folders
        self._documents: int = options.documents
        self._calm_documents: int = options.calm_documents
        self._idle_seconds: float = options.idle_seconds
        self._warm_up: int = options.warm_up
        self.disagreements: dict[str, list[str]] = {}

    def run(self, contestant: Contestant) -> LoadRun:
        """One throughput run, its books matched after the server has ended."""
        folder = self._folders.fresh(contestant.name)
        entry = contestant.prepare(folder)
        with serve(entry.command, folder, environment=entry.environment) as server:
            plan = self._plan(contestant, entry, server, documents=self._documents)
            run = run_load(plan, server)
        self.disagreements.setdefault(contestant.name, []).extend(contestant.match(folder, plan, run))
        return run

    def run_calm(self, contestant: Contestant) -> Calm:
        """A rest, and one latency run."""
        folder = self._folders.fresh(f"{contestant.name}-calm")
        entry = contestant.prepare(folder)
        with serve(entry.command, folder, environment=entry.environment) as server:
            time.sleep(min(_SETTLING, self._idle_seconds))
            before = server.cpu_seconds()
            time.sleep(self._idle_seconds)
            idle = (server.cpu_seconds() - before) / self._idle_seconds
            idle_memory = memory_bytes(server.pid)
            plan = self._plan(contestant, entry, server, documents=self._calm_documents, rate=_RATE)
            run = run_load(plan, server)
        self.disagreements.setdefault(contestant.name, []).extend(contestant.match(folder, plan, run))
        return Calm(
            submit_p50_ms=percentile(run.result.submit_ms, 0.5),
            submit_p99_ms=percentile(run.result.submit_ms, 0.99),
            visible_p50_ms=percentile(run.result.visible_ms, 0.5),
            visible_p99_ms=percentile(run.result.visible_ms, 0.99),
            idle_cpu_percent=idle * 100,
            idle_mib=idle_memory / 2**20,
        )

    def _plan(
        self, contestant: Contestant, entry: Entry, server: Server, *, documents: int, rate: float | None = None
    ) -> LoadPlan:
        return LoadPlan(
            dialect=contestant.dialect, port=server.port, sender=entry.sender, recipients=entry.recipients,
            documents=documents, rate=rate, warm_up=self._warm_up,
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


_QUICK: Final = {
    "documents": 150, "calm_documents": 10, "pairs": 1, "idle_seconds": 0.2, "warm_up": 20, "stored": [60, 200],
    "growth_documents": 40, "growth_pairs": 1,
}  # fmt: skip


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="everything once and small: does it run, do books match?")
    parser.add_argument("--role", choices=("serve", "api"), default="serve", help="the whole node, or its API alone")
    parser.add_argument("--documents", type=int, default=5_000, help="per throughput run")
    parser.add_argument("--warm-up", type=int, default=200, help="documents before each run")
    parser.add_argument("--calm-documents", type=int, default=500, help="of the latency run, at 25/s")
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="how long an idle node is watched")
    parser.add_argument("--pairs", type=int, default=7, help="interleaved pairs with the limit")
    parser.add_argument("--stored", type=int, nargs=2, default=[1_000, 100_000], metavar=("SMALL", "LARGE"))
    parser.add_argument("--growth-documents", type=int, default=1_000, help="per run on the filled stores")
    parser.add_argument("--growth-pairs", type=int, default=7, help="interleaved pairs of the filled stores")
    parser.add_argument("--no-growth", action="store_true", help="leave the filled stores out")
    parser.add_argument("--packets", action="store_true", help="measure the packet library alone")
    parser.add_argument("--limit-only", action="store_true", help="measure the limit alone")
    parser.add_argument("--folder", type=Path, help="where the runs' data goes: the disk that is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, '-' to standard output")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--quick" in given:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(given)


def _growth(folders: RunFolder, options: argparse.Namespace) -> Growth | None:
    if options.no_growth or options.limit_only:
        return None
    small, large = options.stored
    return measure_growth(
        folders, small=small, large=large, documents=options.growth_documents, pairs=options.growth_pairs,
        rounds=5 if options.quick else 40,
    )  # fmt: skip


def _packets(options: argparse.Namespace) -> int:
    figures = measure_packets(pairs=options.pairs, is_quick=options.quick)
    show_packets(Console(width=170), figures)
    if options.json:
        options.json.write_bytes(msgspec.json.encode([dataclasses.asdict(figure) for figure in figures]) + b"\n")
    return 0 if options.quick or all(figure.is_met for figure in figures) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    options = _options(arguments)
    if options.packets:
        return _packets(options)
    folders = RunFolder(options.folder)
    try:
        bench = Bench(folders, options)
        reports = measure_all(bench, () if options.limit_only else (product(options.role),), options.pairs)
        growth = _growth(folders, options)
    finally:
        folders.remove()
    verdicts = judge(reports, growth)
    to_output = str(options.json) == "-"
    console = Console(stderr=to_output, width=160)
    command = " ".join(["python -m benchmarks", *(sys.argv[1:] if arguments is None else arguments)])
    is_well = show(console, reports, growth, verdicts, command)
    if options.json:
        figures = {
            "reports": [dataclasses.asdict(report) for report in reports],
            "growth": None if growth is None else dataclasses.asdict(growth),
            "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        }
        text = msgspec.json.encode(figures, enc_hook=sorted) + b"\n"
        sys.stdout.buffer.write(text) if to_output else options.json.write_bytes(text)
    misses = any(not verdict.is_met and verdict.counts for verdict in verdicts)
    return 1 if not is_well or (misses and not options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
