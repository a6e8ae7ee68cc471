"""Deliveries: making them, doing the machine's moves, counting them.

`apply` does exactly what the machine decided: it changes states only from the state that the decision saw, keeps
the transfers beside them (split, closed, a turn more), the roll-ups and one event per move, in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import BigInteger, Connection, bindparam, func, insert, select, update

from edxml.values import hasten
from gateway.model.chain import Link, Move, Reason
from gateway.model.events import Event, EventKind, kind_of_state
from gateway.model.moves import HOLDERS, check_move
from gateway.model.states import Book, DeliveryState
from gateway.store import events
from gateway.store.dialect import lock_rows
from gateway.store.months import listed
from gateway.store.months.bounds import among_ids, of_row
from gateway.store.rollups import add_counts_beside, count
from gateway.store.schema import EMPTY, ZERO, channels, deliveries, packets, transfers
from gateway.store.statements import execute_one, select_one, select_rows
from gateway.store.statuses import FURTHER
from gateway.store.together import Together, TooFew
from gateway.store.transfers import TransferChange, change_transfers, split_transfer

__all__ = [
    "Facts", "NewDelivery", "Party", "StaleMove", "agencies_of", "apply", "count", "insert_new", "note_status",
    "parties_of",
]  # fmt: skip


class StaleMove(Exception):
    """A row was not in the state that a decision saw: somebody moved it without the chain's lock. Run the hop again."""


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery about to be written with its first move's result."""

    link: Link
    chain_id: str
    position: int
    agency_id: str
    organ: str
    book: str
    reason: str
    leg: str
    at: int
    actor: str
    is_urgent: bool = False
    readdressed_from: str = ""


# --- new deliveries ------------------------------------------------------------------------------------------

_INSERT = insert(deliveries).values(
    was=EMPTY, detail=EMPTY, status_code=EMPTY, owes=EMPTY, polled_at=ZERO, served_until=ZERO
)


def insert_new(
    connection: Connection,
    new: Sequence[NewDelivery],
    *,
    now: int,
    happened: Sequence[Event] = (),
    beside: Together | None = None,
) -> None:
    """Write deliveries with the state of their link; one `delivery.planned` event each, after what `happened` before.

    Transfers come separately.  `beside`: other changes, of other rows, to be done before and in the same go.
    """
    for delivery in new:
        check_move(None, delivery.link.state)
    together = beside or Together()
    together.add(_INSERT, [_new_row(delivery, now) for delivery in new])
    events.append(connection, [*happened, *map(_planned, new)], now, beside=together)
    together.execute(connection)
    listed.note(connection, [d.link.delivery_id for d in new if d.link.state in listed.LISTED], now)
    count(connection, [(d.agency_id, d.book, d.link.state, 1) for d in new])


def _new_row(delivery: NewDelivery, now: int) -> dict[str, Any]:
    link = delivery.link
    return {
        "id": link.delivery_id,
        "packet_id": link.packet_id,
        "chain_id": delivery.chain_id,
        "position": delivery.position,
        "transfer_id": link.transfer_id,
        "agency_id": delivery.agency_id,
        "organ": delivery.organ,
        "book": delivery.book,
        "kind": link.kind,
        "state": link.state,
        "reason": delivery.reason,
        "holder": HOLDERS[link.state],
        "since": now,
        "accepted_at": link.accepted_at,
        "head_since": None if link.state is DeliveryState.WAITING else now,
        "adds_recipient": link.adds_recipient,
        "leg": delivery.leg,
        "readdressed_from": delivery.readdressed_from,
        "document": link.document,
        "copy": link.copy,
        "replaces": "\n".join(link.replaces),
        "is_urgent": delivery.is_urgent,
    }


def _planned(delivery: NewDelivery) -> Event:
    return Event(
        kind=EventKind.DELIVERY_PLANNED,
        at=delivery.at,
        actor=delivery.actor,
        book=delivery.book,
        packet_id=delivery.link.packet_id,
        delivery_id=delivery.link.delivery_id,
        agency_id=delivery.agency_id,
        state_after=delivery.link.state,
        holder_after=HOLDERS[delivery.link.state],
        reason=delivery.reason,
    )


# --- moves ---------------------------------------------------------------------------------------------------

