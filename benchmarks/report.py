"""What was measured, as people read it: tables, targets, and whether a figure may be held against its target at all."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.growth import Growth
from benchmarks.measure import Interval

__all__ = [
    "COUNTS_FROM", "LIMIT_CPU_FIGURE", "LIMIT_FIGURE", "Calm", "Report", "Throughput", "Verdict", "judge", "machine",
    "new_table", "show", "show_verdicts",
]  # fmt: skip

LIMIT_FIGURE: Final = 2_550.0  # documents/s, `limits.md` §8: SQLite, groups, P-256
LIMIT_CPU_FIGURE: Final = 0.42  # milliseconds per document, the same row
COUNTS_FROM: Final = 0.8
_UNMEASURABLE: Final = 0.5  # per cent of a processor


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """A contestant that is not busy: nothing at all at first, then 25 documents/s."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target: what was reached, whether it was met, and whether the machine was quiet enough to say so."""

    target: str
    reached: str
    is_met: bool
    counts: bool


def judge(reports: Sequence[Report], growth: Growth | None) -> tuple[Verdict, ...]:
    """How the contestants (all but the first, the limit) stand to the targets."""
    limit, *contestants = reports
    fast = limit.throughput.documents_per_second.median >= COUNTS_FROM * LIMIT_FIGURE
    cheap = limit.throughput.cpu_ms.median <= LIMIT_CPU_FIGURE / COUNTS_FROM
    verdicts = [verdict for report in contestants for verdict in _judge_one(report, fast, cheap)]
    if growth is not None:
        verdicts += _judge_growth(growth)
    return tuple(verdicts)


def _judge_one(report: Report, fast: bool, cheap: bool) -> list[Verdict]:
    assert report.speed_ratio is not None
    assert report.cpu_ratio is not None
    calm = report.calm
    return [
        Verdict(target=f"{report.name}: {target}", reached=reached, is_met=is_met, counts=counts)
        for target, reached, is_met, counts in (
            ("documents/s ≥ 0.40 of the limit", f"{report.speed_ratio}", report.speed_ratio.median >= 0.4, fast),
            ("CPU per document ≤ 2.5 times the limit's", f"{report.cpu_ratio}", report.cpu_ratio.median <= 2.5, cheap),
            ("accepted → visible p99 ≤ 25 ms", f"{calm.visible_p99_ms:.1f} ms", calm.visible_p99_ms <= 25, True),
            ("idle memory ≤ 120 MiB", f"{calm.idle_mib:.0f} MiB", calm.idle_mib <= 120, True),
            ("no measurable CPU when idle (< 0.5 %)", f"{calm.idle_cpu_percent:.2f} %",
             calm.idle_cpu_percent < _UNMEASURABLE, True),
        )
    ]  # fmt: skip


def _judge_growth(growth: Growth) -> list[Verdict]:
    span = f"{growth.small:,} → {growth.large:,} stored"
    changed = growth.changed_plans
    return [
        Verdict(target=f"{span}: CPU per document ≤ 1.5 times", reached=f"{growth.cpu_ratio}",
                is_met=growth.cpu_ratio.median <= 1.5, counts=True),
        Verdict(target=f"{span}: the same query plans", reached="; ".join(changed) or "the same",
                is_met=not changed, counts=True),
        Verdict(target=f"{span}: pages looked at ≤ 1.5 times (the height of a B-tree)",
                reached=f"{growth.pages_ratio:.2f}", is_met=growth.pages_ratio <= 1.5, counts=True),
    ]  # fmt: skip


# --- for people ------------------------------------------------------------------------------------------------

