"""A node whose agencies are pushed to: channels of kind `rest`, their servers in one process, times from the books.

Nothing is measured at the load generator but when it was answered: how long a document took from its acceptance to its
recipient's answer is read from the node's rows, which both are written to by the database's clock.
"""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from benchmarks.dialect import V1
from benchmarks.load import Agency, Connection
from benchmarks.measure import serve
from benchmarks.packets import PacketMaker
from benchmarks.product import gaps_of, opened
from benchmarks.province_contestants import PRODUCT, Place
from benchmarks.province_services import ProvinceServer, Services, serve_province
from benchmarks.province_sink import Count
from gateway.configuration import apply, parse
from tests.support.processes import free_ports

__all__ = ["Mail", "PushPlace", "agency", "push_place"]

_ACTOR: Final = "bench"
_SINK: Final = (sys.executable, "-m", "benchmarks.province_sink")


def agency(number: int) -> Agency:
    """The agency of that number: of no directory, with a channel of its own."""
    code = f"000.{number // 90 + 10}.{number % 90 + 10}.H98"
    return Agency(id=f"bench-{number}", code=code, name=f"Cơ quan nhận số {number}", token="")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlace:
    """A node with push channels, and where their servers are."""

    place: Place
    services: Services
    channels: int
    sink_port: int

    @contextmanager
    def serve(self, *roles: str) -> Iterator[ProvinceServer]:
        """Run the API and these roles (all where none is named); the relay begins when all others are there."""
        processes = [one for one in PRODUCT.processes(self.place) if not roles or one.name in ("api", *roles)]
        processes.sort(key=lambda one: one.name == "relay")
        with serve_province(processes, self.place.folder, self.services, self.place.settings) as server:
            yield server

    def tell(self, statement: str, *values: object) -> list[tuple[int, ...]]:
        """Rows of the node's database."""
        with closing(psycopg.connect(self.place.settings["TRUC_DATABASE"])) as connection:
            return connection.execute(statement, values).fetchall()

    def delivered(self) -> int:
        """How many deliveries are done, by the node's own roll-ups: cheap enough to be asked often."""
        return int(self.tell("SELECT coalesce(sum(count), 0) FROM rollups WHERE state = 'delivered'")[0][0])

    def waits_ms(self, *, urgent: bool, of: Sequence[int] = (), run: str = "") -> list[float]:
        """Milliseconds from acceptance to the recipient's answer, of all done (of these agencies; of that `Mail`)."""
        ids = [agency(number).id for number in of or range(self.channels)]
        rows = self.tell(
            "SELECT d.since - p.recorded_at FROM deliveries d JOIN packets p ON p.id = d.packet_id "
            "WHERE d.state = 'delivered' AND d.is_urgent = %s AND d.agency_id = ANY(%s) "
            "AND p.document_id LIKE %s",
            urgent, ids, f"%/{run}" if run else "%",
        )  # fmt: skip
        return [row[0] / 1000 for row in rows]

    def ends(self, *, of: Sequence[int] = ()) -> list[int]:
        """When each ordinary delivery (to these agencies) was done, in order, microseconds."""
        ids = [agency(number).id for number in of or range(self.channels)]
        rows = self.tell(
            "SELECT since FROM deliveries WHERE state = 'delivered' AND NOT is_urgent AND agency_id = ANY(%s) "
            "ORDER BY since",
            ids,
        )  # fmt: skip
        return [row[0] for row in rows]

    def match(self, packets: int, deliveries: int, name: str) -> tuple[str, ...]:
        """What disagrees, all processes ended: rows, what the agencies' servers got, the account."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.sink_port}/count") as answer:
            came = msgspec.json.decode(answer.read(), type=Count)
        row = self.tell(
            "SELECT (SELECT count(*) FROM packets), (SELECT count(*) FROM deliveries), "
            "(SELECT count(*) FROM deliveries WHERE state = 'delivered')"
        )[0]
        wrong = []
        if row[:2] != (packets, deliveries):
            wrong.append(f"{name}: {row[:2]} packets and deliveries, not {(packets, deliveries)}")
        if came.repeats or came.arrived < row[2]:
            wrong.append(f"{name}: {row[2]} delivered, {came.arrived} arrived and {came.repeats} of them again")
        wrong += [f"{name}: the account has a gap: {gap}" for gap in gaps_of(self.place.folder, self.place.settings)]
        return tuple(wrong[:5])


class Mail:
    """Sends documents of the bench's department; each is answered before it counts."""

    def __init__(self, place: Place, run: str) -> None:
        self._token = place.sender.token
        self._maker = PacketMaker(place.sender.party, run=run)
        self.sent = 0

    @staticmethod
    async def connect(port: int) -> Connection:
        """A connection to the API."""
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
        return connection

    async def send(self, connection: Connection, *to: Agency, is_urgent: bool = False) -> None:
        """One document. Raises RuntimeError where it is not accepted."""
        self.sent += 1
        packet = self._maker.make(self.sent, *(each.party for each in to), priority=1 if is_urgent else 0)
        await connection.ask(V1.submit(self._token, packet))


@contextmanager
def push_place(
    folder: Path, services: Services, *, channels: int, crawling: Sequence[int] = (), dead: Sequence[int] = ()
) -> Iterator[PushPlace]:
    """A fresh node and so many agencies, each behind a `rest` channel as an operator would set it up.

    Of `crawling` the servers take a packet and never answer; at the addresses of `dead` nobody listens.
    """
    place = PRODUCT.prepare(folder, services)
    with ExitStack() as stack:
        sink = stack.enter_context(serve(_SINK, folder.with_name(f"{folder.name}-sink")))
        (closed,) = free_ports(1)

        def url(number: int) -> str:
            port = closed if number in dead else sink.port
            return f"http://127.0.0.1:{port}/{'crawl' if number in crawling else 'good'}/{number}"

        with opened(place.folder, place.settings) as node:
            apply(node.store, parse(_configuration([url(number) for number in range(channels)])), actor=_ACTOR)
        yield PushPlace(place=place, services=services, channels=channels, sink_port=sink.port)


def _configuration(urls: Sequence[str]) -> str:
    lines = []
    for number, url in enumerate(urls):
        one = agency(number)
        lines.append(
            f'[[agency]]\nid = "{one.id}"\nname = "{one.name}"\ncodes = [{{ code = "{one.code}", assumed = true }}]\n'
            f'[[channel]]\nid = "push-{one.id}"\nkind = "rest"\nserves = ["{one.id}"]\n'
            f'settings = {{ url = "{url}", plain_http = true, networks = ["127.0.0.0/8"] }}\n'
        )
    return "\n".join(lines)