_FACTS = (
    select(
        deliveries.c.id, deliveries.c.agency_id, deliveries.c.book, deliveries.c.packet_id, deliveries.c.transfer_id,
        transfers.c.members, channels.c.speaks_for_agency,
    )
    .select_from(deliveries.join(transfers, transfers.c.id == of_row(deliveries.c.transfer_id))
                 .join(channels, transfers.c.channel_id == channels.c.id))
    .where(among_ids(deliveries.c.id))
)  # fmt: skip
_MOVE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("b_id"), deliveries.c.state == bindparam("b_before"))
    .values(
        state=bindparam("after"),
        was=bindparam("b_before"),
        reason=bindparam("why"),
        detail=bindparam("more"),
        holder=bindparam("who"),
        since=bindparam("now"),
        owes=bindparam("report"),
        head_since=func.coalesce(bindparam("head", type_=BigInteger), deliveries.c.head_since),
        served_until=func.coalesce(bindparam("until", type_=BigInteger), deliveries.c.served_until),
    )
)


_ANEW = (Reason.RELEASED, Reason.RESENT)
"""An operator lets it go on: its time limit starts again, else the next sweep would close it at once (rules 7, 9)."""


class Facts(Protocol):
    """What a move must know of its delivery and of the transfer and channel that carry it."""

    @property
    def agency_id(self) -> str: ...
    @property
    def book(self) -> str: ...
    @property
    def packet_id(self) -> str: ...
    @property
    def transfer_id(self) -> str: ...
    @property
    def members(self) -> int: ...
    @property
    def speaks_for_agency(self) -> bool: ...


def apply(
    connection: Connection,
    moves: Sequence[Move],
    *,
    now: int,
    at: int,
    actor: str,
    facts: Mapping[str, Facts] | None = None,
    hidden: Mapping[str, int] | None = None,
    beside: Together | None = None,
    is_last: bool = False,
    commits: bool = False,
) -> None:
    """Do the machine's moves. Raises StaleMove where a row is not in the state that the decision saw.

    Several moves of one delivery are done in order, each with its own event.  `facts`: of deliveries whose rows were
    read in this transaction already.  `hidden`: until when other polls are not shown an item from its first move on.
    `beside`: other changes, of other rows, to be done in the same go.  `is_last`: nothing that waits for others' rows
    follows in this transaction, so the roll-ups may go along.  `commits`: nothing at all does, so the commit may too.
    """
    known, until, together = facts or {}, hidden or {}, beside or Together()
    while moves:
        first: dict[str, Move] = {}
        rest: list[Move] = []
        for move in moves:
            if move.delivery_id in first:
                rest.append(move)
            else:
                first[move.delivery_id] = move
        missing = [delivery_id for delivery_id in first if delivery_id not in known]
        found = {row.id: row for row in select_rows(connection, _FACTS, {"ids": missing})} if missing else {}
        ends = (is_last and not rest, commits and not rest)
        _apply_once(connection, tuple(first.values()), {**known, **found}, until, together, now, at, actor, *ends)
        moves, known, until, together = rest, {}, {}, Together()
    together.execute(connection)


def _apply_once(
    connection: Connection,
    moves: Sequence[Move],
    facts: Mapping[str, Facts],
    hidden: Mapping[str, int],
    together: Together,
    now: int,
    at: int,
    actor: str,
    is_last: bool,
    commits: bool,
) -> None:
    for move in moves:
        check_move(move.before, move.after, across=move.reason is Reason.MOVED)
    in_order = sorted(moves, key=lambda move: move.delivery_id)
    rows = [_move_row(move, facts[move.delivery_id], hidden.get(move.delivery_id), now) for move in in_order]
    moved = together.add(_MOVE, rows)
    splits = change_transfers(connection, _transfer_changes(moves, facts), now, together)
    events.append(
        connection, [_event(move, facts[move.delivery_id], at, actor) for move in moves], now, beside=together
    )
    come = [move.delivery_id for move in moves if move.after in listed.LISTED and move.before not in listed.LISTED]
    count(connection, [one for move in moves for one in _counts(move, facts[move.delivery_id])])
    is_last = is_last and not come and not splits
    if is_last:
        add_counts_beside(connection, together)
    try:
        done = together.execute(connection, last=moved if is_last and commits else -1)[moved]
    except TooFew as why:
        raise StaleMove(f"of {len(moves)} deliveries some were moved by somebody else") from why
    if done != len(moves):
        raise StaleMove(f"{len(moves) - done} of {len(moves)} deliveries were moved by somebody else")
    listed.note(connection, come, now)
    for change, parting in splits:
        split_transfer(connection, change, parting, now)


