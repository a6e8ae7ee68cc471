"""Parcels: what an API process and its examiner hand each other, as bytes.

Pickle takes a frozen dataclass with slots apart by looking its fields up anew for each value, and a packet holds thirty
of them.  Here the fields of a class are looked up once, which halves both ends.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any

__all__ = ["open_parcel", "pack_parcel"]


def pack_parcel(content: object) -> bytes:
    """`content` as bytes that `open_parcel` reads, in a process of the same program."""
    written = io.BytesIO()
    _Packing(written, pickle.HIGHEST_PROTOCOL).dump(content)
    return written.getvalue()


def open_parcel(parcel: bytes) -> Any:
    """What was packed. Only for bytes of a process that this one started, or was started by: they can do anything.

    Raises what unpickling raises where they are no parcel.
    """
    return pickle.loads(parcel)  # noqa: S301 - see above


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
