"""A long backlog over many channels: does it drain as fast as a short one, and do urgent documents wait for it?

Notices to all agencies are accepted while nobody delivers, so that they wait; then everything runs, and urgent
documents come one by one until the backlog is gone or the time is over.  The steady rate is that of the same channels
with a backlog of ten notices: once before, once after, each on a fresh node.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from dataclasses import dataclass
from typing import Final

import uvloop

from benchmarks.measure import RunFolder, percentile
from benchmarks.province_push import Mail, PushPlace, agency, push_place
from benchmarks.province_services import Services

__all__ = ["Backlog", "measure_backlog"]

_STEADY_NOTICES: Final = 10
_BEGIN: Final = 0.1
"""Of a drain's deliveries, those before are its start and do not count for its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One drain: deliveries that waited at its start, were done at its end, a second of it, urgent ones' times."""

    waiting: int
    done: int
    per_second: float
    urgent_sent: int
    urgent_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The long drain and the short ones around it."""

    channels: int
    long: Drain
    short: tuple[Drain, ...]
    disagreements: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Rate of the long drain over that of the short ones."""
        return self.long.per_second / statistics.mean(one.per_second for one in self.short)

    @property
    def urgent_p99_ms(self) -> float:
        """Of urgent documents while the long backlog drained: from acceptance to the recipient's answer."""
        return percentile(self.long.urgent_ms, 0.99) if self.long.urgent_ms else float("inf")


def measure_backlog(
    folders: RunFolder, services: Services, *, channels: int, waiting: int, seconds: float, rate: float
) -> Backlog:
    """Steady, long, steady. `waiting`: deliveries, rounded to whole notices; `rate`: urgent documents a second."""
    wrong: list[str] = []

    def drain(notices: int, name: str) -> Drain:
        with push_place(folders.fresh(name), services, channels=channels) as place:
            return _drain(place, notices, seconds, rate, wrong)

    short = max(1, min(_STEADY_NOTICES, waiting // channels // 2))
    before = drain(short, "steady")
    long = drain(max(2, waiting // channels), "backlog")
    return Backlog(channels=channels, long=long, short=(before, drain(short, "steady")), disagreements=tuple(wrong))


def _drain(place: PushPlace, notices: int, seconds: float, rate: float, wrong: list[str]) -> Drain:
    with place.serve("periodic") as server:
        mail = Mail(place.place, "TB")
        uvloop.run(_pile_up(mail, server.port, place.channels, notices))
    waiting = notices * place.channels
    urgent = Mail(place.place, "KHAN")
    with place.serve() as server:
        uvloop.run(_beside(place, urgent, server.port, waiting, seconds, rate))
    wrong += place.match(notices + urgent.sent, waiting + urgent.sent, f"a backlog of {waiting}")
    ends = place.ends()
    counted = ends[int(len(ends) * _BEGIN) :]
    return Drain(
        waiting=waiting,
        done=len(ends),
        per_second=(len(counted) - 1) / max(1, counted[-1] - counted[0]) * 1e6 if len(counted) > 1 else 0.0,
        urgent_sent=urgent.sent,
        urgent_ms=tuple(place.waits_ms(urgent=True)),
    )


async def _pile_up(mail: Mail, port: int, channels: int, notices: int) -> None:
    everyone = [agency(number) for number in range(channels)]
    left = iter(range(notices))

    async def send_some() -> None:
        connection = await mail.connect(port)
        for _ in left:
            await mail.send(connection, *everyone)
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(send_some())


async def _beside(place: PushPlace, mail: Mail, port: int, waiting: int, seconds: float, rate: float) -> None:
    """Send urgent documents until all that waited is done, or the time is over; then wait for the urgent ones."""
    chance = random.Random(1)
    connection = await mail.connect(port)
    begin = time.monotonic()
    until = begin + seconds
    while time.monotonic() < until:
        await mail.send(connection, agency(chance.randrange(place.channels)), is_urgent=True)
        if mail.sent % max(1, int(rate)) == 0 and await asyncio.to_thread(place.delivered) >= waiting:
            break
        await asyncio.sleep(max(0.0, begin + mail.sent / rate - time.monotonic()))
    connection.close()
    while time.monotonic() < until + 15 and await asyncio.to_thread(_urgent_done, place) < mail.sent:
        await asyncio.sleep(0.2)


def _urgent_done(place: PushPlace) -> int:
    return len(place.waits_ms(urgent=True))
