"""What `make bench-province` measured, as people read it: tables, and figures held against their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from benchmarks.measure import Interval
from benchmarks.province_notice import Notice
from benchmarks.report import COUNTS_FROM, Verdict, machine, new_table, show_verdicts

__all__ = ["Calm", "Figures", "Speed", "judge", "show"]

LIMIT_FIGURE: Final = 1_580.0  # documents/s, once measured on this kind of machine
LIMIT_CPU_FIGURE: Final = 0.80  # milliseconds per document, the same run


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Throughput of the product and of the limit, with so many recipients of each document."""

    each: int
    ours: Interval
    limit: Interval
    ours_cpu: Interval
    limit_cpu: Interval
    speed_ratio: Interval
    cpu_ratio: Interval
    ours_spent: dict[str, float]
    limit_spent: dict[str, float]
    load_cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """25 documents/s: milliseconds, p50 and p99."""

    name: str
    submit_ms: tuple[float, float]
    visible_ms: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that was measured, and what disagreed."""

    speeds: tuple[Speed, ...]
    calms: tuple[Calm, ...]
    notice: Notice | None
    disagreements: tuple[str, ...]


def judge(figures: Figures) -> tuple[Verdict, ...]:
    """How the product stands to its targets."""
    verdicts: list[Verdict] = []
    for speed in figures.speeds:
        fast = speed.each > 1 or speed.limit.median >= COUNTS_FROM * LIMIT_FIGURE
        cheap = speed.each > 1 or speed.limit_cpu.median <= LIMIT_CPU_FIGURE / COUNTS_FROM
        each = f"{speed.each} recipient{'s' if speed.each > 1 else ''}"
        verdicts += [
            Verdict(target=f"{each}: documents/s ≥ 0.45 of the limit", reached=f"{speed.speed_ratio}",
                    is_met=speed.speed_ratio.median >= 0.45, counts=fast),
            Verdict(target=f"{each}: CPU per document ≤ 2 times the limit's", reached=f"{speed.cpu_ratio}",
                    is_met=speed.cpu_ratio.median <= 2, counts=cheap),
        ]  # fmt: skip
    verdicts += [
        Verdict(target="accepted → visible p99 ≤ 25 ms at 25/s", reached=f"{calm.visible_ms[1]:.1f} ms",
                is_met=calm.visible_ms[1] <= 25, counts=True)
        for calm in figures.calms[1:]
    ]  # fmt: skip
    if figures.notice is not None:
        longest = max(figures.notice.seconds)
        verdicts.append(
            Verdict(target=f"a notice to {figures.notice.recipients}: accepted in ≤ 0.3 s, each of them",
                    reached=f"{longest:.3f} s", is_met=longest <= 0.3, counts=True)
        )  # fmt: skip
    return tuple(verdicts)


def show(console: Console, figures: Figures, verdicts: Sequence[Verdict], command: str) -> None:
    """Print everything, tables in Markdown so that they can go into the docs as they are."""
    console.print(f"{command} on {machine()}, {datetime.now(UTC):%d.%m.%Y}\n", soft_wrap=True, markup=False)
    for speed in figures.speeds:
        _show_speed(console, speed)
    if figures.calms:
        table = new_table("at 25 documents/s, p50 / p99 ms", *(calm.name for calm in figures.calms))
        table.add_row("submit", *(_two(calm.submit_ms) for calm in figures.calms))
        table.add_row("accepted → visible", *(_two(calm.visible_ms) for calm in figures.calms))
        console.print(table)
        console.print()
    show_verdicts(console, verdicts)
    for sentence in figures.disagreements:
        console.print(f"BOOKS DO NOT MATCH: {sentence}", soft_wrap=True, markup=False)


def _two(values: tuple[float, float]) -> str:
    return f"{values[0]:.1f} / {values[1]:.1f}"


def _show_speed(console: Console, speed: Speed) -> None:
    table = new_table(f"a document to {speed.each}, 20 KB", "composite limit", "truc, processes apart", "ratio")
    table.add_row("documents/s", f"{speed.limit:.0f}", f"{speed.ours:.0f}", f"{speed.speed_ratio}")
    table.add_row("CPU ms/document", f"{speed.limit_cpu:.2f}", f"{speed.ours_cpu:.2f}", f"{speed.cpu_ratio}")
    for name in speed.ours_spent:
        limit = speed.limit_spent.get(name, 0.0)
        table.add_row(f"… {name}", f"{limit:.3f}" if limit else "", f"{speed.ours_spent[name]:.3f}", "")
    table.add_row("load generator", "", f"{speed.load_cpu:.3f}", "")
    console.print(table)
    console.print()
