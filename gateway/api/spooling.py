"""Taking a body in: spooled on the blobs' file system and hashed while it comes, refused before it can do harm.

Leaves behind (hop "take in", lấy văn bản): one spooled file, nothing else; none at all where it returns with an error.
Memory per body: one piece, however large the body is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.api.asked import Asked
from gateway.api.edge import Edge, Patience
from gateway.api.problems import NotAcceptedKind, TooSlow
from gateway.api.shares import More
from gateway.identity import Caller
from gateway.model.errors import BadRequest, TooLarge

__all__ = ["Coming", "Spooled", "admit_body", "spool_body"]

_PIECE = 256 * 1024
_KINDS = frozenset({"", "application/xml", "text/xml", "application/octet-stream", "multipart/related"})
"""Kinds that are taken. What a body is it says itself: the kind's parameters (a boundary) are not among its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A body that came whole. A small one is in memory, not in its file: it gets there when it is known to be good."""

    path: Path
    size: int
    known_digest: str
    rest: bytes

    @property
    def body(self) -> bytes | None:
        """The bytes, where they are in memory."""
        return self.rest or None

    def digest(self) -> str:
        """Its SHA-256; in a thread."""
        return hashlib.sha256(self.rest).hexdigest() if self.rest else self.known_digest


@dataclass(frozen=True, slots=True)
class Coming:
    """A body that was admitted: the size that it told, 0 where it told none, and how it takes more than that."""

    told: int
    more: More


@contextmanager
def admit_body(edge: Edge, asked: Asked, caller: Caller) -> Iterator[Coming]:
    """Everything that can be refused before a byte of the body is read, and the body's place for the block's length.

    Raises NotAcceptedKind, BadRequest, TooLarge where `Content-Length` tells it, DiskReserve, Overloaded, and ShareHeld
    where the caller's system has its share under way.
    """
    size = _told_size(edge, asked)
    with edge.uploads.hold(caller.system_id), edge.coming.hold(caller.system_id, size) as more:
        yield Coming(size, more)


def _told_size(edge: Edge, asked: Asked) -> int:
    kind = asked.header(b"content-type").partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise NotAcceptedKind("api.bad_kind", kind=kind[:60])
    if asked.header(b"content-encoding").strip().lower() not in ("", "identity"):
        raise NotAcceptedKind("api.bad_encoding")
    told = asked.header(b"content-length")
    length = int(told) if told.isdigit() else 0
    if length > edge.node.limits.packet:
        raise TooLarge("submission.too_large", limit=edge.node.limits.packet)
    edge.reserve.check(length)
    return length


async def spool_body(edge: Edge, asked: Asked, coming: Coming) -> Spooled:
    """Take the whole body in, as `admit_body` admitted it.

    Raises TooLarge as soon as more came than is allowed, TooSlow, BadRequest for an empty body, ClientGone, and, where
    it did not tell its size, TooManyBytes and ShareOfBytesHeld; on each of them, and when it is cancelled, nothing is
    left behind.
    """
    intake = _Intake(edge, coming)
    try:
        return await _take_all(intake, asked, edge.patience)
    except BaseException:
        await asyncio.shield(edge.submitting.run(intake.drop))
        raise


async def _take_all(intake: _Intake, asked: Asked, patience: Patience) -> Spooled:
    whole = asked.take_whole()
    if whole is not None:
        await intake.add(whole)
    else:
        await _wait_for_all(intake, asked, patience)
    if not intake.size:
        raise BadRequest("api.empty")
    return await intake.finish()


async def _wait_for_all(intake: _Intake, asked: Asked, patience: Patience) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(patience.between_chunks) as limit:
            while not asked.is_body_read:
                await intake.add((await asked.receive()).get("body", b""))
                limit.reschedule(patience.ends_at(began, loop.time(), intake.size))
    except TimeoutError:
        raise TooSlow("api.too_slow") from None


class _Intake:
    """One body while it comes. Small ones stay in memory until their thread writes them with all else it does."""

    def __init__(self, edge: Edge, coming: Coming) -> None:
        self._edge = edge
        self._coming = coming
        self._path = edge.node.store.blobs.spool()
        self._hasher: hashlib._Hash | None = None  #: of what was written; None while nothing is on disk
        self._pieces: list[bytes] = []
        self._held = 0
        self.size = 0

    async def add(self, piece: bytes) -> None:
        """The next bytes. Raises TooLarge."""
        self.size += len(piece)
        if self.size > self._edge.node.limits.packet:
            raise TooLarge("submission.too_large", limit=self._edge.node.limits.packet)
        if self.size > self._coming.told:
            self._coming.more(len(piece))
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held >= _PIECE:
            self._edge.reserve.check(self._held)
            await self._edge.submitting.run(self._write)

    async def finish(self) -> Spooled:
        """What came, whole."""
        if self._hasher is not None:
            await self._edge.submitting.run(self._write)
            return Spooled(path=self._path, size=self.size, known_digest=self._hasher.hexdigest(), rest=b"")
        rest = b"".join(self._pieces)
        return Spooled(path=self._path, size=self.size, known_digest="", rest=rest)

    def drop(self) -> None:
        """Forget it: nothing stays on disk. In a thread."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        block = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        is_first = self._hasher is None
        self._hasher = self._hasher or hashlib.sha256()
        self._hasher.update(block)
        with self._path.open("xb" if is_first else "ab") as file:
            file.write(block)
