"""Changes of one transaction that go to the database together: one statement on PostgreSQL, whatever tables they touch.

    WITH w0 AS (UPDATE deliveries … RETURNING 1), w1 AS (INSERT INTO events … RETURNING 1)
    SELECT (SELECT count(*) FROM w0), (SELECT count(*) FROM w1)

What a statement costs beside its rows (a round trip, a plan, a turn of the interpreter's at both ends) is paid once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError

from gateway.store.statements import arrays_of, execute_rows, execute_texts

__all__ = ["Together", "TooFew"]

_DIVIDED_BY_ZERO: Final = "22012"


class TooFew(Exception):
    """A change did not find all its rows; the transaction is to be rolled back."""


@dataclass(slots=True)
class Together:
    """Changes that are gathered, then executed in the order in which they were added, each once per row.

    No two of them may change the same row, and none may need what another one writes: on PostgreSQL all of them see
    the rows as they were before the first.
    """

    _parts: list[tuple[Executable, Sequence[dict[str, Any]]]] = field(default_factory=list)
    _before: list[tuple[Executable, Sequence[dict[str, Any]]]] = field(default_factory=list)

    def add_before(self, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
        """Add a change that is done before all others, of rows that these may change too; it is not counted."""
        if rows:
            self._before.append((statement, rows))

    def add(self, statement: Executable, rows: Sequence[dict[str, Any]]) -> int:
        """Add a change, nothing where there are no rows; gives its place in what `execute` gives, -1 for nothing."""
        if not rows:
            return -1
        self._parts.append((statement, rows))
        return len(self._parts) - 1

    def execute(self, connection: Connection, *, last: int = -1) -> tuple[int, ...]:
        """Do them; gives for each how many rows of its table it changed or made. Empty afterwards.

        `last`: the transaction executes nothing after this, and may be committed in the same trip if the change of
        that place found a row for each of its rows; raises TooFew where it did not, and the commit was to go along.
        """
        parts, self._parts = self._parts, []
        before, self._before = self._before, []
        merged = _merged(connection, parts, last) if len(parts) > 1 or last >= 0 else None
        first = [arrays_of(connection, statement, rows) for statement, rows in before] if merged else [None]
        if merged is None or None in first:
            for statement, rows in before:
                execute_rows(connection, statement, rows)
            first = []
        if merged is None:
            return tuple(execute_rows(connection, statement, rows) for statement, rows in parts)
        trip = [*(one for one in first if one is not None), merged]
        try:
            return execute_texts(connection, trip, is_last=last >= 0)[0][: len(parts)]
        except DBAPIError as why:
            if last >= 0 and getattr(why.orig, "sqlstate", None) == _DIVIDED_BY_ZERO:
                raise TooFew from why
            raise


def _merged(
    connection: Connection, parts: Sequence[tuple[Executable, Sequence[dict[str, Any]]]], whole: int
) -> tuple[str, dict[str, Any]] | None:
    """One statement for all, and its parameters; None where one of them must be done row by row.

    `whole`: the place of the change that must find as many rows as it has; -1: none must.
    """
    texts: list[str] = []
    values: dict[str, Any] = {}
    for number, (statement, rows) in enumerate(parts):
        found = arrays_of(connection, statement, rows)
        if found is None:
            return None
        text, named = found
        texts.append(text)
        values.update(zip(_names_in(number, tuple(named)), named.values(), strict=True))
    if whole >= 0:
        values["whole"] = len(parts[whole][1])
    return _joined(tuple(texts), whole), values


@cache
def _names_in(number: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """What these parameters are called in the part of that number."""
    return tuple(f"w{number}_{name}" for name in names)


@cache
def _joined(texts: tuple[str, ...], whole: int) -> str:
    named = [text.replace("%(", f"%(w{number}_") for number, text in enumerate(texts)]
    changes = ", ".join(f"w{number} AS ({text} RETURNING 1)" for number, text in enumerate(named))
    counts = ", ".join(f"(SELECT count(*) FROM w{number})" for number in range(len(texts)))  # noqa: S608 - names of our own
    if whole >= 0:  # else it fails, and with it all that is behind it in the trip
        counts += f", 1 / ((SELECT count(*) FROM w{whole}) = %(whole)s::bigint)::integer"  # noqa: S608 - as above
    return f"WITH {changes} SELECT {counts}"
