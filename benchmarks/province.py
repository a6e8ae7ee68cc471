"""`make bench-province`: the product's speed in a province as ratios of the composite limit, both measured now.

    python -m benchmarks.province [--quick] [--only PART …] [--pairs N] [--folder FOLDER] [--json FILE]

The exit code is 1 if the books of a run do not match, or if a figure misses its target (with --quick: the books alone).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from benchmarks.load import LoadPlan
from benchmarks.measure import Interval, LoadRun, RunFolder, interleave, interval_of, percentile, run_load
from benchmarks.province_backlog import measure_backlog
from benchmarks.province_contestants import LIMIT, PRODUCT, Contestant
from benchmarks.province_dead import measure_dead
from benchmarks.province_notice import measure_notice
from benchmarks.province_report import Calm, Figures, Speed, judge, show
from benchmarks.province_services import Services, run_services
from benchmarks.province_stored import measure_hops, measure_stored

__all__ = ["Bench", "main"]

_RATE: Final = 25.0  # documents/s of the latency run
_URGENT_RATE: Final = 5.0  # urgent documents/s beside a backlog
_SINKS: Final = 160  # of the part dead, a quarter of them bad
PARTS: Final = ("one", "four", "calm", "notice", "hops", "stored", "backlog", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One throughput run and where its processor time went."""

    load: LoadRun
    spent: dict[str, float]  #: milliseconds per document, by process


class Bench:
    """Runs contestants, each run with new processes, a new database, a new virtual host and a fresh folder."""

    def __init__(self, folders: RunFolder, services: Services, options: argparse.Namespace) -> None:
        self._folders, self.services = folders, services
        self._options = options
        self.disagreements: list[str] = []

    def run(self, contestant: Contestant, *, each: int, documents: int, rate: float | None = None) -> _Run:
        """One run, its books matched after everything has ended; what it gave goes to standard error at once."""
        began = time.monotonic()
        place = contestant.prepare(self._folders.fresh(contestant.name.split()[0]), self.services)
        with self.services.without_autovacuum(), contestant.serve(place, self.services) as server:
            plan = LoadPlan(
                dialect=contestant.dialect, port=server.port, sender=place.sender, recipients=place.recipients,
                documents=documents, each=each, rate=rate, warm_up=self._options.warm_up,
            )  # fmt: skip
            load = run_load(plan, server)
            spent = {name: seconds / documents * 1000 for name, seconds in server.spent().items()}
        wrong = contestant.match(place, plan, load)
        self.disagreements += [f"{contestant.name}, {each} recipients: {sentence}" for sentence in wrong]
        print(
            f"{contestant.name} to {each}: {load.documents_per_second:.0f}/s, {load.cpu_ms:.2f} ms: "
            + ", ".join(f"{name} {ms:.2f}" for name, ms in spent.items())
            + f"; load generator {load.load_cpu_ms:.2f}; {time.monotonic() - began:.0f} s in all",
            file=sys.stderr,
        )
        return _Run(load=load, spent=spent)

    def speed(self, each: int) -> Speed:
        """Both in interleaved pairs."""
        documents = self._options.documents // (2 if each > 1 else 1)
        both = interleave(
            lambda _: self.run(PRODUCT, each=each, documents=documents),
            lambda _: self.run(LIMIT, each=each, documents=documents),
            pairs=self._options.pairs,
        )
        ours, limits = [above for above, _ in both], [below for _, below in both]
        return Speed(
            each=each,
            ours=_rate(ours), limit=_rate(limits),
            ours_cpu=_cpu(ours), limit_cpu=_cpu(limits),
            speed_ratio=interval_of([a.load.documents_per_second / b.load.documents_per_second for a, b in both]),
            cpu_ratio=interval_of([a.load.cpu_ms / b.load.cpu_ms for a, b in both]),
            ours_spent=_spent(ours), limit_spent=_spent(limits),
            load_cpu=statistics.median(run.load.load_cpu_ms for run in ours),
        )  # fmt: skip

    def calm(self, contestant: Contestant) -> Calm:
        """25 documents/s."""
        result = self.run(contestant, each=1, documents=self._options.calm_documents, rate=_RATE).load.result
        return Calm(
            name=contestant.name,
            submit_ms=(percentile(result.submit_ms, 0.5), percentile(result.submit_ms, 0.99)),
            visible_ms=(percentile(result.visible_ms, 0.5), percentile(result.visible_ms, 0.99)),
        )


def _rate(runs: Sequence[_Run]) -> Interval:
    return interval_of([run.load.documents_per_second for run in runs])


def _cpu(runs: Sequence[_Run]) -> Interval:
    return interval_of([run.load.cpu_ms for run in runs])


