"""Intake's own memory: things whose taking-in began and never ended (rule 8), and keys as refusals name them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, delete, select

from gateway.store.dialect import upsert_counts
from gateway.store.handle import Store
from gateway.store.schema import deliveries, intake_faults

__all__ = ["begin", "deliveries_of_key", "end"]

_COUNT = select(intake_faults.c.count).where(intake_faults.c.key == bindparam("b_key"))
_END = delete(intake_faults).where(intake_faults.c.key == bindparam("b_key"))
_OF_KEY = select(deliveries.c.id, deliveries.c.agency_id).where(deliveries.c.transfer_id == bindparam("key"))


def begin(store: Store, key: str) -> int:
    """Note that the intake of one thing begins; how often it has begun without ending."""
    with store.write() as connection:
        name = connection.dialect.name
        connection.execute(upsert_counts(name, intake_faults, ("key",), "count"), {"key": key, "count": 1})
        return int(connection.execute(_COUNT, {"b_key": key}).scalar_one())


def end(store: Store, key: str) -> None:
    """It ended, whatever came of it."""
    with store.write() as connection:
        connection.execute(_END, {"b_key": key})


def deliveries_of_key(store: Store, key: str, agency_ids: Collection[str]) -> list[str]:
    """Deliveries that were handed over under a delivery key, as far as they are of these agencies."""
    with store.read() as connection:
        return [row.id for row in connection.execute(_OF_KEY, {"key": key}) if row.agency_id in agency_ids]
