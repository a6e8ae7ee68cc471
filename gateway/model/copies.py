"""Copies of frozen values with other values for some fields, by a function that is written once for each class.

`dataclasses.replace` looks every field up at every copy and takes four times as long, and a delivery needs five copies
on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from edxml.values import plain_fields

__all__ = ["altered"]

_Value = TypeVar("_Value")


def altered(value: _Value, **changes: object) -> _Value:
    """A copy of a dataclass with slots alone, with other values for some of its fields; nothing is checked anew.

    Raises KeyError for a field that it does not have, TypeError for what is no such dataclass.
    """
    copy = _copier(type(value))  # type: ignore[arg-type]  # mypy asks the class's values whether they hash
    return cast(_Value, copy(value, changes))


@cache
def _copier(kind: type[Any]) -> Callable[[Any, Mapping[str, object]], Any]:
    names = [field.name for field in plain_fields(kind)]
    puts = {name: getattr(kind, name).__set__ for name in names}
    lines = [
        "def copy(value, changes):",
        "    made = new(kind)",
        *(f"    put_{name}(made, value.{name})" for name in names),
        "    for name in changes:",
        "        puts[name](made, changes[name])",
        "    return made",
    ]
    known = {"new": object.__new__, "kind": kind, "puts": puts, **{f"put_{name}": put for name, put in puts.items()}}
    exec("\n".join(lines), known)  # noqa: S102 - as dataclasses makes its own methods, of the names of fields alone
    return cast(Callable[[Any, Mapping[str, object]], Any], known["copy"])