def _spent(runs: Sequence[_Run]) -> dict[str, float]:
    return {name: statistics.median(run.spent[name] for run in runs) for name in runs[0].spent}


_QUICK: Final = {
    "documents": 120, "calm_documents": 10, "pairs": 1, "warm_up": 20, "notices": 2, "rounds": 12, "stored": 400,
    "stored_documents": 60, "few_pairs": 1, "channels": 12, "backlog": 60, "drain_seconds": 10, "dead_documents": 40,
}  # fmt: skip


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.province", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="everything once and small: does it run, do books match?")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--documents", type=int, default=3_000, help="per throughput run")
    parser.add_argument("--calm-documents", type=int, default=500, help="of the latency run, at 25/s")
    parser.add_argument(
        "--warm-up", type=int, default=1_500, help="documents before each run: servers keep plans from then on"
    )
    parser.add_argument("--pairs", type=int, default=4, help="interleaved pairs with the limit")
    parser.add_argument("--notices", type=int, default=9, help="to 600 recipients each")
    parser.add_argument("--few-pairs", type=int, default=3, help="pairs of the parts stored and dead")
    parser.add_argument("--rounds", type=int, default=40, help="of hops, 20 documents each")
    parser.add_argument("--stored", type=int, default=80_000, help="stored documents, some 13 rows each")
    parser.add_argument("--stored-documents", type=int, default=1_500, help="per run of the part stored")
    parser.add_argument("--channels", type=int, default=600, help="of the backlog; the part dead has 160 at most")
    parser.add_argument("--backlog", type=int, default=100_000, help="deliveries that wait")
    parser.add_argument("--drain-seconds", type=float, default=90, help="after which a drain is judged as it is")
    parser.add_argument("--dead-documents", type=int, default=900, help="to healthy agencies, per run")
    parser.add_argument("--folder", type=Path, help="where all data goes: the disk that is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--quick" in given:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(given)


def _measure(options: argparse.Namespace) -> Figures:
    folders = RunFolder(options.folder)
    with ExitStack() as closing:
        closing.callback(folders.remove)
        under = folders.fresh("services")
        os.chmod(under.parent, 0o711)  # PostgreSQL runs as a user of its own and goes through here
        under.chmod(0o711)
        bench = Bench(folders, closing.enter_context(run_services(under)), options)
        parts = set(options.only)
        speeds = [bench.speed(each) for each, part in ((1, "one"), (4, "four")) if part in parts]
        calms = [bench.calm(contestant) for contestant in (LIMIT, PRODUCT) if "calm" in parts]
        return _measure_more(folders, bench, options, Figures(speeds=tuple(speeds), calms=tuple(calms)))


def _measure_more(folders: RunFolder, bench: Bench, options: argparse.Namespace, figures: Figures) -> Figures:
    """The parts that have no limit to be held against; each tells on standard error when it is done."""
    services = bench.services
    makers: dict[str, Callable[[], Any]] = {
        "notice": lambda: measure_notice(folders.fresh("notice"), services, times=options.notices),
        "hops": lambda: measure_hops(folders, services, rounds=options.rounds),
        "stored": lambda: measure_stored(
            folders, services, stored=options.stored, documents=options.stored_documents, warm_up=options.warm_up,
            pairs=options.few_pairs,
        ),
        "backlog": lambda: measure_backlog(
            folders, services, channels=options.channels, waiting=options.backlog, seconds=options.drain_seconds,
            rate=_URGENT_RATE,
        ),
        "dead": lambda: measure_dead(
            folders, services, channels=min(_SINKS, options.channels), bad=min(_SINKS, options.channels) // 4,
            documents=options.dead_documents, calm=options.dead_documents // 4, pairs=options.few_pairs,
        ),
    }  # fmt: skip
    wrong = list(bench.disagreements)
    for part, make in makers.items():
        if part in options.only:
            began = time.monotonic()
            found = make()
            figures = dataclasses.replace(figures, **{part: found})
            wrong += getattr(found, "disagreements", ())
            print(f"{part}: {time.monotonic() - began:.0f} s in all", file=sys.stderr)
    return dataclasses.replace(figures, disagreements=tuple(wrong))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit code."""
    options = _options(arguments)
    figures = _measure(options)
    verdicts = judge(figures)
    command = " ".join(["python -m benchmarks.province", *(sys.argv[1:] if arguments is None else arguments)])
    show(Console(width=160), figures, verdicts, command)
    if options.json:
        told = {"figures": dataclasses.asdict(figures), "verdicts": [dataclasses.asdict(each) for each in verdicts]}
        options.json.write_bytes(msgspec.json.encode(told) + b"\n")
    is_missed = any(not verdict.is_met and verdict.counts for verdict in verdicts)
    return 1 if figures.disagreements or (is_missed and not options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
