"""Work that began and never ended (rule 8): noted before it begins, so that what takes a process with it is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, select

from gateway.store.dialect import among, upsert_counts
from gateway.store.schema import intake_faults
from gateway.store.statements import execute_one, execute_rows, select_rows

__all__ = ["begin", "begun", "end"]

_COUNTS = select(intake_faults.c.key, intake_faults.c.count.label("times")).where(among(intake_faults.c.key, "keys"))
_END = delete(intake_faults).where(among(intake_faults.c.key, "keys"))


def begun(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """How often the work on each of these things began without an end; none where it never did."""
    return {row.key: row.times for row in select_rows(connection, _COUNTS, {"keys": list(keys)})}


def begin(connection: Connection, keys: Sequence[str]) -> None:
    """Note that the work on these things begins."""
    if keys:
        statement = upsert_counts(connection.dialect.name, intake_faults, ("key",), "count")
        execute_rows(connection, statement, [{"key": key, "count": 1} for key in keys])


def end(connection: Connection, keys: Iterable[str]) -> None:
    """It ended, whatever came of it."""
    execute_one(connection, _END, {"keys": list(keys)})
