"""Statuses that the node still has to report for agencies, and what it needs to build them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, select, update

from gateway.model.events import Event, EventKind
from gateway.store import events
from gateway.store.schema import deliveries, documents, packets

__all__ = ["Owed", "note_failure", "of_delivery", "of_key", "owing", "paid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One delivery with what a status about it must say."""

    delivery_id: str
    packet_id: str
    agency_id: str
    organ: str  #: the agency as the sender wrote it
    owes: str
    since: int
    sender_organ: str
    document_id: str
    notation: str
    promulgated: date | None  #: many systems match a status by issuer, day and number/notation


_COLUMNS = (
    deliveries.c.id, deliveries.c.packet_id, deliveries.c.agency_id, deliveries.c.organ, deliveries.c.owes,
    deliveries.c.since, packets.c.sender_organ, packets.c.document_id, packets.c.notation,
    documents.c.notation.label("dated"),
)  # fmt: skip
_FROM = deliveries.join(packets, deliveries.c.packet_id == packets.c.id).outerjoin(
    documents, packets.c.document_key == documents.c.key
)
_OWING = (
    select(*_COLUMNS)
    .select_from(_FROM)
    .where(deliveries.c.owes != literal_column("''"))
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)
_ONE = select(*_COLUMNS).select_from(_FROM).where(deliveries.c.id == bindparam("b_id"))
_PAID = update(deliveries).where(deliveries.c.id == bindparam("b_id")).values(owes="")


def _owed(row: Any) -> Owed:
    return Owed(
        delivery_id=row.id,
        packet_id=row.packet_id,
        agency_id=row.agency_id,
        organ=row.organ,
        owes=row.owes,
        since=row.since,
        sender_organ=row.sender_organ,
        document_id=row.document_id,
        notation=row.notation,
        promulgated=_day(row.dated),
    )


def _day(dated: str | None) -> date | None:
    """The day in a document's notation key: issuer, day, number/notation, each folded."""
    pieces = (dated or "").split("|", 2)
    return date.fromisoformat(pieces[1]) if len(pieces) == 3 and pieces[1] else None


def owing(connection: Connection, most: int) -> list[Owed]:
    """Deliveries that owe a status, oldest first."""
    return [_owed(row) for row in connection.execute(_OWING, {"most": most})]


def of_delivery(connection: Connection, delivery_id: str) -> Owed | None:
    """What a status about one delivery must say."""
    row = connection.execute(_ONE, {"b_id": delivery_id}).one_or_none()
    return None if row is None else _owed(row)


_OF_KEY = select(*_COLUMNS).select_from(_FROM).where(deliveries.c.transfer_id == bindparam("key"))


def of_key(connection: Connection, key: str) -> list[Owed]:
    """What statuses about the deliveries under one delivery key must say."""
    return [_owed(row) for row in connection.execute(_OF_KEY, {"key": key})]


def paid(connection: Connection, delivery_id: str) -> None:
    """The status is on its way, or can never be."""
    connection.execute(_PAID, {"b_id": delivery_id})


def note_failure(connection: Connection, owed: Owed, code: str, now: int, actor: str) -> None:
    """A status that could not be reported is an event, never silence."""
    failed = Event(
        kind=EventKind.PACKET_REFUSED, at=now, actor=actor, packet_id=owed.packet_id, delivery_id=owed.delivery_id,
        agency_id=owed.agency_id, reason=code,
    )  # fmt: skip
    events.append(connection, [failed], now)
