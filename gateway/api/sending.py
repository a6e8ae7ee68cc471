"""Sending stored bytes: whole or a range, in pieces, checked against their digest while they go out.

What does not match its digest is never sent whole: of what is small no byte goes out before the sum is known, of
what is large the last piece is held back until then, and the connection breaks off instead (protocol §5).  Before a
range of what is large, all of it is read and checked once an hour at least.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edxml.attachments import AttachmentDamaged, open_decoded
from edxml.packet import Attachment
from gateway.api.asked import Asked, ClientGone, Headers
from gateway.api.edge import INLINE
from gateway.api.lanes import Lane
from gateway.api.ranges import ByteRange, pick_range
from gateway.api.vouched import Vouched
from gateway.model.errors import BlobDamaged

__all__ = [
    "OPENING",
    "XML",
    "Stored",
    "body_headers",
    "check_size",
    "decoded_pieces",
    "file_pieces",
    "packet_kind",
    "send_small",
    "send_stored",
]

XML = b"application/xml"
OPENING = 64
"""Bytes of a packet that `packet_kind` wants to see."""

_PIECE = 256 * 1024
_STUCK = 60.0
_vouched = Vouched()
_ALWAYS = ((b"accept-ranges", b"bytes"), (b"cache-control", b"private, no-store"))
_LONGEST = 55 * 60.0
"""Seconds that a response may take where no attempt sets a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Bytes that are kept in an open file: their size and digest, and how to get those of a range, piece by piece.

    Whoever gets one sends it: `send_stored` closes the file, whatever happens.
    """

    file: BinaryIO
    size: int
    digest: str
    pieces: Callable[[BinaryIO, ByteRange], Iterator[bytes]]
    kind: bytes = XML
    headers: tuple[tuple[bytes, bytes], ...] = ()


def packet_kind(opening: bytes) -> bytes:
    """What a packet's bytes are said to be: XML, or just bytes where they begin with no markup (MIME, dialect D)."""
    return (
        XML
        if opening[:1] == b"<" or opening.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
        else b"application/octet-stream"
    )


def body_headers(digest: str) -> tuple[list[tuple[bytes, bytes]], str]:
    """Headers that every answer with stored bytes carries, and its entity tag."""
    etag = f'"{digest}"'
    content = binascii.b2a_base64(bytes.fromhex(digest), newline=False)
    return [(b"etag", etag.encode()), (b"content-digest", b"sha-256=:%b:" % content), *_ALWAYS], etag


async def send_small(asked: Asked, body: bytes, digest: str, kind: bytes, headers: Headers) -> None:
    """Send bytes that are in memory and were held against their digest. Raises RangeNotSatisfiable."""
    common, wanted = _plan(asked, digest, len(body))
    if wanted is None:
        await asked.answer(200, body, kind=kind, headers=(*headers, *common))
    else:
        part = body[wanted.start : wanted.end]
        await asked.answer(206, part, kind=kind, headers=_partial(headers, common, wanted))


async def send_stored(asked: Asked, stored: Stored, lane: Lane, seconds: float = _LONGEST) -> None:
    """Send what is stored, whole or the range asked for, within `seconds`; to a HEAD only what it would be.

    Raises BlobDamaged where it is not what it was (nothing was sent then of what is small or of a range, of a large
    whole answer not the last piece), RangeNotSatisfiable, ClientGone, and TimeoutError for a caller that takes nothing.
    """
    with stored.file:
        if stored.size <= INLINE:
            body = await lane.run(_read_small, stored)
            await send_small(asked, body, stored.digest, stored.kind, stored.headers)
            return
        common, wanted = _plan(asked, stored.digest, stored.size)
        if wanted is None:
            wanted = _whole(stored)
            await asked.begin(200, stored.kind, stored.size, (*stored.headers, *common))
        else:
            async with asyncio.timeout(seconds):
                await _vouch(asked, stored, lane)
            await asked.begin(206, stored.kind, wanted.length, _partial(stored.headers, common, wanted))
        if asked.is_head or not wanted.length:
            await asked.send_piece(b"", is_last=True)
            return
        async with asyncio.timeout(seconds):
            await _send_pieces(asked, stored, wanted, lane)


