"""Legal holds (giữ theo yêu cầu pháp lý): what must not go after its time, for whom and why.

A hold is on a document (with everything that followed it), on an agency (what it sent or was sent), or on a period.
Adding and ending one are events; the row stays for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from gateway.model.events import Event, EventKind
from gateway.model.instants import new_id
from gateway.model.states import Book
from gateway.store import events
from gateway.store.dialect import AloneAt, lock_alone
from gateway.store.months.partitions import Month
from gateway.store.schema import deliveries, packets
from gateway.store.schema_periods import holds

__all__ = ["Hold", "HoldKind", "add", "end", "every", "holding", "lock", "root_of"]


class HoldKind(StrEnum):
    """What a hold is on."""

    DOCUMENT = "document"  #: `value`: the root of its family
    AGENCY = "agency"  #: `value`: the agency's id
    PERIOD = "period"  #: `value`: months, as 2026-07/2026-09


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold: it stands while `ended_at` is None."""

    id: str
    kind: str
    value: str
    reason: str
    added_at: int
    added_by: str
    ended_at: int | None
    ended_by: str


def lock(connection: Connection) -> None:
    """Let nobody put a hold on, or unite families, until this transaction ends: what it looked at to let rows go is all
    that holds them, and a root that it read is its family's."""
    lock_alone(connection, AloneAt.HOLDING)


def add(connection: Connection, kind: HoldKind, value: str, reason: str, *, actor: str, at: int, now: int) -> Hold:
    """Put a hold on. The same twice makes two, and each must be ended. What goes meanwhile goes before, or stays."""
    lock(connection)
    row = {
        "id": new_id(), "kind": kind, "value": value, "reason": reason, "added_at": now, "added_by": actor,
        "ended_at": None, "ended_by": "",
    }  # fmt: skip
    connection.execute(insert(holds), row)
    hold = Hold(**row)  # type: ignore[arg-type]
    events.append(connection, [_event(EventKind.HOLD_ADDED, hold, actor, at)], now)
    return hold


_END = (
    update(holds)
    .where(holds.c.id == bindparam("b_id"), holds.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), ended_by=bindparam("who"))
)
_ONE = select(holds).where(holds.c.id == bindparam("b_id"))


def end(connection: Connection, hold_id: str, *, actor: str, at: int, now: int) -> bool:
    """End a hold; False where none of that id stands."""
    if connection.execute(_END, {"b_id": hold_id, "now": now, "who": actor}).rowcount != 1:
        return False
    hold = Hold(**connection.execute(_ONE, {"b_id": hold_id}).one()._mapping)
    events.append(connection, [_event(EventKind.HOLD_ENDED, hold, actor, at)], now)
    return True


def _event(kind: EventKind, hold: Hold, actor: str, at: int) -> Event:
    agency = hold.value if hold.kind == HoldKind.AGENCY else ""
    return Event(kind=kind, at=at, actor=actor, agency_id=agency, reason=f"{hold.id} {hold.kind} {hold.reason}")


_EVERY = select(holds).order_by(holds.c.id)
_STANDING = _EVERY.where(holds.c.ended_at.is_(None))


def every(connection: Connection, *, ended: bool = False) -> list[Hold]:
    """All holds that stand, the oldest first; with `ended`, those that were ended too."""
    return [Hold(**row._mapping) for row in connection.execute(_EVERY if ended else _STANDING)]


_ROOT = select(packets.c.root).where(
    or_(
        packets.c.id == bindparam("what"),
        and_(packets.c.document_id == bindparam("what"), packets.c.book == Book.DOCUMENTS),
    )
)


def root_of(connection: Connection, written: str) -> Sequence[str]:
    """The document families that a packet's id, or a DocumentId as written, leads to; statuses bear theirs as well."""
    return sorted({row.root for row in connection.execute(_ROOT, {"what": written})})


_OF_ROOT = (
    select(packets.c.id)
    .where(packets.c.root == bindparam("value"), packets.c.id >= bindparam("low"), packets.c.id < bindparam("high"))
    .limit(1)
)
_SENT = (
    select(packets.c.id)
    .where(
        packets.c.sender_id == bindparam("value"), packets.c.id >= bindparam("low"), packets.c.id < bindparam("high")
    )
    .limit(1)
)
_WAS_SENT = (
    select(deliveries.c.id)
    .where(
        deliveries.c.agency_id == bindparam("value"),
        deliveries.c.packet_id >= bindparam("low"),
        deliveries.c.packet_id < bindparam("high"),
    )
    .limit(1)
)


def holding(connection: Connection, month: Month) -> list[Hold]:
    """The holds that something of this month is under."""
    return [hold for hold in every(connection) if _holds(connection, hold, month)]


def _holds(connection: Connection, hold: Hold, month: Month) -> bool:
    if hold.kind == HoldKind.PERIOD:
        first, _, last = hold.value.partition("/")
        return first <= month.name <= (last or first)
    asked = (_OF_ROOT,) if hold.kind == HoldKind.DOCUMENT else (_SENT, _WAS_SENT)
    values = {"value": hold.value, "low": month.low, "high": month.high}
    return any(connection.execute(one, values).first() is not None for one in asked)
