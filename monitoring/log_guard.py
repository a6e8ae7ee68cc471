"""What a log line may say: the keys that it may have, and the shape that each one's value must have.

A key that is not on the list is dropped; a value that does not have its key's shape is withheld.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

__all__ = ["KEYS", "WITHHELD", "Shape", "guard_line"]

WITHHELD: Final = "(withheld)"
"""What stands in place of a value that does not have its key's shape."""


class Shape(StrEnum):
    """What a value may look like. None of them lets a sentence, an address or a number of a person through."""

    UUID = "uuid"  #: an id of ours
    DIGESTED = "digested"  #: an id of ours, or else the start of the value's digest: senders write document ids
    SLUG = "slug"  #: an id from our own tables: a UUID, or starts with a letter and holds no blank and no @
    CODE = "code"  #: noun.reason
    FIGURE = "figure"  #: a number, or yes and no
    PLACE = "place"  #: module.py:123
    CLASS = "class"  #: a Python class
    TIME = "time"  #: ISO 8601 with a zone
    ROUTE = "route"  #: a template of a path
    ADDRESS = "address"  #: host:port of a service of the operator's own


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}"
_PATTERNS: Mapping[Shape, re.Pattern[str]] = {
    Shape.UUID: re.compile(_UUID),
    Shape.DIGESTED: re.compile(_UUID),
    Shape.SLUG: re.compile(rf"[a-z][a-z0-9._\-]{{0,63}}|{_UUID}"),
    Shape.CODE: re.compile(r"[a-z][a-z_]{0,40}(\.[a-z][a-z0-9_]{0,40}){0,2}"),
    Shape.PLACE: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\.py:\d{1,6}"),
    Shape.CLASS: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}"),
    Shape.TIME: re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{8,15}(Z|[+-]\d\d:\d\d)"),
    Shape.ROUTE: re.compile(r"/[a-z0-9_/{}.\-]{0,80}"),
    Shape.ADDRESS: re.compile(r"(?:[A-Za-z0-9.\-]{1,253}|\[?[0-9A-Fa-f:]{2,45}\]?):\d{1,5}"),
}

KEYS: Mapping[str, Shape] = {
    "timestamp": Shape.TIME,
    "level": Shape.CODE,
    "event": Shape.CODE,
    "module": Shape.SLUG,
    "hop": Shape.CODE,
    "outcome": Shape.CODE,
    "reason": Shape.CODE,
    "cause": Shape.CODE,
    "ms": Shape.FIGURE,
    "packet": Shape.UUID,
    "delivery": Shape.UUID,
    "transfer": Shape.UUID,
    "document": Shape.DIGESTED,
    "system": Shape.SLUG,
    "agency": Shape.SLUG,
    "channel": Shape.SLUG,
    "queue": Shape.SLUG,
    "process": Shape.SLUG,
    "link": Shape.SLUG,
    "address": Shape.ADDRESS,
    "state": Shape.CODE,
    "repair": Shape.CODE,
    "alert": Shape.CODE,
    "turn": Shape.FIGURE,
    "count": Shape.FIGURE,
    "bytes": Shape.FIGURE,
    "port": Shape.FIGURE,
    "pid": Shape.FIGURE,
    "status": Shape.FIGURE,
    "route": Shape.ROUTE,
    "error": Shape.CLASS,
    "place": Shape.PLACE,
}
"""Every key that a line may have, and the shape of its value."""


def guard_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """What may be said of a line, in the list's order: the rest is dropped, a wrong shape withheld. Never raises."""
    kept: dict[str, Any] = {}
    for key, check in _checks_of(tuple(line)):
        value = line[key]
        if value is not None:
            kept[key] = check(value)
    return kept


def _figure(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (bool, int, float)) and abs(value) < 1e15 else WITHHELD


@lru_cache(maxsize=len(Shape))
def _remembering(shape: Shape) -> Callable[[str], re.Match[str] | None]:
    """Whether a text has this shape, remembered for all keys of the shape together: a crowd of values costs a process
    some hundred kilobytes at most."""
    fits = _PATTERNS[shape].fullmatch
    return lru_cache(maxsize=_REMEMBERED)(fits) if shape in _FEW else fits


def _check_of(shape: Shape) -> Callable[[Any], str | int | float | bool]:
    """What gives a value back that has this shape, and what stands in its place for any other."""
    if shape is Shape.FIGURE:
        return _figure
    fits, remembering = _PATTERNS[shape].fullmatch, _remembering(shape)

    def check(value: Any) -> str:
        text = value if isinstance(value, str) else type(value).__name__ if shape is Shape.CLASS else _plain(value)
        if (remembering if len(text) <= _LONGEST_REMEMBERED else fits)(text) is not None:
            return text
        if shape is Shape.DIGESTED and isinstance(value, str):
            return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return WITHHELD

    return check


_FEW: Final = frozenset({Shape.CODE, Shape.SLUG, Shape.ROUTE})
"""Shapes whose values are a few, said again and again."""

_REMEMBERED: Final = 512
"""Values of such a shape whose look is remembered: the codes and channels of a province, with room."""

_LONGEST_REMEMBERED: Final = 128
"""Characters of a value that is remembered: none of these shapes but a route's holds more."""


def _plain(value: Any) -> str:
    """Ids come as `UUID` objects too; everything else that is no text has no shape."""
    return str(value) if type(value).__name__ == "UUID" else WITHHELD


_CHECKS: Final = tuple((key, _check_of(shape)) for key, shape in KEYS.items())


@lru_cache(maxsize=256)
def _checks_of(keys: tuple[str, ...]) -> tuple[tuple[str, Callable[[Any], str | int | float | bool]], ...]:
    """Of a line with these keys those that may be said, in the list's order: what the code says again and again."""
    return tuple((key, check) for key, check in _CHECKS if key in keys)
