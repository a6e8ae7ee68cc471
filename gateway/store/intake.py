"""Intake's own memory: things whose taking-in began and never ended (rule 8)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, select

from gateway.store.dialect import upsert_counts
from gateway.store.schema import intake_faults

__all__ = ["begin", "begun", "end"]

_COUNTS = select(intake_faults.c.key, intake_faults.c.count).where(
    intake_faults.c.key.in_(bindparam("b_keys", expanding=True))
)
_END = delete(intake_faults).where(intake_faults.c.key.in_(bindparam("b_keys", expanding=True)))


def begin(connection: Connection, keys: Sequence[str]) -> None:
    """Note that the intake of these things begins."""
    statement = upsert_counts(connection.dialect.name, intake_faults, ("key",), "count")
    connection.execute(statement, [{"key": key, "count": 1} for key in keys])


def begun(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """How often the intake of each thing has begun without ending; only those that have."""
    rows = connection.execute(_COUNTS, {"b_keys": list(keys)})
    return {key: int(count) for key, count in rows}


def end(connection: Connection, keys: Sequence[str]) -> None:
    """They ended, whatever came of them."""
    connection.execute(_END, {"b_keys": list(keys)})