def _whole(stored: Stored) -> ByteRange:
    return ByteRange(0, stored.size, stored.size)


async def _vouch(asked: Asked, stored: Stored, lane: Lane) -> None:
    """Before a range goes out: all of it was held against its digest, now or a short while ago. Raises BlobDamaged."""
    if _vouched.is_fresh(stored.file, stored.digest):
        return
    key = _vouched.key_of(stored.file, stored.digest)
    hasher = hashlib.sha256()
    gone = asyncio.ensure_future(asked.watch_for_end())
    pieces = stored.pieces(stored.file, _whole(stored))
    try:
        while await lane.run(_next, pieces, hasher, stored.digest):
            if gone.done():
                raise ClientGone
    finally:
        gone.cancel()
    if hasher.hexdigest() != stored.digest:
        raise BlobDamaged(digest=stored.digest)
    _vouched.remember(key)


def _read_small(stored: Stored) -> bytes:
    """All of it, held against its digest; in a thread. Raises BlobDamaged."""
    pieces = stored.pieces(stored.file, _whole(stored))
    hasher = hashlib.sha256()
    body = b"".join(iter(lambda: _next(pieces, hasher, stored.digest), b""))
    if hasher.hexdigest() != stored.digest:
        raise BlobDamaged(digest=stored.digest)
    return body


def _plan(asked: Asked, digest: str, size: int) -> tuple[list[tuple[bytes, bytes]], ByteRange | None]:
    common, etag = body_headers(digest)
    if asked.is_head:  # ranges are for GET (RFC 9110 §14.2)
        return common, None
    return common, pick_range(asked.header(b"range"), asked.header(b"if-range"), etag, size)


def _partial(headers: Headers, common: list[tuple[bytes, bytes]], wanted: ByteRange) -> Headers:
    """`Content-Digest` is of the content sent, and a part's is not known: it is left out."""
    kept = [line for line in common if line[0] != b"content-digest"]
    return (*headers, *kept, (b"content-range", wanted.content_range))


async def _send_pieces(asked: Asked, stored: Stored, wanted: ByteRange, lane: Lane) -> None:
    hasher = hashlib.sha256() if wanted.is_whole else None
    gone = asyncio.ensure_future(asked.watch_for_end())
    pieces = stored.pieces(stored.file, wanted)
    sent = 0
    try:
        while sent < wanted.length:
            piece = await lane.run(_next, pieces, hasher, stored.digest)
            sent += len(piece)
            is_last = sent >= wanted.length
            if not piece or (is_last and hasher is not None and hasher.hexdigest() != stored.digest):
                raise BlobDamaged(digest=stored.digest)
            if gone.done():
                raise ClientGone
            async with asyncio.timeout(_STUCK):
                await asked.send_piece(piece, is_last=is_last)
    finally:
        gone.cancel()


def _next(pieces: Iterator[bytes], hasher: hashlib._Hash | None, digest: str) -> bytes:
    """The next bytes; b"" where they end too early. In a thread. Raises BlobDamaged."""
    try:
        piece = next(pieces, b"")
    except AttachmentDamaged as why:
        raise BlobDamaged(digest=digest) from why
    if hasher is not None:
        hasher.update(piece)
    return piece


# --- where bytes come from -------------------------------------------------------------------------------------


def check_size(file: BinaryIO, size: int, digest: str) -> None:
    """Raises BlobDamaged, and closes the file, where it has another size than it should."""
    if os.fstat(file.fileno()).st_size != size:
        file.close()
        raise BlobDamaged(digest=digest)


def file_pieces(file: BinaryIO, wanted: ByteRange) -> Iterator[bytes]:
    """The bytes of a file."""
    file.seek(wanted.start)
    left = wanted.length
    while left and (piece := file.read(min(_PIECE, left))):
        left -= len(piece)
        yield piece


def decoded_pieces(file: BinaryIO, wanted: ByteRange, attachment: Attachment) -> Iterator[bytes]:
    """The bytes of one attachment out of a packet, decoded from its span while they are asked for."""
    at = 0
    for piece in open_decoded(file, attachment):
        part = piece[max(wanted.start - at, 0) : max(wanted.end - at, 0)]
        at += len(piece)
        if part:
            yield part
        if at >= wanted.end:
            return
