"""Roll-ups: how many deliveries of an agency are in a state, kept in the transaction that changes the states.

The rows are few and everybody adds to them.  Where others write at the same time they are added to at the very end of
a transaction, in one order: whoever waits for one then waits for a commit, and never two for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from gateway.store.dialect import upsert_counts
from gateway.store.schema import rollups
from gateway.store.statements import execute_rows

__all__ = ["add_counts", "count", "counting"]

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
    """Add what was put off; the commit must follow."""
    _add(connection, connection.get_execution_options()[_PUT_OFF])


def _add(connection: Connection, sums: Mapping[tuple[str, str, str], int]) -> None:
    rows = [
        {"agency_id": agency_id, "book": book, "state": state, "count": change}
        for (agency_id, book, state), change in sorted(sums.items())
        if change
    ]
    if rows:
        adding = upsert_counts(connection.dialect.name, rollups, ("agency_id", "book", "state"), "count")
        execute_rows(connection, adding, rows)
