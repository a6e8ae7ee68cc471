"""The embedded limit: the least machinery that gives the durability of one node without a broker.

A bare ASGI application under uvicorn (uvloop, httptools), one process.  Per document:

    POST of a packet    bearer check, SHA-256, blob by temporary name + fsync + rename + directory fsync, one
                        lxml parse, P-256 seal, one transaction (packet, delivery, event) on SQLite in WAL with
                        synchronous=FULL; 202 after the commit
    GET of the list, GET of the bytes
    POST of the confirmation: delivery, event and receipt in one transaction; 200 after the commit

What comes together is done together, with one directory fsync and one commit, by one thread that does everything:
whatever comes while a group waits for the disk is the next group.  (With threads of its own for blobs and commits the
same work took twice the processor time, and its rate was the same.  A product cannot do so: it would answer
nobody while its disk does not.)  Nothing else is here: no validation, directory, rules, chains, attempts, metrics or
logs.  What a product adds is seen against this.

    python -m benchmarks.limit_embedded FOLDER TOKEN     prints the port once it listens
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import hmac
import itertools
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from lxml import etree

__all__ = [
    "Confirmation", "Counts", "Gathering", "Receive", "Send", "Submission", "TakeIn", "Taken", "answer", "count_books",
    "is_bearer", "read_body", "resolve", "serve_bare", "token_digest",
]  # fmt: skip

_sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_BEGIN_TO_WRITE: Final = 2
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


_Any = TypeVar("_Any")


class TakeIn:
    """Takes groups of packets in: all bodies begun, then all synced and named, then the folder synced.

    On the caller's thread, the event loop's: with threads of its own for it, half of the processor time of the whole
    program went into handing the interpreter over at each system call.
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._blobs.mkdir(parents=True)
        self._directory = os.open(self._blobs, os.O_RDONLY)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._algorithm = ec.ECDSA(Prehashed(hashes.SHA256()))
        self._ids = itertools.count()

    def take_in(self, group: Sequence[Submission]) -> list[Taken]:
        """The packets as rows; their blobs are on the disk, and so are the blobs' names."""
        begun = [self._begin(submission.body) for submission in group]
        taken = [self._read(submission, digest) for submission, (_, digest) in zip(group, begun, strict=True)]
        for descriptor, digest in begun:
            name = digest.hex()
            os.fsync(descriptor)
            os.close(descriptor)
            os.rename(f"{self._blobs}/.{name}", f"{self._blobs}/{name}")
        os.fsync(self._directory)
        return taken

    def _begin(self, body: bytes) -> tuple[int, bytes]:
        """The temporary file, whose writing the disk has begun, and the body's digest."""
        digest = hashlib.sha256(body).digest()
        descriptor = os.open(f"{self._blobs}/.{digest.hex()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, body)
        if _sync_file_range(descriptor, 0, 0, _BEGIN_TO_WRITE):
            raise OSError(ctypes.get_errno(), "the disk does not begin to write")
        return descriptor, digest

    def _read(self, submission: Submission, digest: bytes) -> Taken:
        body = submission.body
        header = etree.fromstring(body)[0][0][0]
        document_id = header.findtext(f"{_NS}DocumentId")
        recipients = tuple(organ.text for organ in header.iterfind(f"{_NS}To/{_NS}OrganId"))
        seal = self._key.sign(digest, self._algorithm)
        packet_id = f"{time.time_ns():016x}{next(self._ids):08x}"
        row = (packet_id, digest, len(body), document_id, seal, time.time())
        return Taken(row=row, recipients=recipients, done=submission.done)


class Gathering(Generic[_Any]):
    """On the loop: members that come while a group is worked on are the next group."""

    def __init__(self, work: Callable[[list[_Any]], None]) -> None:
        """`work` gets each group."""
        self._work = work
        self._waiting: list[_Any] = []

    def put(self, member: _Any) -> None:
        """Have it done with what else waits, when the loop has handed in all that came."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(member)

    def _run(self) -> None:
        group, self._waiting = self._waiting, []
        self._work(group)


class _Write:
    """A group's blobs, then one commit for all of it, then the answers."""

    def __init__(self, folder: Path) -> None:
        self._take = TakeIn(folder)
        self.connection = _connect(folder)
        self.connection.executescript(_SCHEMA)
        self.waiting = Gathering(self._run)

    def _run(self, waiting: list[Submission | Confirmation]) -> None:
        packets = [member for member in waiting if isinstance(member, Submission)]
        group: list[Taken | Confirmation] = [member for member in waiting if isinstance(member, Confirmation)]
        if packets:
            group += self._take.take_in(packets)
        self._commit(group)
        resolve(group)

    def _commit(self, group: list[Taken | Confirmation]) -> None:
        now = time.time()
        packets = [member for member in group if isinstance(member, Taken)]
        confirmed = [member.delivery_id for member in group if isinstance(member, Confirmation)]
        many = self.connection.executemany
        events = [("packet.accepted", packet.row[0], now) for packet in packets]
        events += [("delivery.delivered", delivery, now) for delivery in confirmed]
        self.connection.execute("BEGIN IMMEDIATE")
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
        self.connection.execute("COMMIT")


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
        self._write = _Write(folder)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if not is_bearer(scope, self._token):
            await answer(send, 401, b"{}")
            return
        path: str = scope["path"]
        match path[1]:
            case "p":
                submission = Submission(await read_body(receive), asyncio.get_running_loop().create_future())
                self._write.waiting.put(submission)
                await answer(send, 202, await submission.done)
            case "c":
                await read_body(receive)
                confirmation = Confirmation(path[3:], asyncio.get_running_loop().create_future())
                self._write.waiting.put(confirmation)
                await answer(send, 200, await confirmation.done)
            case "l":
                await answer(send, 200, self._list(path[3:], int(scope["query_string"])))
            case _:
                await answer(send, 200, self._fetch(path[3:]))

    def _list(self, agency: str, most: int) -> bytes:
        rows = self._write.connection.execute(
            "SELECT delivery.id, packet.size FROM delivery JOIN packet ON packet.id = delivery.packet_id "
            "WHERE recipient = ? AND state = 'available' ORDER BY delivery.id LIMIT ?",
            (agency, most),
        )
        return msgspec.json.encode({"items": [{"delivery_id": key, "size": size} for key, size in rows]})

    def _fetch(self, delivery_id: str) -> bytes:
        (digest,) = self._write.connection.execute(
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
