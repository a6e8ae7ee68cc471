"""Dead and crawling recipients: what do they cost the healthy ones?

The same documents go to the same healthy agencies with others between them (one after every three) for agencies whose
servers are away or never answer, and again with the same others for the same agencies, who answer; each on a fresh
node.  First as fast as the API takes them, which gives the rate; then some at a calm rate while the others' documents
are tried again, which gives the p99.  What it takes to find out who is dead is part of it.  A third run without any
documents between them says what these cost, dead or not.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import uvloop

from benchmarks.measure import Interval, RunFolder, interleave, interval_of, percentile
from benchmarks.province_push import Mail, PushPlace, agency, push_place
from benchmarks.province_services import Services

__all__ = ["Dead", "measure_dead"]

_SUBMITTING: Final = 16
_RATE: Final = 25.0
_PATIENCE: Final = 90.0
"""Seconds that the healthy ones' documents are waited for at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """The healthy ones' documents a second and p99 beside bad ones, beside as many that answer, and alone; the ratios
    are of the first two."""

    healthy: int
    bad: int
    rate: Interval
    rate_answering: Interval
    rate_alone: Interval
    rate_ratio: Interval
    p99_ms: Interval
    p99_answering_ms: Interval
    p99_alone_ms: Interval
    p99_ratio: Interval
    disagreements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    rate: float
    p99_ms: float


def measure_dead(
    folders: RunFolder, services: Services, *, channels: int, bad: int, documents: int, calm: int, pairs: int
) -> Dead:
    """Interleaved pairs. `documents` and `calm`: to healthy agencies, in the first and the second half of a run."""
    wrong: list[str] = []

    def run(*, others: int, are_bad: bool) -> _Run:
        how_many_bad = others if are_bad else 0
        dead, crawling = range(0, how_many_bad, 2), range(1, how_many_bad, 2)
        name = f"{'bad' if are_bad else 'answering'}-{others}"
        with push_place(folders.fresh(name), services, channels=channels, dead=dead, crawling=crawling) as place:
            return _run(place, bad, others, documents, calm, wrong)

    alone: list[_Run] = []

    def answering(_pair: int) -> _Run:
        alone.append(run(others=0, are_bad=False))
        return run(others=bad, are_bad=False)

    both = interleave(lambda _pair: run(others=bad, are_bad=True), answering, pairs=pairs)
    return Dead(
        healthy=channels - bad,
        bad=bad,
        rate=interval_of([above.rate for above, _ in both]),
        rate_answering=interval_of([below.rate for _, below in both]),
        rate_alone=interval_of([one.rate for one in alone]),
        rate_ratio=interval_of([above.rate / below.rate for above, below in both]),
        p99_ms=interval_of([above.p99_ms for above, _ in both]),
        p99_answering_ms=interval_of([below.p99_ms for _, below in both]),
        p99_alone_ms=interval_of([one.p99_ms for one in alone]),
        p99_ratio=interval_of([above.p99_ms / below.p99_ms if below.p99_ms else 0.0 for above, below in both]),
        disagreements=tuple(wrong),
    )


def _run(place: PushPlace, first: int, others: int, documents: int, calm: int, wrong: list[str]) -> _Run:
    """`first`: the first healthy agency; `others`: how many of those before it get documents."""
    healthy = range(first, place.channels)
    flood, slow = Mail(place.place, "DON"), Mail(place.place, "THUA")
    with place.serve() as server:
        uvloop.run(_flood(flood, server.port, healthy, others, documents))
        _wait(place, healthy, documents)
        ends = place.ends(of=healthy)
        began = place.tell("SELECT min(recorded_at) FROM packets")[0][0]
        before = len(ends)
        uvloop.run(_calmly(slow, server.port, healthy, calm))
        _wait(place, healthy, before + calm)
    sent = flood.sent + slow.sent
    wrong += place.match(sent, sent, f"{others} other channels")
    late = place.waits_ms(urgent=False, of=healthy, run="THUA")
    if before < documents or len(late) < calm:
        wrong.append(
            f"{others} other channels: of {documents} + {calm} to healthy ones {before} + {len(late)} came in time"
        )
    return _Run(rate=before / (ends[-1] - began) * 1e6 if ends else 0.0, p99_ms=percentile(late, 0.99) if late else 0.0)


async def _flood(mail: Mail, port: int, healthy: range, others: int, documents: int) -> None:
    left = iter(range(documents))

    async def send_some() -> None:
        connection = await mail.connect(port)
        for number in left:
            if others and number % 3 == 0:
                await mail.send(connection, agency(number // 3 % others))
            await mail.send(connection, agency(healthy[number % len(healthy)]))
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_SUBMITTING):
            tasks.create_task(send_some())


async def _calmly(mail: Mail, port: int, healthy: range, documents: int) -> None:
    connection = await mail.connect(port)
    begin = time.monotonic()
    for number in range(documents):
        await asyncio.sleep(max(0.0, begin + number / _RATE - time.monotonic()))
        await mail.send(connection, agency(healthy[number % len(healthy)]))
    connection.close()


def _wait(place: PushPlace, healthy: range, documents: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and len(place.ends(of=healthy)) < documents:
        time.sleep(0.25)
