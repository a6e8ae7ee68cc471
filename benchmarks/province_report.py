"""What `make bench-province` measured, as people read it: tables, and figures held against their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from benchmarks.hops import HopFigures
from benchmarks.measure import Interval, percentile
from benchmarks.province_backlog import Backlog
from benchmarks.province_dead import Dead
from benchmarks.province_notice import Notice
from benchmarks.province_stored import Stored
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
    notice: Notice | None = None
    hops: tuple[HopFigures, ...] = ()
    stored: Stored | None = None
    backlog: Backlog | None = None
    dead: Dead | None = None
    disagreements: tuple[str, ...] = ()


def judge(figures: Figures) -> tuple[Verdict, ...]:
    """How the product stands to its targets."""
    verdicts: list[Verdict] = []
    ones = [speed for speed in figures.speeds if speed.each == 1]
    for speed in figures.speeds:
        # The limit was once measured with one recipient: where that part did not run, nobody knows what others used.
        fast = bool(ones) and ones[0].limit.median >= COUNTS_FROM * LIMIT_FIGURE
        cheap = bool(ones) and ones[0].limit_cpu.median <= LIMIT_CPU_FIGURE / COUNTS_FROM
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
    verdicts += _judge_stored(figures.stored) if figures.stored else ()
    verdicts += _judge_backlog(figures.backlog) if figures.backlog else ()
    verdicts += _judge_dead(figures.dead) if figures.dead else ()
    return tuple(verdicts)


def _judge_stored(stored: Stored) -> tuple[Verdict, ...]:
    many = f"{stored.documents:,} stored"
    return (
        Verdict(target=f"{many}: the same plans of {stored.statements} statements",
                reached=f"{len(stored.changed_plans)} other", is_met=not stored.changed_plans, counts=True),
        Verdict(target=f"{many}: pages per document ≤ 1.5 times those of an empty store",
                reached=f"{stored.pages_ratio:.2f}", is_met=stored.pages_ratio <= 1.5, counts=True),
        Verdict(target=f"{many}: CPU per document ≤ 1.5 times that of an empty store", reached=f"{stored.cpu_ratio}",
                is_met=stored.cpu_ratio.median <= 1.5, counts=True),
    )  # fmt: skip


def _judge_backlog(backlog: Backlog) -> tuple[Verdict, ...]:
    many = f"{backlog.long.waiting:,} waiting over {backlog.channels} channels"
    sent, ended = backlog.long.urgent_sent, len(backlog.long.urgent_ms)
    reached = f"{backlog.urgent_p99_ms:.0f} ms" + (f", {sent - ended} of {sent} not at all" if ended < sent else "")
    return (
        Verdict(target=f"{many}: urgent p99 ≤ 50 ms", reached=reached,
                is_met=ended == sent and backlog.urgent_p99_ms <= 50, counts=True),
        Verdict(target=f"{many}: drained at ≥ 0.70 of the steady rate", reached=f"{backlog.ratio:.2f}",
                is_met=backlog.ratio >= 0.7, counts=True),
    )  # fmt: skip


def _judge_dead(dead: Dead) -> tuple[Verdict, ...]:
    """It costs the others nothing that can be seen: the interval of the pairs has 1 in it, or is above."""
    return (
        Verdict(target=f"{dead.bad} dead or crawling of {dead.bad + dead.healthy}: the others' documents/s",
                reached=f"{dead.rate_ratio}", is_met=dead.rate_ratio.high >= 1, counts=True),
        Verdict(target=f"{dead.bad} dead or crawling of {dead.bad + dead.healthy}: the others' p99",
                reached=f"{dead.p99_ratio}", is_met=dead.p99_ratio.low <= 1, counts=True),
    )  # fmt: skip


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
    _show_hops(console, figures.hops)
    if figures.stored:
        _show_stored(console, figures.stored)
    if figures.backlog:
        _show_backlog(console, figures.backlog)
    if figures.dead:
        _show_dead(console, figures.dead)
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


def _show_hops(console: Console, hops: Sequence[HopFigures]) -> None:
    if not hops:
        return
    table = new_table("hop, per document", "CPU ms here", "ms on the server", "statements", "pages")
    for hop in hops:
        table.add_row(
            hop.name, f"{hop.cpu_ms:.3f}", f"{hop.server_ms:.3f}", f"{hop.statements:.2f}", f"{hop.pages:.0f}"
        )
    console.print(table)
    console.print()


def _show_stored(console: Console, stored: Stored) -> None:
    table = new_table("a document's whole way", "empty store", f"{stored.documents:,} stored", "ratio")
    table.add_row("CPU ms/document", f"{stored.empty_cpu_ms:.2f}", f"{stored.full_cpu_ms:.2f}", f"{stored.cpu_ratio}")
    table.add_row(
        "pages/document", f"{stored.empty_pages:.0f}", f"{stored.full_pages:.0f}", f"{stored.pages_ratio:.2f}"
    )
    for statement, empty, full in stored.dearest:
        table.add_row(f"… {statement}", f"{empty:.1f}", f"{full:.1f}", "")
    console.print(table)
    for changed in stored.changed_plans:
        console.print(f"OTHER PLAN: {changed}", soft_wrap=True, markup=False)
    console.print()


def _show_backlog(console: Console, backlog: Backlog) -> None:
    table = new_table(
        f"{backlog.channels} channels", "waiting", "drained", "a second", "urgent p50 / p99 ms", "urgent sent, ended"
    )
    for name, drain in (("short", backlog.short[0]), ("long", backlog.long), ("short", backlog.short[1])):
        both = tuple(percentile(drain.urgent_ms, share) for share in (0.5, 0.99)) if drain.urgent_ms else (0.0, 0.0)
        table.add_row(
            name, f"{drain.waiting:,}", f"{drain.done:,}", f"{drain.per_second:.0f}", _two((both[0], both[1])),
            f"{drain.urgent_sent}, {len(drain.urgent_ms)}",
        )  # fmt: skip
    console.print(table)
    console.print()


def _show_dead(console: Console, dead: Dead) -> None:
    beside = f"beside {dead.bad}"
    table = new_table(
        f"{dead.healthy} healthy channels", f"{beside} bad ones", f"{beside} that answer", "ratio", "alone"
    )
    table.add_row(
        "documents/s", f"{dead.rate:.0f}", f"{dead.rate_answering:.0f}", f"{dead.rate_ratio}", f"{dead.rate_alone:.0f}"
    )
    table.add_row(
        "p99 ms at 25/s", f"{dead.p99_ms:.0f}", f"{dead.p99_answering_ms:.0f}", f"{dead.p99_ratio}",
        f"{dead.p99_alone_ms:.0f}",
    )  # fmt: skip
    console.print(table)
    console.print()
