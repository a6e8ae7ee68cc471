"""Roll-ups: how many deliveries of an agency are in a state, kept in the transaction that changes the states.

The rows are few and everybody adds to them.  Where others write at the same time they are added to at the very end of
a transaction, in one order: whoever waits for one then waits for a commit, and never two for each other.  Where the
hop knows which statement is its last one they go with that (`add_counts_beside`): one round trip less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Executable

from gateway.store.dialect import upsert_counts
from gateway.store.schema import rollups
from gateway.store.statements import execute_rows
from gateway.store.together import Together

__all__ = ["add_counts", "add_counts_beside", "count", "counting"]

_PUT_OFF = "truc_counts"


def counting() -> Mapping[str, Any]:
    """The option of a connection whose counts are put off until `add_counts`."""
    return {_PUT_OFF: Counter()}


def count(connection: Connection, changes: Iterable[tuple[str, str, str, int]]) -> None:
    """Add (agency, book, state, change) to the roll-ups, in the transaction that changes the states (protocol §2)."""
    put_off: Counter[tuple[str, str, str]] | None = connection.get_execution_options().get(_PUT_OFF)
    sums: Counter[tuple[str, str, str]] = Counter() if put_off is None else put_off
    for agency_id, book, state, change in changes:
        sums[agency_id, book, state] += change
    if put_off is None:
        _add(connection, sums)


def add_counts(connection: Connection) -> None:
    """Add what was put off, and commit where anything was; the commit must follow at once."""
    if rows := _rows(connection.get_execution_options()[_PUT_OFF]):
        execute_rows(connection, _adding(connection), rows, is_last=True)


def add_counts_beside(connection: Connection, together: Together) -> None:
    """Add what was put off as the last of what is done `together`; nothing that waits for others' rows may follow."""
    put_off: Counter[tuple[str, str, str]] | None = connection.get_execution_options().get(_PUT_OFF)
    if put_off:
        together.add(_adding(connection), _rows(put_off))
        put_off.clear()


def _add(connection: Connection, sums: Mapping[tuple[str, str, str], int]) -> None:
    if rows := _rows(sums):
        execute_rows(connection, _adding(connection), rows)


def _adding(connection: Connection) -> Executable:
    return upsert_counts(connection.dialect.name, rollups, ("agency_id", "book", "state"), "count")


def _rows(sums: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    return [
        {"agency_id": agency_id, "book": book, "state": state, "count": change}
        for (agency_id, book, state), change in sorted(sums.items())
        if change
    ]
