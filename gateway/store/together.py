"""Changes of one transaction that go to the database together: one statement on PostgreSQL, whatever tables they touch.

    WITH w0 AS (UPDATE deliveries … RETURNING 1), w1 AS (INSERT INTO events … RETURNING 1)
    SELECT (SELECT count(*) FROM w0), (SELECT count(*) FROM w1)

What a statement costs beside its rows (a round trip, a plan, a turn of the interpreter's at both ends) is paid once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable

from gateway.store.statements import arrays_of, execute_rows, execute_text

__all__ = ["Together"]


@dataclass(slots=True)
class Together:
    """Changes that are gathered, then executed in the order in which they were added, each once per row.

    No two of them may change the same row, and none may need what another one writes: on PostgreSQL all of them see
    the rows as they were before the first.
    """

    _parts: list[tuple[Executable, Sequence[dict[str, Any]]]] = field(default_factory=list)

    def add(self, statement: Executable, rows: Sequence[dict[str, Any]]) -> int:
        """Add a change, nothing where there are no rows; gives its place in what `execute` gives, -1 for nothing."""
        if not rows:
            return -1
        self._parts.append((statement, rows))
        return len(self._parts) - 1

    def execute(self, connection: Connection) -> tuple[int, ...]:
        """Do them; gives for each how many rows of its table it changed or made. Empty afterwards."""
        parts, self._parts = self._parts, []
        merged = _merged(connection, parts) if len(parts) > 1 else None
        if merged is None:
            return tuple(execute_rows(connection, statement, rows) for statement, rows in parts)
        return execute_text(connection, *merged)[0]


def _merged(
    connection: Connection, parts: Sequence[tuple[Executable, Sequence[dict[str, Any]]]]
) -> tuple[str, dict[str, Any]] | None:
    """One statement for all, and its parameters; None where one of them must be done row by row."""
    texts: list[str] = []
    values: dict[str, Any] = {}
    for number, (statement, rows) in enumerate(parts):
        found = arrays_of(connection, statement, rows)
        if found is None:
            return None
        text, named = found
        texts.append(text)
        values |= {f"w{number}_{name}": value for name, value in named.items()}
    return _joined(tuple(texts)), values


@cache
def _joined(texts: tuple[str, ...]) -> str:
    named = [text.replace("%(", f"%(w{number}_") for number, text in enumerate(texts)]
    changes = ", ".join(f"w{number} AS ({text} RETURNING 1)" for number, text in enumerate(named))
    counts = ", ".join(f"(SELECT count(*) FROM w{number})" for number in range(len(texts)))  # noqa: S608 - names of our own
    return f"WITH {changes} SELECT {counts}"
