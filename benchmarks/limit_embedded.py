"""The embedded limit: the least machinery that gives the durability of one node without a broker.

A bare ASGI application under uvicorn (uvloop, httptools), one process.  Per document:

    POST of a packet    bearer check, SHA-256, blob by temporary name + fsync + rename + directory fsync, one
                        lxml parse, P-256 seal, one transaction (packet, delivery, event) on SQLite in WAL with
                        synchronous=FULL; 202 after the commit
    GET of the list, GET of the bytes
    POST of the confirmation: delivery, event and receipt in one transaction; 200 after the commit

What comes together is done together: four threads take packets in, in groups of up to eight with one directory
fsync each, and one thread commits what they bring and what is confirmed.  (The numbers were
chosen in short trials on a busy machine; others were not shown to be slower by more than its noise.)  Nothing else
is here: no validation, directory, rules, chains, attempts, metrics or logs.  What a product adds is seen
against this.

    python -m benchmarks.limit_embedded FOLDER TOKEN     prints the port once it listens
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import os
import queue
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from lxml import etree

__all__ = [
    "Confirmation", "Counts", "Receive", "Send", "Submission", "TakeIn", "Taken", "answer", "count_books", "is_bearer",
    "read_body", "resolve", "serve_bare", "take_group", "token_digest",
]  # fmt: skip

_GROUP: Final = 32
_TAKERS: Final = 4
_NS: Final = "{http://www.mic.gov.vn/TBT/QCVN_102_2016}"

_SCHEMA: Final = """
CREATE TABLE packet (id TEXT PRIMARY KEY, digest BLOB NOT NULL, size INTEGER NOT NULL, document_id TEXT NOT NULL,
                     seal BLOB NOT NULL, at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (id TEXT PRIMARY KEY, packet_id TEXT NOT NULL, recipient TEXT NOT NULL,
                       state TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_open ON delivery (recipient, id) WHERE state = 'available';
CREATE TABLE event (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE receipt (delivery_id TEXT PRIMARY KEY, at REAL NOT NULL) STRICT, WITHOUT ROWID;
"""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Submission:
    """A packet's bytes, and who waits for the answer."""

    body: bytes
    done: asyncio.Future[bytes]


@dataclass(slots=True)
class Confirmation:
    """A delivery that arrived, and who waits for the answer."""

    delivery_id: str
    done: asyncio.Future[bytes]
    answer: bytes = b"{}"


@dataclass(slots=True, kw_only=True)
class Taken:
    """A packet whose blob is on the disk."""

    row: tuple[str, bytes, int, str, bytes, float]
    recipients: tuple[str, ...]
    done: asyncio.Future[bytes]

    @property
    def answer(self) -> bytes:
        return b'{"packet_id":"%s"}' % self.row[0].encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What stands in a limit server's books, to be matched against what the load generator did."""

    packets: int
    delivered: int
    receipts: int
    events: int
    blobs: int


def count_books(folder: Path) -> Counts:
    """Count the rows and blobs of a limit server that has ended."""
    connection = sqlite3.connect(folder / "limit.db")
    try:
        count: Callable[[str], int] = lambda sql: int(connection.execute(sql).fetchone()[0])  # noqa: E731
        return Counts(
            packets=count("SELECT count(*) FROM packet"),
            delivered=count("SELECT count(*) FROM delivery WHERE state = 'delivered'"),
            receipts=count("SELECT count(*) FROM receipt"),
            events=count("SELECT count(*) FROM event"),
            blobs=len(os.listdir(folder / "blobs")),
        )
    finally:
        connection.close()


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "limit.db", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class TakeIn:
    """Threads that take packets in: groups of what waits, each with one directory fsync. They wait on the disk
    in parallel, which is all they are several for."""

    def __init__(self, folder: Path, ready: queue.SimpleQueue[Any]) -> None:
        """What is ready goes into `ready`, a list of `Taken` for each group."""
        self.waiting: queue.SimpleQueue[Submission] = queue.SimpleQueue()
        self._ready = ready
        self._blobs = folder / "blobs"
        self._blobs.mkdir(parents=True)
        self._directory = os.open(self._blobs, os.O_RDONLY)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._algorithm = ec.ECDSA(Prehashed(hashes.SHA256()))
        self._ids = itertools.count()
        for _ in range(_TAKERS):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            group = take_group(self.waiting, _GROUP // _TAKERS)
            taken = [self._take_in(member) for member in group]
            os.fsync(self._directory)
            self._ready.put(taken)

    def _take_in(self, submission: Submission) -> Taken:
        """One packet as a row; its blob is on the disk, the blob's name not yet for certain."""
        body = submission.body
        digest = hashlib.sha256(body).digest()
        name = digest.hex()
        temporary = self._blobs / f".{name}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, body)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, self._blobs / name)
        header = etree.fromstring(body)[0][0][0]
        document_id = header.findtext(f"{_NS}DocumentId")
        recipients = tuple(organ.text for organ in header.iterfind(f"{_NS}To/{_NS}OrganId"))
        seal = self._key.sign(digest, self._algorithm)
        packet_id = f"{time.time_ns():016x}{next(self._ids):08x}"
        row = (packet_id, digest, len(body), document_id, seal, time.time())
        return Taken(row=row, recipients=recipients, done=submission.done)


class _Write:
    """The one thread that writes to the database: groups of what waits, each with one commit."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: queue.SimpleQueue[Sequence[Taken | Confirmation]] = queue.SimpleQueue()
        self._loop = loop
        self._connection = _connect(folder)
        self._connection.executescript(_SCHEMA)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            group = [member for part in take_group(self.waiting, _GROUP) for member in part]
            self._commit(group)
            self._loop.call_soon_threadsafe(resolve, group)

    def _commit(self, group: list[Taken | Confirmation]) -> None:
        now = time.time()
        packets = [member for member in group if isinstance(member, Taken)]
        confirmed = [member.delivery_id for member in group if isinstance(member, Confirmation)]
        many = self._connection.executemany
        events = [("packet.accepted", packet.row[0], now) for packet in packets]
        events += [("delivery.delivered", delivery, now) for delivery in confirmed]
        self._connection.execute("BEGIN IMMEDIATE")
        if packets:
            many("INSERT INTO packet VALUES (?, ?, ?, ?, ?, ?)", [packet.row for packet in packets])
            many(
                "INSERT INTO delivery VALUES (?, ?, ?, 'available')",
                [(packet.row[0], packet.row[0], packet.recipients[0]) for packet in packets],
            )
        if confirmed:
            many(
                "UPDATE delivery SET state = 'delivered' WHERE id = ? AND state = 'available'",
                [(delivery,) for delivery in confirmed],
            )
            many("INSERT INTO receipt VALUES (?, ?)", [(delivery, now) for delivery in confirmed])
        many("INSERT INTO event (kind, subject, at) VALUES (?, ?, ?)", events)
        self._connection.execute("COMMIT")


_Any = TypeVar("_Any")


def take_group(waiting: queue.SimpleQueue[_Any], most: int) -> list[_Any]:
    """What waits, at least one: flushed at once when idle, more under load."""
    group = [waiting.get()]
    try:
        while len(group) < most:
            group.append(waiting.get_nowait())
    except queue.Empty:
        pass
    return group


def resolve(group: list[Any]) -> None:
    """On the loop: everybody who waits gets the answer."""
    for member in group:
        if not member.done.done():
            member.done.set_result(member.answer)


class _Application:
    """Four routes, told apart by the second letter of the path."""

    def __init__(self, folder: Path, token: str) -> None:
        self._folder = folder
        self._token = token_digest(token)
        self._take: TakeIn | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if self._take is None:
            self._write = _Write(self._folder, asyncio.get_running_loop())
            self._take = TakeIn(self._folder, self._write.waiting)
            self._reading = _connect(self._folder)
        if not is_bearer(scope, self._token):
            await answer(send, 401, b"{}")
            return
        path: str = scope["path"]
        match path[1]:
            case "p":
                submission = Submission(await read_body(receive), asyncio.get_running_loop().create_future())
                self._take.waiting.put(submission)
                await answer(send, 202, await submission.done)
            case "c":
                await read_body(receive)
                confirmation = Confirmation(path[3:], asyncio.get_running_loop().create_future())
                self._write.waiting.put((confirmation,))
                await answer(send, 200, await confirmation.done)
            case "l":
                await answer(send, 200, self._list(path[3:], int(scope["query_string"])))
            case _:
                await answer(send, 200, self._fetch(path[3:]))

    def _list(self, agency: str, most: int) -> bytes:
        rows = self._reading.execute(
            "SELECT delivery.id, packet.size FROM delivery JOIN packet ON packet.id = delivery.packet_id "
            "WHERE recipient = ? AND state = 'available' ORDER BY delivery.id LIMIT ?",
            (agency, most),
        )
        return msgspec.json.encode({"items": [{"delivery_id": key, "size": size} for key, size in rows]})

    def _fetch(self, delivery_id: str) -> bytes:
        (digest,) = self._reading.execute(
            "SELECT digest FROM packet JOIN delivery ON packet.id = packet_id WHERE delivery.id = ?",
            (delivery_id,),
        ).fetchone()
        with open(self._folder / "blobs" / digest.hex(), "rb", buffering=0) as blob:
            return blob.readall()


def token_digest(token: str) -> bytes:
    """What the caller's header must hash to."""
    return hashlib.sha256(f"Bearer {token}".encode()).digest()


def is_bearer(scope: MutableMapping[str, Any], digest: bytes) -> bool:
    """Whether the request brings the token."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return hmac.compare_digest(hashlib.sha256(value).digest(), digest)
    return False


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def answer(send: Send, status: int, body: bytes) -> None:
    """Answer a request."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve_bare(application: Any) -> None:
    """Serve an ASGI application on a free port, printed first, until SIGTERM."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        application, loop="uvloop", http="httptools", lifespan="off",
        access_log=False, log_level="warning", timeout_keep_alive=3600,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    serve_bare(_Application(Path(sys.argv[1]), sys.argv[2]))
