"""Byte ranges (RFC 9110 §14): one range is served, several at once are answered whole, as the RFC allows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.api.problems import RangeNotSatisfiable

__all__ = ["ByteRange", "pick_range"]

_ONE = re.compile(r"\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to `end`, the end not included, of `size`."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.length == self.size

    @property
    def content_range(self) -> bytes:
        """The header's value."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}".encode()


def pick_range(wanted: str, if_range: str, etag: str, size: int) -> ByteRange | None:
    """The one range that the headers ask for; None where the whole is to be sent.

    A range that is not understood, or several, mean the whole; so does an `If-Range` that names another version.
    Raises RangeNotSatisfiable where the range lies outside.
    """
    if not wanted or (if_range and if_range.strip() != etag):
        return None
    found = _ONE.fullmatch(wanted)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
        if int(last) == 0:
            raise RangeNotSatisfiable("api.bad_range", size=size)
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable("api.bad_range", size=size)
    return ByteRange(start, end, size)
