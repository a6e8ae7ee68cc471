"""The composite limit: the least machinery that gives a province's durability, with PostgreSQL and RabbitMQ.

Three processes.  The API is a bare ASGI application under uvicorn; per document:

    POST of a packet    as in the embedded limit (`benchmarks.limit_embedded`): SHA-256, blob with its fsyncs, one lxml
                        parse, P-256 seal; then one transaction on PostgreSQL (packet, deliveries, event, outbox)
    relay               takes the outbox, publishes to quorum queues, deletes what is confirmed (`…_queues`)
    worker              marks deliveries available, acknowledges
    GET of the list, GET of the bytes
    POST of the confirmation: delivery, event and receipt in one transaction; 200 after the commit

What comes together is done together: one statement is one transaction for all that waits, whether it writes or reads.
Nothing else is here: no validation, directory, rules, chains, attempts, metrics or logs.

    python -m benchmarks.province_limit FOLDER TOKEN DATABASE     prints the port once it listens
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from benchmarks.limit_embedded import (
    Confirmation,
    Gathering,
    Receive,
    Send,
    Submission,
    TakeIn,
    Taken,
    answer,
    is_bearer,
    read_body,
    resolve,
    serve_bare,
    token_digest,
)

__all__ = ["SCHEMA", "Books", "connect", "count_books"]

_GROUP: Final = 64

SCHEMA: Final = """
CREATE TABLE packet (id text PRIMARY KEY, digest bytea NOT NULL, size int NOT NULL, document_id text NOT NULL,
                     seal bytea NOT NULL, at float8 NOT NULL);
CREATE TABLE delivery (id text PRIMARY KEY, packet_id text NOT NULL, recipient text NOT NULL, state text NOT NULL);
CREATE INDEX delivery_open ON delivery (recipient, id) WHERE state = 'available';
CREATE TABLE event (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, subject text NOT NULL,
                    at float8 NOT NULL);
CREATE TABLE receipt (delivery_id text PRIMARY KEY, at float8 NOT NULL);
CREATE TABLE outbox (delivery_id text PRIMARY KEY, recipient text NOT NULL);
"""

_PLANS: Final = "-c plan_cache_mode=force_generic_plan " + " ".join(
    f"-c enable_{what}=off" for what in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
)
"""Each row by its key, as `truc` asks for it: a plan kept from the time when the tables were small read them whole, at
twice the server's processor time, in some runs and not in others."""
_ACCEPT: Final = """
WITH p AS (INSERT INTO packet SELECT * FROM unnest(
             %s::text[], %s::bytea[], %s::int[], %s::text[], %s::bytea[], %s::float8[]) RETURNING id, at),
     e AS (INSERT INTO event (kind, subject, at) SELECT 'packet.accepted', id, at FROM p),
     d AS (INSERT INTO delivery SELECT id, packet, recipient, 'ready' FROM unnest(
             %s::text[], %s::text[], %s::text[]) AS each (id, packet, recipient) RETURNING id, recipient)
INSERT INTO outbox SELECT id, recipient FROM d
"""
_CONFIRM: Final = """
WITH d AS (UPDATE delivery SET state = 'delivered' WHERE id = ANY(%s::text[]) AND state || '' = 'available'
           RETURNING id),
     e AS (INSERT INTO event (kind, subject, at) SELECT 'delivery.delivered', id, %s FROM d)
INSERT INTO receipt SELECT id, %s FROM d
"""
"""`state || ''`: the index of what is open is no way to find a delivery by its id, yet while that is small it was taken
for one, and kept."""
_LIST: Final = """
SELECT asked.number, d.id, p.size FROM unnest(%s::int[], %s::text[], %s::int[]) AS asked (number, recipient, most)
CROSS JOIN LATERAL (SELECT id, packet_id FROM delivery WHERE recipient = asked.recipient AND state = 'available'
                    ORDER BY id LIMIT asked.most) AS d JOIN packet AS p ON p.id = d.packet_id
"""
_FETCH: Final = "SELECT d.id, p.digest FROM delivery AS d JOIN packet AS p ON p.id = d.packet_id WHERE d.id = ANY(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What stands in the limit's books, to be matched against what the load generator did."""

    packets: int
    delivered: int
    receipts: int
    events: int
    waiting: int
    blobs: int


def count_books(database: str, folder: Path) -> Books:
    """Count the rows and blobs of a limit that has ended."""
    with connect(database) as connection:

        def count(sql: str) -> int:
            found = connection.execute(f"SELECT count(*) FROM {sql}").fetchone()
            assert found is not None
            return int(found[0])

        return Books(
            packets=count("packet"),
            delivered=count("delivery WHERE state = 'delivered'"),
            receipts=count("receipt"),
            events=count("event"),
            waiting=count("outbox"),
            blobs=sum(1 for _ in (folder / "blobs").iterdir()),
        )


