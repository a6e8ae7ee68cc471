"""Business statuses: every one that was reported, in arrival order; views show the furthest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert

from gateway.model.instants import new_id
from gateway.store.schema import statuses

__all__ = ["FURTHER", "StatusRow", "record"]

FURTHER = ("", "01", "03", "04", "05", "06", "02", "13", "16", "15")
"""Codes in the order in which one outweighs another in a view; a refusal is never hidden by a repeat."""

_INSERT = insert(statuses)


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
