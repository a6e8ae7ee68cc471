"""Many rows in one statement on PostgreSQL: a statement for one row, with an array for each of its parameters.

    UPDATE t SET a = %(after)s WHERE t.id = %(b_id)s
    UPDATE t SET a = v."after" FROM unnest(%(after)s::text[], …) AS v ("after", "b_id") WHERE t.id = v."b_id"

One round trip, one plan and one text whatever the number of rows, so that the server keeps the plan.  Rows are taken in
their order.  An array goes to the server as its text, made a column at a time: an array of the driver's own costs some
microseconds an element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec

__all__ = ["Arrays", "array", "as_arrays", "picker"]

_PLACE: Final = re.compile(r"%\((?P<name>\w+)\)s(?:::(?P<kind>DOUBLE PRECISION|[A-Z]+))?")
_VALUES: Final = re.compile(r" VALUES \((?P<values>.*?)\)(?P<rest>$| ON CONFLICT .*$)", re.DOTALL)
_FROM: Final = {"UPDATE": "FROM", "DELETE": "USING"}
_KINDS: Final[Mapping[type, str | None]] = {
    bool: "BOOLEAN", int: "BIGINT", bytes: "BYTEA", float: "DOUBLE PRECISION", type(None): None,
}  # fmt: skip
_write: Final = msgspec.json.Encoder().encode


def array(values: Sequence[Any]) -> str:
    """An array as PostgreSQL reads it, of texts, whole numbers, truth values and None."""
    # JSON writes all of these as PostgreSQL does, but for what follows a backslash.
    told = _write(values).decode()
    if "\\" in told:
        told = f"[{','.join(map(_element, values))}]"
    return f"{{{told[1:-1]}}}"


def _element(value: Any) -> str:
    if isinstance(value, str):
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return _write(value).decode()


def _array_of_bytes(values: Sequence[bytes | None]) -> str:
    return "{" + ",".join("null" if value is None else f'"\\\\x{value.hex()}"' for value in values) + "}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """The statement for many rows. `key`: parameters that together name what a row changes; empty for new rows."""

    text: str
    columns: tuple[tuple[str, Callable[[Sequence[Any]], str]], ...]
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]  #: a row's values, in the order of `columns`
    key: Callable[[Mapping[str, Any]], Any] | None

    def of(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The parameters of these rows; None where two of them may change the same row, one after the other."""
        if self.key is not None and len(set(map(self.key, rows))) < len(rows):
            return None
        columns = zip(*map(self.pick, rows), strict=True)
        return {name: make(values) for (name, make), values in zip(self.columns, columns, strict=True)}


def as_arrays(text: str, row: Mapping[str, Any]) -> Arrays | None:
    """The same for many rows like `row`. What changes rows must find them by the first parameter of its WHERE.

    None where the statement is of no form that is known: then it is executed row by row.
    """
    kinds: dict[str, str | None] = {}
    for found in _PLACE.finditer(text):
        if found["name"] in row:
            kinds[found["name"]] = found["kind"] or kinds.get(found["name"]) or _kind_of(row[found["name"]])
    given = ", ".join(f"%({name})s::{kind}[]" for name, kind in kinds.items())
    rows = f"unnest({given}) AS v ({', '.join(map(_quoted, kinds))})"

    def place(part: str) -> str:
        return _PLACE.sub(lambda found: f"v.{_quoted(found['name'])}" if found["name"] in kinds else found[0], part)

    verb = text.split(None, 1)[0]
    found_by = _PLACE.search(text, text.rfind(" WHERE "))
    key = found_by["name"] if found_by and found_by["name"] in row else ""
    if None in kinds.values():
        return None
    if verb == "INSERT" and (values := _VALUES.search(text)) and kinds:
        made = " ".join([text[: values.start()], "SELECT", place(values["values"]), "FROM", rows + values["rest"]])
    elif verb in _FROM and text.count("WHERE") == 1 and key:
        head, condition = text.split("WHERE")
        made = f"{place(head)}{_FROM[verb]} {rows} WHERE{place(condition)}"
    else:
        return None
    return Arrays(
        text=made,
        columns=tuple((name, _array_of_bytes if kind == "BYTEA" else array) for name, kind in kinds.items()),
        pick=picker(tuple(kinds)),
        key=None if verb == "INSERT" else itemgetter(key),
    )


def picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """What picks the values of these names, in their order."""
    if len(names) == 1:
        (only,) = names
        return lambda row: (row[only],)
    return itemgetter(*names) if names else lambda _row: ()


def _quoted(name: str) -> str:
    return f'"{name}"'


def _kind_of(value: Any) -> str | None:
    return _KINDS.get(type(value), "TEXT")