def connect(database: str) -> psycopg.Connection[Any]:
    """A connection on which each statement is a transaction, prepared at its second use."""
    connection = psycopg.connect(database, autocommit=True, options=_PLANS)
    connection.prepare_threshold = 1
    return connection


@dataclass(slots=True)
class _Asking:
    """A wish to read: a list for `name`, an agency, or the blob's digest for `name`, a delivery."""

    name: str
    done: asyncio.Future[bytes]
    most: int = 0
    answer: bytes = b'{"items":[]}'


def _end_if_failed(task: asyncio.Task[None]) -> None:
    """A limit of which a part has failed answers nobody any more, and has no rate."""
    if not task.cancelled() and (why := task.exception()) is not None:
        traceback.print_exception(why)
        os._exit(1)


class _Work(ABC):
    """What comes while a group is with the database is the next group; one statement does each, on a connection of its
    own, which the event loop waits for: no thread hands the interpreter to another."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._waiting: list[Any] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, *members: Any) -> None:
        """Have them done with what else waits."""
        self._waiting.extend(members)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_end_if_failed)

    async def _run(self) -> None:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self._database, autocommit=True, options=_PLANS)
            self._connection.prepare_threshold = 1
        while self._waiting:
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            await self._do(self._connection, group)
            resolve(group)

    @abstractmethod
    async def _do(self, connection: psycopg.AsyncConnection[Any], group: list[Any]) -> None:
        """The work on a group: one statement."""


class _Accepting(_Work):
    """Packets whose blobs are on the disk."""

    async def _do(self, connection: psycopg.AsyncConnection[Any], group: list[Taken]) -> None:
        deliveries = [
            (f"{taken.row[0]}.{number}", taken.row[0], recipient)
            for taken in group
            for number, recipient in enumerate(taken.recipients)
        ]
        columns = [
            list(column) for column in (*zip(*(t.row for t in group), strict=True), *zip(*deliveries, strict=True))
        ]
        await connection.execute(_ACCEPT, columns, binary=True)


class _Confirming(_Work):
    async def _do(self, connection: psycopg.AsyncConnection[Any], group: list[Confirmation]) -> None:
        now = time.time()
        await connection.execute(_CONFIRM, [[member.delivery_id for member in group], now, now])


class _Listing(_Work):
    async def _do(self, connection: psycopg.AsyncConnection[Any], group: list[_Asking]) -> None:
        asked = [list(range(len(group))), [one.name for one in group], [one.most for one in group]]
        found: dict[int, list[dict[str, Any]]] = {}
        for number, delivery, size in await (await connection.execute(_LIST, asked)).fetchall():
            found.setdefault(number, []).append({"delivery_id": delivery, "size": size})
        for number, items in found.items():
            group[number].answer = msgspec.json.encode({"items": items})


class _Fetching(_Work):
    blobs: Path

    async def _do(self, connection: psycopg.AsyncConnection[Any], group: list[_Asking]) -> None:
        rows = await connection.execute(_FETCH, [[one.name for one in group]], binary=True)
        digests = dict(await rows.fetchall())
        for one in group:
            with open(self.blobs / digests[one.name].hex(), "rb", buffering=0) as blob:
                one.answer = blob.readall()


class _Application:
    """Four routes, told apart by the second letter of the path."""

    def __init__(self, folder: Path, token: str, database: str) -> None:
        self._token = token_digest(token)
        accepting, take_in = _Accepting(database), TakeIn(folder)
        self._take = Gathering[Submission](lambda group: accepting.put(*take_in.take_in(group)))
        self._confirm, self._list, self._fetch = _Confirming(database), _Listing(database), _Fetching(database)
        self._fetch.blobs = folder / "blobs"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if not is_bearer(scope, self._token):
            await answer(send, 401, b"{}")
            return
        path: str = scope["path"]
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        match path[1]:
            case "p":
                self._take.put(Submission(await read_body(receive), done))
                await answer(send, 202, await done)
                return
            case "c":
                await read_body(receive)
                self._confirm.put(Confirmation(path[3:], done))
            case "l":
                self._list.put(_Asking(path[3:], done, int(scope["query_string"])))
            case _:
                self._fetch.put(_Asking(path[3:], done))
        await answer(send, 200, await done)


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    folder, token, database = arguments
    serve_bare(_Application(Path(folder), token, database))


if __name__ == "__main__":
    main(sys.argv[1:])
