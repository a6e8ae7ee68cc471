"""Roll-ups: how many deliveries of an agency are in a state, kept in the transaction that changes the states.

The rows are few and everybody adds to them.  Where others write at the same time they are added to at the very end of
a transaction, in one order: whoever waits for one then waits for a commit, and never two for each other.  Where the
hop knows which statement is its last one they go with that (`add_counts_beside`): one round trip less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, Integer, Text, Update, collate, column, func, select, true, values

from gateway.store.dialect import upsert_counts, writes_beside_others
from gateway.store.schema import rollups
from gateway.store.statements import execute_one, execute_rows, select_rows
from gateway.store.together import Together

__all__ = ["add_counts", "add_counts_beside", "count", "counting", "move_and_count"]

_PUT_OFF = "truc_counts"
_KEYS = ("agency_id", "book", "state")


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


def move_and_count(
    connection: Connection, change: Update, given: Mapping[str, Any], before: str, after: str, *, is_last: bool = False
) -> None:
    """Do a change that moves deliveries from one state to another, giving (agency, book) of each, and count them.

    One statement where others write at the same time, whose last part are the roll-ups: nothing that waits for others'
    rows may follow.  `is_last`: nothing at all does.
    """
    if writes_beside_others(connection):
        execute_one(connection, _moving(connection.dialect.name, change, before, after), given, is_last=is_last)
        return
    moved = select_rows(connection, change, given)
    count(connection, [(*row, state, more) for row in moved for state, more in ((before, -1), (after, 1))])


@cache
def _moving(name: str, change: Update, before: str, after: str) -> Executable:
    """Its roll-ups are added to in the order in which `_rows` has them."""
    moved = change.cte("moved")
    told = values(column("state", Text), column("change", Integer), name="told", literal_binds=True)
    told = told.data([(before, -1), (after, 1)])
    keys = (moved.c.agency_id, moved.c.book, told.c.state)
    sums = (
        select(*keys, func.sum(told.c.change).label("count"))
        .select_from(moved.join(told, true()))
        .group_by(*keys)
        .order_by(*(collate(key, "C") for key in keys))
    )
    return upsert_counts(name, rollups, _KEYS, "count", sums)


def _add(connection: Connection, sums: Mapping[tuple[str, str, str], int]) -> None:
    if rows := _rows(sums):
        execute_rows(connection, _adding(connection), rows)


def _adding(connection: Connection) -> Executable:
    return upsert_counts(connection.dialect.name, rollups, _KEYS, "count")


def _rows(sums: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    return [
        {"agency_id": agency_id, "book": book, "state": state, "count": change}
        for (agency_id, book, state), change in sorted(sums.items())
        if change
    ]
