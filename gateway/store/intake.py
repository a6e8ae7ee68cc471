"""Intake's own memory: things whose taking-in began and never ended (rule 8)."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select

from gateway.store.dialect import upsert_counts
from gateway.store.schema import intake_faults

__all__ = ["begin", "end"]

_COUNT = select(intake_faults.c.count).where(intake_faults.c.key == bindparam("b_key"))
_END = delete(intake_faults).where(intake_faults.c.key == bindparam("b_key"))


def begin(connection: Connection, key: str) -> int:
    """Note that the intake of one thing begins; how often it has begun without ending."""
    statement = upsert_counts(connection.dialect.name, intake_faults, ("key",), "count")
    connection.execute(statement, {"key": key, "count": 1})
    return int(connection.execute(_COUNT, {"b_key": key}).scalar_one())


def end(connection: Connection, key: str) -> None:
    """It ended, whatever came of it."""
    connection.execute(_END, {"b_key": key})
