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
import queue
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from benchmarks.limit_embedded import (
    Confirmation,
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
    take_group,
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

_ACCEPT: Final = """
WITH p AS (INSERT INTO packet SELECT * FROM unnest(
             %s::text[], %s::bytea[], %s::int[], %s::text[], %s::bytea[], %s::float8[]) RETURNING id, at),
     e AS (INSERT INTO event (kind, subject, at) SELECT 'packet.accepted', id, at FROM p),
     d AS (INSERT INTO delivery SELECT id, packet, recipient, 'ready' FROM unnest(
             %s::text[], %s::text[], %s::text[]) AS each (id, packet, recipient) RETURNING id, recipient)
INSERT INTO outbox SELECT id, recipient FROM d
"""
_CONFIRM: Final = """
WITH d AS (UPDATE delivery SET state = 'delivered' WHERE id = ANY(%s::text[]) AND state = 'available' RETURNING id),
     e AS (INSERT INTO event (kind, subject, at) SELECT 'delivery.delivered', id, %s FROM d)
INSERT INTO receipt SELECT id, %s FROM d
"""
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
    connection = psycopg.connect(database, autocommit=True)
    connection.prepare_threshold = 1
    return connection


@dataclass(slots=True)
class _Asking:
    """A wish to read: a list for `name`, an agency, or the blob's digest for `name`, a delivery."""

    name: str
    done: asyncio.Future[bytes]
    most: int = 0
    answer: bytes = b'{"items":[]}'


class _Thread(ABC):
    """A thread with a connection that takes what waits, does it by one statement, and gives the loop the answers."""

    def __init__(self, database: str, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._loop = loop
        self._connection = connect(database)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            group = self._flat(take_group(self.waiting, _GROUP))
            self._do(group)
            self._loop.call_soon_threadsafe(resolve, group)

    def _flat(self, group: list[Any]) -> list[Any]:
        return group

    @abstractmethod
    def _do(self, group: list[Any]) -> None:
        """The work on a group: one statement."""


class _Accepting(_Thread):
    """Packets whose blobs are on the disk; they come in the groups that shared a directory's fsync."""

    def _flat(self, group: list[Any]) -> list[Any]:
        return [member for part in group for member in part]

    def _do(self, group: list[Taken]) -> None:
        deliveries = [
            (f"{taken.row[0]}.{number}", taken.row[0], recipient)
            for taken in group
            for number, recipient in enumerate(taken.recipients)
        ]
        columns = [
            list(column) for column in (*zip(*(t.row for t in group), strict=True), *zip(*deliveries, strict=True))
        ]
        self._connection.execute(_ACCEPT, columns, binary=True)


class _Confirming(_Thread):
    def _do(self, group: list[Confirmation]) -> None:
        now = time.time()
        self._connection.execute(_CONFIRM, [[member.delivery_id for member in group], now, now])


class _Listing(_Thread):
    def _do(self, group: list[_Asking]) -> None:
        asked = [list(range(len(group))), [one.name for one in group], [one.most for one in group]]
        found: dict[int, list[dict[str, Any]]] = {}
        for number, delivery, size in self._connection.execute(_LIST, asked):
            found.setdefault(number, []).append({"delivery_id": delivery, "size": size})
        for number, items in found.items():
            group[number].answer = msgspec.json.encode({"items": items})


class _Fetching(_Thread):
    blobs: Path

    def _do(self, group: list[_Asking]) -> None:
        rows = self._connection.execute(_FETCH, [[one.name for one in group]], binary=True)
        digests = dict(rows.fetchall())
        for one in group:
            with open(self.blobs / digests[one.name].hex(), "rb", buffering=0) as blob:
                one.answer = blob.readall()


class _Application:
    """Four routes, told apart by the second letter of the path."""

    def __init__(self, folder: Path, token: str, database: str) -> None:
        self._folder, self._database = folder, database
        self._token = token_digest(token)
        self._take: TakeIn | None = None

    def _start(self) -> TakeIn:
        loop = asyncio.get_running_loop()
        self._confirm, self._list = _Confirming(self._database, loop), _Listing(self._database, loop)
        self._fetch = _Fetching(self._database, loop)
        self._fetch.blobs = self._folder / "blobs"
        return TakeIn(self._folder, _Accepting(self._database, loop).waiting)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if self._take is None:
            self._take = self._start()
        if not is_bearer(scope, self._token):
            await answer(send, 401, b"{}")
            return
        path: str = scope["path"]
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        match path[1]:
            case "p":
                self._take.waiting.put(Submission(await read_body(receive), done))
                await answer(send, 202, await done)
                return
            case "c":
                await read_body(receive)
                self._confirm.waiting.put(Confirmation(path[3:], done))
            case "l":
                self._list.waiting.put(_Asking(path[3:], done, int(scope["query_string"])))
            case _:
                self._fetch.waiting.put(_Asking(path[3:], done))
        await answer(send, 200, await done)


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    folder, token, database = arguments
    serve_bare(_Application(Path(folder), token, database))


if __name__ == "__main__":
    main(sys.argv[1:])
