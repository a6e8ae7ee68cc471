"""Notices: what a sender is told of its deliveries besides their state: withdrawn, expired, parked, refused, late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from gateway.store.months.bounds import among_ids
from gateway.store.schema import notices, packets

__all__ = ["Notice", "tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell the sender of a packet; `code` is a message code."""

    id: str
    packet_id: str
    delivery_id: str
    code: str
    at: int


_SENDERS = select(packets.c.id, packets.c.sender_id).where(among_ids(packets.c.id))
_INSERT = insert(notices)


def tell(connection: Connection, told: Sequence[Notice]) -> None:
    """Write notices to the senders of their packets."""
    if not told:
        return
    senders = {row.id: row.sender_id for row in connection.execute(_SENDERS, {"ids": [n.packet_id for n in told]})}
    connection.execute(
        _INSERT,
        [
            {
                "id": n.id,
                "agency_id": senders[n.packet_id],
                "packet_id": n.packet_id,
                "delivery_id": n.delivery_id,
                "code": n.code,
                "at": n.at,
            }
            for n in told
        ],
    )
