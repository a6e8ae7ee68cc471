"""A ZIP with exactly one entry, unpacked while it comes: VNPT's library wraps attachments in such ZIPs.

Whether there is a second entry is known only at the end, so the caller must not hand anything on before `finish`
said SINGLE.  The entry's name is never used.  What is taken for a file alone in its ZIP is so for every unpacker,
whether it reads from the front, as this does, or from the directory at the end: both must say the same of the one
entry, the directory must stand right behind it and the end record right behind that, and nothing may follow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from enum import StrEnum

__all__ = ["LOCAL_HEADER", "SingleEntry", "ZipVerdict"]

LOCAL_HEADER = b"PK\x03\x04"
_CENTRAL = b"PK\x01\x02"
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_FORM, _END64_FORM, _LOCATOR64_FORM = map(struct.Struct, ("<4sHHHHIIH", "<4sQHHIIQQQQ", "<4sIQI"))
_DESCRIPTORS = (0, 12, 16, 20, 24)  # sizes that a data descriptor may have
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_LATER = 0x0001, 0x0008
_ZIP64, _ZIP64_COUNT = 0xFFFFFFFF, 0xFFFF  # "see the 64-bit record"
_TAIL = 256 * 1024  # central directory of one entry, with its comments
_STEP = 256 * 1024
_RATIO_FROM = 16 << 20


class ZipVerdict(StrEnum):
    """What the bytes turned out to be."""

    SINGLE = "single"  #: one entry, whole and right: what was written out is the file
    SEVERAL = "several"
    ENCRYPTED = "encrypted"
    UNREADABLE = "unreadable"  #: damaged, cut, or a method we do not know
    BOMB = "bomb"  #: beyond the size or the ratio


class SingleEntry:
    """Unpacks into `write`, in pieces of at most 256 KiB, until it is clear that this is no such ZIP."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        max_size: int,
        max_ratio: int | None,
        before: tuple[int, int] = (0, 0),
    ) -> None:
        """`before` are the bytes, unzipped and zipped, of the packet's ZIPs so far: the ratio is that of all.

        `max_ratio` None is for what was judged before: in other pieces the ratio would be another on the way.
        """
        self._write = write
        self._max_size = max_size
        self._max_ratio = max_ratio
        self._written_before, self._read_before = before
        self._verdict: ZipVerdict | None = None
        self._buffer = b""
        self._inflater: zlib._Decompress | None = None
        self._stored_left = 0
        self._crc = 0
        self._read = 0
        self._fed = 0
        self._said = b""  # by the local header: flags, method and name
        self.length = 0  #: bytes written out
        self._step = self._header

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the ZIP."""
        if self._verdict is None:
            self._fed += len(data)
            self._step(data)

    @property
    def sums(self) -> tuple[int, int]:
        """Bytes of the packet's ZIPs up to here, unzipped and zipped: `before` of the next one."""
        return self._written_before + self.length, self._read_before + self._read

    def finish(self) -> ZipVerdict:
        """No more bytes come: what it was."""
        if self._verdict is None:
            self._verdict = self._judge_tail() if self._step == self._tail else ZipVerdict.UNREADABLE
        return self._verdict

    def _header(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 30:
            return
        flags, method = struct.unpack_from("<HH", self._buffer, 6)
        size, _, name, extra = struct.unpack_from("<IIHH", self._buffer, 18)
        if len(self._buffer) < 30 + name + extra:
            return
        self._said = self._buffer[6:10] + self._buffer[30 : 30 + name]
        rest, self._buffer = self._buffer[30 + name + extra :], b""
        if flags & _ENCRYPTED:
            self._verdict = ZipVerdict.ENCRYPTED
        elif method == _DEFLATED:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            self._step = self._deflated
            self._deflated(rest)
        elif method == _STORED and not flags & _SIZES_LATER and size != _ZIP64:
            self._stored_left = size
            self._step = self._stored
            self._stored(rest)
        else:
            self._verdict = ZipVerdict.UNREADABLE

    def _deflated(self, data: bytes) -> None:
        inflater = self._inflater
        assert inflater is not None
        self._read += len(data)
        try:
            while data and not inflater.eof and self._verdict is None:
                self._out(inflater.decompress(data, _STEP))
                data = inflater.unconsumed_tail
        except zlib.error:
            self._verdict = ZipVerdict.UNREADABLE
            return
        if inflater.eof:
            self._step = self._tail
            self._tail(inflater.unused_data)

    def _stored(self, data: bytes) -> None:
        self._read += len(data)
        self._out(data[: self._stored_left])
        rest = data[self._stored_left :]
        self._stored_left -= len(data) - len(rest)
        if not self._stored_left:
            self._step = self._tail
            self._tail(rest)

    def _out(self, data: bytes) -> None:
        self.length += len(data)
        written, read = self._written_before + self.length, self._read_before + self._read
        ratio = self._max_ratio
        if self.length > self._max_size or (ratio is not None and written > max(_RATIO_FROM, ratio * read)):
            self._verdict = ZipVerdict.BOMB
            return
        self._crc = zlib.crc32(data, self._crc)
        self._write(data)

    def _tail(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _TAIL:
            self._verdict = ZipVerdict.SEVERAL

    def _judge_tail(self) -> ZipVerdict:
        tail = self._buffer
        for start in _DESCRIPTORS:
            if tail.startswith(LOCAL_HEADER, start):
                return ZipVerdict.SEVERAL
            if tail.startswith(_CENTRAL, start) and len(tail) >= start + 46:
                break
        else:
            return ZipVerdict.UNREADABLE
        crc, _, size, name, extra, comment = struct.unpack_from("<IIIHHH", tail, start + 16)
        (offset,) = struct.unpack_from("<I", tail, start + 42)
        after = start + 46 + name + extra + comment
        if tail.startswith(_CENTRAL, after):
            return ZipVerdict.SEVERAL
        is_same = tail[start + 8 : start + 12] + tail[start + 46 : start + 46 + name] == self._said
        is_right = is_same and not offset and crc == self._crc and size in (self.length, _ZIP64)
        if is_right and _is_end(tail[after:], self._fed - len(tail) + start, after - start):
            return ZipVerdict.SINGLE
        return ZipVerdict.UNREADABLE


def _is_end(rest: bytes, directory: int, length: int) -> bool:
    """Whether `rest` is the end of a ZIP whose directory of one entry has this offset and length, and nothing else."""
    counts, sizes, offsets = {1}, {length}, {directory}
    if rest.startswith(_END64):
        start = _END64_FORM.size + _LOCATOR64_FORM.size
        if len(rest) < start:
            return False
        record = _END64_FORM.unpack_from(rest)
        locator = _LOCATOR64_FORM.unpack_from(rest, _END64_FORM.size)
        if record[6:] != (1, 1, length, directory):
            return False
        if locator[0] != _LOCATOR64 or locator[2] != directory + length:
            return False
        counts, sizes, offsets = counts | {_ZIP64_COUNT}, sizes | {_ZIP64}, offsets | {_ZIP64}
        rest = rest[start:]
    if len(rest) < _END_FORM.size:
        return False
    signature, _, _, here, total, size, offset, comment = _END_FORM.unpack_from(rest)
    is_right = signature == _END and {here, total} <= counts and size in sizes and offset in offsets
    return is_right and len(rest) == _END_FORM.size + comment and _END not in rest[_END_FORM.size :]
