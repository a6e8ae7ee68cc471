"""The load generator: a process of its own that sends documents their whole way, and counts.

    python -m benchmarks.load JSON      (the `LoadPlan` as one argument)

It prints one JSON line when its warm-up is over and waits for an empty line on its input (so that whoever
measures reads the processor time first), then works, then prints the result.  Raw sockets on uvloop and one
httptools parser per connection: it must cost less than what it measures.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import httptools
import msgspec
import uvloop

from benchmarks.dialect import DIALECTS, Waiting
from benchmarks.packets import PacketMaker, Party

__all__ = ["Agency", "LoadPlan", "LoadResult"]

_LOOK_AGAIN = 0.05
"""Seconds after which a recipient that found its inbox empty looks again: under load it finds something most times, so
that lists of nothing are a small part of what is measured. The same for the product and the limit."""


class Agency(msgspec.Struct, frozen=True, kw_only=True):
    """An agency of the load: `id` as the inbox knows it, `code` and `name` as packets do."""

    id: str
    code: str
    name: str
    token: str

    @property
    def party(self) -> Party:
        return Party(code=self.code, name=self.name)


_RUN_IN = 200
"""Documents after which whatever a server starts under load is starting."""
_STARTS = 2.5
"""Seconds that this takes."""


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. With `rate` (documents per second) latency is measured, without it throughput."""

    dialect: str
    host: str = "127.0.0.1"
    port: int
    sender: Agency
    recipients: tuple[Agency, ...]
    documents: int
    each: int = 1
    """Recipients of a document."""
    warm_up: int = 200
    submitting: int = 64
    receiving: int = 32
    backlog: int = 800
    batch: int = 25
    rate: float | None = None
    run: str = "DT"


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What happened: counts of documents, seconds, and times in milliseconds."""

    submitted: int
    confirmed: int
    """Documents that all their recipients confirmed."""
    bytes_fetched: int
    lists: int
    empty_lists: int
    seconds: float
    cpu_seconds: float
    submit_ms: tuple[float, ...]
    """How long each submission took until its 202 (throughput: every 16th)."""
    visible_ms: tuple[float, ...]
    """From the 202 until the answer of a list that names the document (latency runs only)."""


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own classes do not inherit it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> bytes:
        """The body of a `2xx` answer; RuntimeError with the answer otherwise."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status, body = await self._answer
        if not 200 <= status < 300:
            raise RuntimeError(f"{request[:60]!r} was answered with {status}: {body[:300]!r}")
        return body

    def close(self) -> None:
        self._transport.close()


