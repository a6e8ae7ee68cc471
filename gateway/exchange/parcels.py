"""Parcels: what an API process and its examiner hand each other, as bytes.

Pickle takes a frozen dataclass with slots apart by looking its fields up anew for each value, and a packet holds thirty
of them.  Here the fields of a class are looked up once, which halves both ends.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, BinaryIO, Final

__all__ = ["Carrier", "open_parcel", "pack_parcel"]

_SIZE: Final = struct.Struct("!Q")
_SPAN: Final = struct.Struct("ll")  # struct timeval


def pack_parcel(content: object, written: BinaryIO) -> None:
    """Write `content` as bytes that `open_parcel` reads, in a process of the same program."""
    _Packing(written, pickle.HIGHEST_PROTOCOL).dump(content)


def open_parcel(parcel: bytes | memoryview) -> Any:
    """What was packed. Only for bytes of a process that this one started, or was started by: they can do anything.

    Raises what unpickling raises where they are no parcel.
    """
    return pickle.loads(parcel)  # noqa: S301 - see above


class Carrier:
    """One end of a pair of sockets, over which two processes hand each other parcels.

    All that go are written into one piece of memory, all that come are read into another, and each stays as large as
    the largest of them: a new one for each would be mapped page by page, and that takes ten times as long as its bytes.
    """

    def __init__(self, end: socket.socket) -> None:
        """`end`: this carrier's own, blocking; it is closed with it."""
        self._end = end
        self._written = io.BytesIO()
        self._room = bytearray(_SIZE.size)

    def limit(self, seconds: float) -> None:
        """The longest that one read or write may take from now on."""
        span = _SPAN.pack(int(seconds), int(seconds % 1 * 1_000_000))
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def give(self, content: object) -> None:
        """Hand `content` over. Raises OSError where the other side has closed, or takes nothing in time."""
        self._written.seek(_SIZE.size)
        pack_parcel(content, self._written)
        end = self._written.tell()
        with self._written.getbuffer() as memory, memory[:end] as sized:
            _SIZE.pack_into(sized, 0, end - _SIZE.size)
            self._end.sendall(sized)  # at once: of a size alone the other side would wake up for nothing

    def take(self) -> Any:
        """What the other side hands over next.

        Raises EOFError where it has closed, OSError where nothing comes in time, and what `open_parcel` raises.
        """
        (size,) = _SIZE.unpack(self._fill(_SIZE.size))
        if size > len(self._room):
            self._room = bytearray(size)
        return open_parcel(self._fill(size))

    def _fill(self, size: int) -> memoryview:
        """The next bytes, in this carrier's memory until more are read."""
        filled = left = memoryview(self._room)[:size]
        while left:
            try:
                came = self._end.recv_into(left)
            except ConnectionResetError:  # closed, and something that we gave was never taken
                came = 0
            if not came:
                raise EOFError("the other side has closed")
            left = left[came:]
        return filled

    def close(self) -> None:
        """Close this end. Safe to repeat."""
        self._end.close()


class _Packing(pickle.Pickler):
    """The pickler, with a short way for dataclasses."""

    def reducer_override(self, value: Any) -> Any:
        """Called for what pickle has no way of its own for."""
        take = _taking(type(value))  # type: ignore[arg-type]  # mypy asks the class's values whether they hash
        return NotImplemented if take is None else (_make, (type(value), take(value)))


@cache
def _taking(kind: type[Any]) -> Callable[[Any], Any] | None:
    """How to take a dataclass's values out, in the order of its fields; None for what is none, or not slots alone."""
    if not is_dataclass(kind) or kind.__dictoffset__:
        return None
    names = [field.name for field in fields(kind)]
    return attrgetter(*names) if len(names) > 1 else lambda value: tuple(getattr(value, name) for name in names)


@cache
def _setting(kind: type[Any]) -> tuple[Callable[[Any, Any], None], ...]:
    """What puts a value into each slot, also of a frozen one."""
    return tuple(getattr(kind, field.name).__set__ for field in fields(kind))


def _make(kind: type[Any], values: tuple[Any, ...]) -> Any:
    """The value again; it was checked when it was first made."""
    made: Any = object.__new__(kind)
    for put, value in zip(_setting(kind), values, strict=True):  # type: ignore[arg-type]  # as above
        put(made, value)
    return made
