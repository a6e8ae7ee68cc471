"""Sending stored bytes: whole or a range, in pieces, checked against their digest while they go out.

What does not match its digest is never sent whole: a small packet is looked at before its first byte, of a large one
the last piece is held back until the sum is known, and the connection breaks off instead (protocol §5).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from typing import BinaryIO

from gateway.api.asked import Asked, ClientGone, Headers
from gateway.api.lanes import Lane
from gateway.api.ranges import ByteRange, pick_range
from gateway.model.errors import BlobDamaged

__all__ = ["XML", "body_headers", "send_file", "send_small"]

XML = b"application/xml"
_PIECE = 256 * 1024
_STUCK = 60.0
_LONGEST = 55 * 60.0
"""Seconds that one response may take; below the hour after which its attempt counts as over."""


def body_headers(digest: str) -> tuple[list[tuple[bytes, bytes]], str]:
    """Headers that every answer with stored bytes carries, and its entity tag."""
    etag = f'"{digest}"'
    content = base64.b64encode(bytes.fromhex(digest)).decode()
    return [
        (b"etag", etag.encode()),
        (b"content-digest", f"sha-256=:{content}:".encode()),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"private, no-store"),
    ], etag


async def send_small(asked: Asked, body: bytes, digest: str, kind: bytes, headers: Headers) -> None:
    """Send bytes that are in memory. Raises BlobDamaged before the first byte, RangeNotSatisfiable."""
    if hashlib.sha256(body).hexdigest() != digest:
        raise BlobDamaged(digest=digest)
    common, etag = body_headers(digest)
    wanted = pick_range(asked.header(b"range"), asked.header(b"if-range"), etag, len(body))
    if wanted is None:
        await asked.answer(200, body, kind=kind, headers=(*headers, *common))
        return
    await asked.answer(206, body[wanted.start : wanted.end], kind=kind, headers=_partial(headers, common, wanted))


def _partial(headers: Headers, common: list[tuple[bytes, bytes]], wanted: ByteRange) -> Headers:
    """`Content-Digest` is of the content sent, and a part's is not known: it is left out."""
    kept = [line for line in common if line[0] != b"content-digest"]
    return (*headers, *kept, (b"content-range", wanted.content_range))


async def send_file(
    asked: Asked, file: BinaryIO, size: int, digest: str, lane: Lane, kind: bytes, headers: Headers
) -> None:
    """Send a file, whole or the range asked for; closes it. Raises BlobDamaged where a whole one is not what it was
    (then its last piece was not sent), RangeNotSatisfiable, ClientGone, TimeoutError for a caller that takes nothing.
    """
    with file:
        if os.fstat(file.fileno()).st_size != size:
            raise BlobDamaged(digest=digest)
        common, etag = body_headers(digest)
        wanted = pick_range(asked.header(b"range"), asked.header(b"if-range"), etag, size)
        if wanted is None:
            await asked.begin(200, kind, size, (*headers, *common))
            wanted = ByteRange(0, size, size)
        else:
            await asked.begin(206, kind, wanted.length, _partial(headers, common, wanted))
        if asked.is_head:
            await asked.send_piece(b"", is_last=True)
            return
        async with asyncio.timeout(_LONGEST):
            await _send_pieces(asked, file, wanted, digest, lane)


async def _send_pieces(asked: Asked, file: BinaryIO, wanted: ByteRange, digest: str, lane: Lane) -> None:
    hasher = hashlib.sha256() if wanted.is_whole else None
    gone = asyncio.ensure_future(asked.watch_for_end())
    at = wanted.start
    try:
        while at < wanted.end:
            piece = await lane.run(_read, file, at, min(_PIECE, wanted.end - at), hasher)
            at += len(piece)
            is_last = at >= wanted.end
            if not piece or (is_last and hasher is not None and hasher.hexdigest() != digest):
                raise BlobDamaged(digest=digest)
            if gone.done():
                raise ClientGone
            async with asyncio.timeout(_STUCK):
                await asked.send_piece(piece, is_last=is_last)
    finally:
        gone.cancel()


def _read(file: BinaryIO, at: int, length: int, hasher: hashlib._Hash | None) -> bytes:
    piece = os.pread(file.fileno(), length, at)
    if hasher is not None:
        hasher.update(piece)
    return piece
