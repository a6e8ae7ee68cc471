"""A notice to 600 recipients: stored once, planned for each, and how long its sender waits."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import uvloop

from benchmarks.dialect import V1
from benchmarks.load import Agency, Connection
from benchmarks.packets import PacketMaker
from benchmarks.product import gaps_of, opened
from benchmarks.province_contestants import PRODUCT, Place
from benchmarks.province_services import Services
from gateway.configuration import apply, parse

__all__ = ["Notice", "measure_notice"]

_ACTOR: Final = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """How long each notice took until its 202, in seconds; the first of all is not counted. And what disagreed."""

    recipients: int
    seconds: tuple[float, ...]
    disagreements: tuple[str, ...]


def measure_notice(folder: Path, services: Services, *, recipients: int = 600, times: int = 6) -> Notice:
    """Send so many notices, one after the other, to a fresh node."""
    place = PRODUCT.prepare(folder, services)
    with opened(place.folder, place.settings) as node:
        apply(node.store, parse(_configuration(recipients)), actor=_ACTOR)
    maker = PacketMaker(place.sender.party, run="TB")
    to = [_agency(number).party for number in range(recipients)]
    with PRODUCT.serve(place, services) as server:
        seconds = uvloop.run(_send(server.port, place.sender.token, [maker.make(n + 1, *to) for n in range(times)]))
    return Notice(recipients=recipients, seconds=seconds[1:], disagreements=_match(place, recipients, times))


async def _send(port: int, token: str, packets: list[bytes]) -> tuple[float, ...]:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    taken = []
    for packet in packets:
        began = time.perf_counter()
        await connection.ask(V1.submit(token, packet))
        taken.append(time.perf_counter() - began)
    connection.close()
    return tuple(taken)


def _match(place: Place, recipients: int, times: int) -> tuple[str, ...]:
    with closing(psycopg.connect(place.settings["TRUC_DATABASE"])) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM packets), (SELECT count(*) FROM deliveries WHERE state = 'available')"
        ).fetchone()
    blobs = sum(1 for _ in (place.folder / "data" / "blobs").glob("??/*"))
    wanted = (times, times * recipients, times)
    wrong = [] if (*(counted or ()), blobs) == wanted else [f"notices: {counted} and {blobs} blobs, not {wanted}"]
    wrong += [f"notices: the account has a gap: {gap}" for gap in gaps_of(place.folder, place.settings)[:1]]
    return tuple(wrong)


def _agency(number: int) -> Agency:
    code = f"000.{number // 90 + 10}.{number % 90 + 10}.H98"
    return Agency(id=f"bench-{number}", code=code, name=f"Cơ quan nhận thông báo số {number}", token="")


def _configuration(recipients: int) -> str:
    known = [_agency(number) for number in range(recipients)]
    lines = [
        f'[[agency]]\nid = "{one.id}"\nname = "{one.name}"\ncodes = [{{ code = "{one.code}", assumed = true }}]\n'
        for one in known
    ]
    lines += [f'[[channel]]\nid = "inbox-{one.id}"\nkind = "inbox"\nserves = ["{one.id}"]\n' for one in known]
    return "\n".join(lines)