class Load:
    """One run of a plan."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._dialect = DIALECTS[plan.dialect]
        self._maker = PacketMaker(plan.sender.party, run=plan.run)
        self._sizes: dict[int, int] = {}
        self._next = 0
        self._reset(0)

    def _reset(self, goal: int) -> None:
        self._goal, self._submitted, self._confirmed, self._bytes = goal, 0, 0, 0
        self._lists = self._empty_lists = 0
        self._first = self._next
        self._submit_ms: list[float] = []
        self._visible_ms: list[float] = []
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def run(self, when_warm: Callable[[], None]) -> LoadResult:
        """Connect, warm up, call `when_warm`, work. Raises RuntimeError if anything is refused or missing."""
        plan = self._plan
        submitting = [await self._connect() for _ in range(plan.submitting)]
        receiving = [await self._connect() for _ in range(plan.receiving)]
        try:
            await self._warm_up(submitting, receiving)
            when_warm()
            started, cpu = time.perf_counter(), _cpu_seconds()
            if plan.rate is None:
                await self._throughput(submitting, receiving, plan.documents)
            else:
                await self._latency(submitting[0], receiving[0], plan.rate)
            seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
        finally:
            for connection in (*submitting, *receiving):
                connection.close()
        return LoadResult(
            submitted=self._submitted, confirmed=self._confirmed // self._plan.each, bytes_fetched=self._bytes,
            lists=self._lists, empty_lists=self._empty_lists, seconds=seconds, cpu_seconds=cpu,
            submit_ms=tuple(self._submit_ms), visible_ms=tuple(self._visible_ms),
        )  # fmt: skip

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._plan.host, self._plan.port)
        return connection

    async def _warm_up(self, submitting: list[Connection], receiving: list[Connection]) -> None:
        """What the server starts because of load has started when the longer part begins, without a break before what
        is measured: a process takes a second of processor time to start, as much as the measured work of 500 documents,
        and on a busy machine that fell into some runs and not into others."""
        run_in = min(_RUN_IN, self._plan.warm_up)
        await self._throughput(submitting, receiving, run_in)
        if run_in < self._plan.warm_up:
            await asyncio.sleep(_STARTS)
            await self._throughput(submitting, receiving, self._plan.warm_up - run_in)

    async def _throughput(self, submitting: list[Connection], receiving: list[Connection], documents: int) -> None:
        self._reset(documents)
        async with asyncio.TaskGroup() as tasks:
            for connection in submitting:
                tasks.create_task(self._submit_all(connection))
            for number, connection in enumerate(receiving):
                own = self._plan.recipients[number :: len(receiving)]
                if own:
                    tasks.create_task(self._receive_all(connection, own))

    async def _submit_all(self, connection: Connection) -> None:
        while self._next - self._first < self._goal:
            number = self._next
            self._next += 1
            while number - self._first - self._confirmed // self._plan.each >= self._plan.backlog:
                self._has_room.clear()
                await self._has_room.wait()
            started = time.perf_counter()
            await self._submit(connection, number)
            if number % 16 == 0:
                self._submit_ms.append((time.perf_counter() - started) * 1000)

    async def _submit(self, connection: Connection, number: int) -> str:
        known = self._plan.recipients
        each = self._plan.each
        parties = [known[(number * each + which) % len(known)].party for which in range(each)]
        packet = self._maker.make(number + 1, *parties)
        answer = await connection.ask(self._dialect.submit(self._plan.sender.token, packet))
        self._submitted += 1
        return self._dialect.read_submitted(answer)

    async def _receive_all(self, connection: Connection, agencies: tuple[Agency, ...]) -> None:
        while self._confirmed < self._goal * self._plan.each:
            found = False
            for agency in agencies:
                for waiting in await self._list(connection, agency):
                    found = True
                    await self._take(connection, agency, waiting)
            if not found:
                await asyncio.sleep(_LOOK_AGAIN)

    async def _list(self, connection: Connection, agency: Agency) -> tuple[Waiting, ...]:
        request = self._dialect.list_waiting(agency.token, agency.id, self._plan.batch)
        waiting = self._dialect.read_waiting(await connection.ask(request))
        self._lists += 1
        self._empty_lists += not waiting
        return waiting

    async def _take(self, connection: Connection, agency: Agency, waiting: Waiting) -> None:
        """Fetch and confirm one document."""
        packet = await connection.ask(self._dialect.fetch(agency.token, waiting.delivery_id))
        if len(packet) != waiting.size or not packet.endswith(b"</edXML>\n"):
            raise RuntimeError(f"delivery {waiting.delivery_id} gave {len(packet)} of {waiting.size} bytes")
        self._bytes += len(packet)
        await connection.ask(self._dialect.confirm(agency.token, waiting.delivery_id))
        self._confirmed += 1
        self._has_room.set()

    async def _latency(self, submitting: Connection, receiving: Connection, rate: float) -> None:
        """One document at a time at a steady rate; its inbox is read from the 202 on until it is there."""
        self._reset(self._plan.documents)
        begin = time.perf_counter()
        for index in range(self._plan.documents):
            await asyncio.sleep(max(0.0, begin + index / rate - time.perf_counter()))
            number, self._next = self._next, self._next + 1
            agency = self._plan.recipients[number % len(self._plan.recipients)]
            started = time.perf_counter()
            await self._submit(submitting, number)
            accepted = time.perf_counter()
            while not (found := await self._list(receiving, agency)):
                pass
            self._visible_ms.append((time.perf_counter() - accepted) * 1000)
            self._submit_ms.append((accepted - started) * 1000)
            for waiting in found:
                await self._take(receiving, agency, waiting)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _say(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()


def _wait_to_be_measured() -> None:
    _say({"warm": True})
    sys.stdin.readline()


def main() -> None:
    """Run the plan given as the only argument."""
    plan = msgspec.json.decode(sys.argv[1], type=LoadPlan)
    _say(uvloop.run(Load(plan).run(_wait_to_be_measured)))


if __name__ == "__main__":
    main()