_ROWS: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("documents/s", lambda r: f"{r.throughput.documents_per_second:.0f}"),
    ("… of the limit", lambda r: f"{r.speed_ratio}" if r.speed_ratio else ""),
    ("CPU ms/document", lambda r: f"{r.throughput.cpu_ms:.2f}"),
    ("… times the limit's", lambda r: f"{r.cpu_ratio}" if r.cpu_ratio else ""),
    ("load generator ms/document", lambda r: f"{r.throughput.load_cpu_ms:.2f}"),
    ("submit p50 / p99 ms, full load", lambda r: _two(r.throughput.submit_p50_ms, r.throughput.submit_p99_ms)),
    ("memory MiB, full load", lambda r: f"{r.throughput.mib:.0f}"),
    ("submit p50 / p99 ms at 25/s", lambda r: _two(r.calm.submit_p50_ms, r.calm.submit_p99_ms)),
    ("accepted → visible p50 / p99 ms", lambda r: _two(r.calm.visible_p50_ms, r.calm.visible_p99_ms)),
    ("idle CPU %", lambda r: f"{r.calm.idle_cpu_percent:.2f}"),
    ("idle memory MiB", lambda r: f"{r.calm.idle_mib:.0f}"),
)


def _two(first: float, second: float) -> str:
    return f"{first:.1f} / {second:.1f}"


def show(
    console: Console, reports: Sequence[Report], growth: Growth | None, verdicts: Sequence[Verdict], command: str
) -> bool:
    """Print everything, tables in Markdown so that they can go into the docs as they are; says whether all is well."""
    console.print(f"{command} on {machine()}, {datetime.now(UTC):%d.%m.%Y}\n", soft_wrap=True, markup=False)
    table = new_table("one document's whole way, 20 KB", *(report.name for report in reports))
    for title, figure in _ROWS:
        table.add_row(title, *(figure(report) for report in reports))
    console.print(table)
    if growth is not None:
        console.print()
        console.print(_hops(reports, growth))
    console.print()
    show_verdicts(console, verdicts)
    limit = reports[0].throughput
    console.print(
        f"\nThe limit reached {limit.documents_per_second.median / LIMIT_FIGURE:.0%} of {LIMIT_FIGURE:,.0f} "
        f"documents/s and took {limit.cpu_ms.median:.2f} ms against {LIMIT_CPU_FIGURE} ms; a ratio counts from "
        f"{COUNTS_FROM:.0%} on.",
        soft_wrap=True, markup=False,
    )  # fmt: skip
    wrong = [sentence for report in reports for sentence in report.disagreements]
    wrong += growth.disagreements if growth is not None else ()
    for sentence in wrong:
        console.print(f"BOOKS DO NOT MATCH: {sentence}", soft_wrap=True, markup=False)
    return not wrong


def machine() -> str:
    """What this was measured on."""
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    return f"{os.cpu_count()} × {model or platform.machine()}, Python {platform.python_version()}"


def new_table(first: str, *columns: str) -> Table:
    """A table in Markdown: a column of texts, then columns of figures."""
    table = Table(box=box.MARKDOWN, pad_edge=True)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _hops(reports: Sequence[Report], growth: Growth) -> Table:
    """Where the time goes. The rest is the product under load less the hops one by one in one thread."""
    names = ("CPU ms", "share", "statements", "pages", f"CPU ms, {growth.large:,} stored", "pages")
    table = new_table(f"hop, per document, {growth.small:,} stored", *names)
    total = reports[1].throughput.cpu_ms.median if len(reports) > 1 else 0.0
    for small, large in zip(growth.small_hops, growth.large_hops, strict=True):
        table.add_row(
            small.name, f"{small.cpu_ms:.3f}", f"{small.cpu_ms / total:.0%}" if total else "",
            f"{small.statements:.2f}", f"{small.pages:.0f}", f"{large.cpu_ms:.3f}", f"{large.pages:.0f}",
        )  # fmt: skip
    if total:
        rest = total - sum(hop.cpu_ms for hop in growth.small_hops)
        table.add_row("HTTP, loop, threads: the rest", f"{rest:.3f}", f"{rest / total:.0%}", "", "", "", "")
    return table


def show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print every target with what was reached; nothing where none was judged."""
    table = new_table("target", "reached", "")
    for verdict in verdicts:
        word = "met" if verdict.is_met else "MISSED"
        table.add_row(verdict.target, verdict.reached, word if verdict.counts else f"{word} (does not count)")
    if verdicts:
        console.print(table)
