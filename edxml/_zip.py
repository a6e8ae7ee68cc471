"""Making a ZIP with one entry, as a stream: the wrapping that VNPT's library expects. Byte-stable."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

__all__ = ["zip_single"]

_ENTRY = b"tep"
_LATER = 0x0008  # sizes stand behind the data
_DEFLATED = 8
_MIDNIGHT_1980 = (0, 0x21)  # no time of day, 1980-01-01: the same file gives the same bytes
_LIMIT = 0xFFFFFFFF


def zip_single(data: Iterable[bytes]) -> Iterator[bytes]:
    """`data` as a ZIP with one deflated entry. Raises OverflowError at 4 GiB, which no packet may have."""
    time, day = _MIDNIGHT_1980
    fixed = struct.pack("<HHHHH", 20, _LATER, _DEFLATED, time, day)
    yield b"PK\x03\x04" + fixed + struct.pack("<IIIHH", 0, 0, 0, len(_ENTRY), 0) + _ENTRY
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc = size = packed = 0
    for piece in data:
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        if out := deflater.compress(piece):
            packed += len(out)
            yield out
    out = deflater.flush()
    packed += len(out)
    if max(size, packed) >= _LIMIT:
        raise OverflowError("too large for a ZIP without extensions")
    sizes = struct.pack("<III", crc, packed, size)
    start = 30 + len(_ENTRY) + packed + 16
    central = (
        b"PK\x01\x02" + struct.pack("<H", 20) + fixed + sizes
        + struct.pack("<HHHHHII", len(_ENTRY), 0, 0, 0, 0, 0, 0) + _ENTRY
    )  # fmt: skip
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), start, 0)
    yield out + b"PK\x07\x08" + sizes + central + end