def _counts(move: Move, row: Facts) -> tuple[tuple[str, str, str, int], ...]:
    return (row.agency_id, row.book, move.before, -1), (row.agency_id, row.book, move.after, 1)


def _becomes_head(move: Move) -> bool:
    return (move.before is DeliveryState.WAITING and move.after is not DeliveryState.WAITING) or move.reason in _ANEW


def _move_row(move: Move, row: Facts, until: int | None, now: int) -> dict[str, Any]:
    return {
        "b_id": move.delivery_id,
        "b_before": move.before,
        "after": move.after,
        "why": move.reason,
        "more": move.detail,
        "who": HOLDERS[move.after],
        "now": now,
        "report": _report_owed(move, row),
        "head": now if _becomes_head(move) else None,
        "until": until,
    }


def _report_owed(move: Move, row: Facts) -> str:
    """Software that cannot speak statuses: the node owes the sender 01 "đã đến" once the document is delivered."""
    arrived = move.after is DeliveryState.DELIVERED and row.book == Book.DOCUMENTS and row.speaks_for_agency
    return "01" if arrived else ""


def _transfer_changes(moves: Sequence[Move], facts: Mapping[str, Facts]) -> list[TransferChange]:
    """What the moves of deliveries do to the transfers that carry them."""
    by_transfer: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        by_transfer[facts[move.delivery_id].transfer_id].append(move)
    return [
        TransferChange(transfer_id=transfer_id, members=facts[group[0].delivery_id].members, moves=tuple(group))
        for transfer_id, group in by_transfer.items()
    ]


def _event(move: Move, row: Facts, at: int, actor: str) -> Event:
    return Event(
        kind=kind_of_state(move.after, move.reason),
        at=at,
        actor=move.actor or actor,
        book=row.book,
        packet_id=row.packet_id,
        delivery_id=move.delivery_id,
        agency_id=row.agency_id,
        state_after=move.after,
        holder_after=HOLDERS[move.after],
        reason=move.detail or move.reason,
    )


# --- beside the machine --------------------------------------------------------------------------------------

_AGENCIES = select(deliveries.c.agency_id).where(among_ids(deliveries.c.id)).distinct()


def agencies_of(connection: Connection, delivery_ids: Iterable[str]) -> list[str]:
    """The recipients of these deliveries."""
    return [row.agency_id for row in select_rows(connection, _AGENCIES, {"ids": list(delivery_ids)})]


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Whom a delivery concerns: agencies by id."""

    delivery_id: str
    packet_id: str
    document_id: str
    sender_id: str
    agency_id: str


_PARTIES = (
    select(deliveries.c.id, deliveries.c.packet_id, packets.c.document_id, packets.c.sender_id, deliveries.c.agency_id)
    .join_from(deliveries, packets, packets.c.id == of_row(deliveries.c.packet_id))
    .where(among_ids(deliveries.c.id))
)


def parties_of(connection: Connection, delivery_ids: Iterable[str]) -> list[Party]:
    """Sender and recipient of each of these deliveries."""
    return [
        Party(
            delivery_id=row.id, packet_id=row.packet_id, document_id=row.document_id,
            sender_id=row.sender_id, agency_id=row.agency_id,
        )
        for row in select_rows(connection, _PARTIES, {"ids": list(delivery_ids)})
    ]  # fmt: skip


_STATUS = select(deliveries.c.status_code).where(deliveries.c.id == bindparam("b_id"))
_NOTE_STATUS = update(deliveries).where(deliveries.c.id == bindparam("b_id")).values(status_code=bindparam("code"))


def note_status(connection: Connection, delivery_id: str, code: str) -> None:
    """Keep the furthest business status beside the delivery; what comes late or again changes nothing."""
    lock_rows(connection, _STATUS, {"b_id": delivery_id})
    old = select_one(connection, _STATUS, {"b_id": delivery_id})
    if old is not None and FURTHER.index(code) > FURTHER.index(old):
        execute_one(connection, _NOTE_STATUS, {"b_id": delivery_id, "code": code})
