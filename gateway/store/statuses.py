"""Business statuses: every one that was reported, in arrival order; views show the furthest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, insert, select

from gateway.model.instants import new_id
from gateway.store.schema import deliveries, statuses

__all__ = ["FURTHER", "StatusRow", "is_reported", "record"]

FURTHER = ("", "01", "03", "04", "05", "06", "02", "13", "16", "15")
"""Codes in the order in which one outweighs another in a view; a refusal is never hidden by a repeat."""

_INSERT = insert(statuses)
_REPORTED = (
    select(statuses.c.id)
    .join(deliveries, deliveries.c.packet_id == statuses.c.document_packet_id)
    .where(deliveries.c.id == bindparam("b_delivery"), statuses.c.document_key == bindparam("b_document"))
    .where(statuses.c.reporter_id == bindparam("b_reporter"), statuses.c.code == bindparam("b_code"))
    .limit(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRow:
    """One reported status about one packet's document."""

    packet_id: str
    document_packet_id: str
    document_key: str
    reporter_id: str
    code: str
    description: str
    reported_at: int | None
    recorded_at: int
    by_node: bool


def record(connection: Connection, row: StatusRow) -> None:
    """Write it down; nothing is ever overwritten."""
    connection.execute(_INSERT, {"id": new_id(), **asdict(row)})


def is_reported(connection: Connection, delivery_id: str, document_key: str, reporter_id: str, code: str) -> bool:
    """Whether this agency has reported that code about the packet of the delivery, whatever it reported afterwards."""
    named = {"b_delivery": delivery_id, "b_document": document_key, "b_reporter": reporter_id, "b_code": code}
    return connection.execute(_REPORTED, named).first() is not None
