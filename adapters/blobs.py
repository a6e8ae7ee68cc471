"""A packet's bytes out of our own store, never given away whole unless they are the ones that were accepted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from adapters.contract import HandOver

__all__ = ["BlobUnread", "check_blob", "read_checked"]

_CHUNK: Final = 1 << 18


class BlobUnread(Exception):
    """Our own store failed, never the recipient's side: `reason` is `blob.missing` or `blob.damaged`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_checked(item: HandOver, chunk: int = _CHUNK) -> Iterator[bytes]:
    """The packet in pieces of at most `chunk` bytes; the last one only after digest and size turned out right.

    So whoever passes the pieces on cannot complete a damaged packet.  Memory does not grow with the packet.  Raises
    BlobUnread, and what `item.open` raises of ours.
    """
    seen = hashlib.sha256()
    size = 0
    held = b""
    with _open(item) as source:
        while piece := _read(source, chunk):
            size += len(piece)
            if size > item.size:
                raise BlobUnread("blob.damaged")
            if held:
                yield held
            seen.update(piece)
            held = piece
    if seen.hexdigest() != item.digest or size != item.size:
        raise BlobUnread("blob.damaged")
    if held:
        yield held


def check_blob(item: HandOver) -> None:
    """Read all of it and pass nothing on. Raises as `read_checked`."""
    for _ in read_checked(item):
        pass


def _open(item: HandOver) -> BinaryIO:
    try:
        return item.open()
    except FileNotFoundError as error:
        raise BlobUnread("blob.missing") from error
    except OSError as error:
        raise BlobUnread("blob.damaged") from error


def _read(source: BinaryIO, chunk: int) -> bytes:
    try:
        return source.read(chunk)
    except OSError as error:
        raise BlobUnread("blob.damaged") from error
