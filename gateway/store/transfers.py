"""Transfers: the queue. What is due, what moves do to them, splits (protocol §1, §3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Executable, Integer, and_, bindparam, func, insert, select, update

from edxml.values import hasten
from gateway.model.chain import Move, Reason, SinkSureness
from gateway.model.instants import new_id
from gateway.model.moves import TRANSFER_STATES
from gateway.model.states import DeliveryState, TransferState
from gateway.store.dialect import among, writes_beside_others
from gateway.store.months.bounds import low_of, since
from gateway.store.schema import EMPTY, ZERO, channels, deliveries, is_state, transfers
from gateway.store.statements import execute_rows, select_rows
from gateway.store.together import Together

__all__ = [
    "ChannelFacts", "Member", "NewTransfer", "TransferChange", "change_transfers", "channel_facts",
    "channel_facts_asked", "channel_facts_found", "forget_announced", "insert_new", "mark_announced", "members_asked",
    "members_found", "members_of", "set_counts",
    "split_transfer",
]  # fmt: skip


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransfer:
    """A transfer about to be written."""

    id: str
    packet_id: str
    channel_id: str
    state: TransferState
    members: int
    due_at: int | None
    is_urgent: bool
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferChange:
    """Moves of members of one transfer that has `members` open ones."""

    transfer_id: str
    members: int
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A delivery that hangs on a transfer."""

    id: str
    chain_id: str
    transfer_id: str
    organ: str  #: the recipient as the sender wrote it
    readdressed_from: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """What the machine must know of a leg's channel."""

    channel_id: str
    is_polled: bool
    sink: SinkSureness


# --- new ones, and what moves do to them ---------------------------------------------------------------------

_INSERT = insert(transfers).values(
    turn=ZERO, worker=EMPTY, tries=ZERO, unreported=ZERO, permits=ZERO, hops=ZERO, came_from=EMPTY
)


def insert_new(beside: Together, new: Sequence[NewTransfer]) -> None:
    """Write transfers at turn 0, with what is done `beside`."""
    rows = [
        {
            "id": t.id,
            "packet_id": t.packet_id,
            "channel_id": t.channel_id,
            "state": t.state,
            "members": t.members,
            "due_at": t.due_at,
            "is_urgent": t.is_urgent,
            "size": t.size,
        }
        for t in new
    ]
    beside.add(_INSERT, rows)


_IN_PLACE = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"))
    .values(
        state=bindparam("after"), turn=transfers.c.turn + bindparam("more"), due_at=bindparam("due"),
        announced_at=None, lease_until=None, worker="",
    )
)  # fmt: skip
_LEAVE = (
    update(transfers).where(transfers.c.id == bindparam("b_id")).values(members=transfers.c.members - bindparam("gone"))
)
_CLOSE_EMPTY = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"), transfers.c.members <= 0, ~is_state(transfers.c.state, "closed"))
    .values(state=TransferState.CLOSED, turn=transfers.c.turn + 1, lease_until=None, worker="")
)
_CLOSE = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"))
    .values(state=TransferState.CLOSED, turn=transfers.c.turn + 1, members=0, lease_until=None, worker="")
)
_REHANG = update(deliveries).where(deliveries.c.id == bindparam("b_delivery")).values(transfer_id=bindparam("transfer"))


def change_transfers(
    connection: Connection, changes: Sequence[TransferChange], now: int, beside: Together
) -> list[tuple[TransferChange, list[Move]]]:
    """Follow the moves of deliveries: what changes in place is added to `beside`; gives what `split_transfer` must do.

    All open members alike: the transfer itself moves, a turn more (rule 3).  All closed: it closes, a turn more.
    Otherwise the closed leave, and the rest of each kind gets a transfer of its own with a new key, because the old
    key would bring back the old answer (rule 1: shared only while predecessors are shared; rests of partial outcomes).
    """
    in_place: list[dict[str, Any]] = []
    closes: list[dict[str, Any]] = []
    splits: list[tuple[TransferChange, list[Move]]] = []
    for change in changes:
        closed = [move for move in change.moves if move.after.is_final]
        reopened = [move for move in change.moves if move.before.is_final and not move.after.is_final]
        stays = [move for move in change.moves if not move.after.is_final and move not in reopened]
        alike = len({move.after for move in stays}) == 1 and not any(_gets_new_key(move) for move in stays)
        if not reopened and not stays and len([m for m in closed if not m.before.is_final]) == change.members:
            closes.append({"b_id": change.transfer_id})
        elif not reopened and not closed and alike and len(stays) == change.members:
            in_place.append(_in_place_row(change.transfer_id, stays[0], now))
        else:
            _leave(connection, change, closed, splits, [*stays, *reopened])
    beside.add(_CLOSE, closes)
    beside.add(_IN_PLACE, in_place)
    return splits


def _gets_new_key(move: Move) -> bool:
    return move.reason is Reason.RESENT or bool(move.channel_id)


def _in_place_row(transfer_id: str, move: Move, now: int) -> dict[str, Any]:
    returns = move.after not in (DeliveryState.FETCHED, DeliveryState.CLAIMED)
    due = move.due_at if move.due_at is not None else now
    return {
        "b_id": transfer_id,
        "after": TRANSFER_STATES[move.after],
        "more": int(returns),
        "due": due if move.after is DeliveryState.READY else None,
    }


def _leave(
    connection: Connection,
    change: TransferChange,
    closed: list[Move],
    splits: list[tuple[TransferChange, list[Move]]],
    others: list[Move],
) -> None:
    """Members leave a shared transfer: closed ones for good, the others into transfers of their own, kind by kind."""
    leaving = sum(not move.before.is_final for move in [*closed, *others])
    if leaving:
        connection.execute(_LEAVE, [{"b_id": change.transfer_id, "gone": leaving}])
    kinds: dict[tuple[DeliveryState, str], list[Move]] = defaultdict(list)
    for move in others:
        kinds[move.after, move.channel_id].append(move)
    splits += [(change, moves) for moves in kinds.values()]
    connection.execute(_CLOSE_EMPTY, [{"b_id": change.transfer_id}])


_INSERT_WHOLE = insert(transfers)  # all of a row is copied, its turn too
_ONE = select(transfers).where(transfers.c.id == bindparam("b_id"))


def split_transfer(connection: Connection, change: TransferChange, moves: Sequence[Move], now: int) -> None:
    """Give members that moved otherwise than the others a transfer of their own."""
    old = connection.execute(_ONE, {"b_id": change.transfer_id}).one()
    row = dict(old._mapping)
    due = moves[0].due_at if moves[0].due_at is not None else now
    is_ready = moves[0].after is DeliveryState.READY
    row |= {
        "id": new_id(),
        "channel_id": moves[0].channel_id or old.channel_id,
        "state": TRANSFER_STATES[moves[0].after],
        "turn": old.turn + 1,  # attempts name their turn: it never repeats along a delivery's transfers
        "members": len(moves),
        "due_at": due if is_ready else None,
        "announced_at": None,
        "lease_until": None,
        "worker": "",
    }
    connection.execute(_INSERT_WHOLE, [row])
    connection.execute(_REHANG, [{"b_delivery": move.delivery_id, "transfer": row["id"]} for move in moves])


_COUNTS = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"))
    .values(tries=func.coalesce(bindparam("tries_", type_=Integer), transfers.c.tries),
            permits=func.coalesce(bindparam("permits_", type_=Integer), transfers.c.permits), unreported=0)
)  # fmt: skip


def set_counts(beside: Together, counts: Sequence[tuple[str, int | None, int | None]]) -> None:
    """(transfer, tries, permits): a worker reported, so unreported claims are counted anew (rule 8). None keeps.

    Written with what is done `beside`, before that.  Of several counts of one transfer each number's last one holds.
    """
    last: dict[str, tuple[int | None, int | None]] = {}
    for transfer_id, tries, permits in counts:
        former = last.get(transfer_id, (None, None))
        last[transfer_id] = (former[0] if tries is None else tries, former[1] if permits is None else permits)
    beside.add_before(_COUNTS, [{"b_id": i, "tries_": t, "permits_": p} for i, (t, p) in last.items()])


# --- announced ------------------------------------------------------------------------------------------------

_ANNOUNCED = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"), transfers.c.turn == bindparam("b_turn"))
    .values(announced_at=bindparam("now"))
)


def mark_announced(connection: Connection, tickets: Iterable[tuple[str, int]], now: int) -> None:
    """Note when (transfer, turn) was confirmed as announced."""
    rows = [{"b_id": transfer_id, "b_turn": turn, "now": now} for transfer_id, turn in sorted(tickets)]
    if rows:
        execute_rows(connection, _ANNOUNCED, rows)


_IS_ANNOUNCED = and_(
    is_state(transfers.c.state, "ready"), transfers.c.announced_at > 0,
    (transfers.c.channel_id == bindparam("channel")) | (bindparam("channel") == ""),
)  # fmt: skip
_FORGET = update(transfers).where(_IS_ANNOUNCED).values(announced_at=None)
_held = select(transfers.c.id).where(_IS_ANNOUNCED).order_by(transfers.c.id).with_for_update().cte("held")
_FORGET_IN_ORDER = update(transfers).where(transfers.c.id == _held.c.id).values(announced_at=None)


def forget_announced(connection: Connection, channel_id: str = "") -> None:
    """Nobody holds tickets of this channel (of any) any more: the relay picks them again now, not in a minute.

    Where somebody does, his ticket and a second one say the same, and one of them finds nothing to claim.
    """
    statement = _FORGET_IN_ORDER if writes_beside_others(connection) else _FORGET  # as claims lock them
    connection.execute(statement, {"channel": channel_id})


_CHANNEL_FACTS = select(channels.c.id, channels.c.is_polled, channels.c.sink).where(among(channels.c.id, "ids"))


def channel_facts(connection: Connection, channel_ids: Iterable[str]) -> list[ChannelFacts]:
    """What is said of these channels by their rows in this transaction."""
    return channel_facts_found(select_rows(connection, *channel_facts_asked(channel_ids)))


def channel_facts_asked(channel_ids: Iterable[str]) -> tuple[Executable, Mapping[str, object]]:
    """What `channel_facts` asks, for a trip with others."""
    return _CHANNEL_FACTS, {"ids": list(channel_ids)}


def channel_facts_found(rows: Iterable[Any]) -> list[ChannelFacts]:
    """The answer to it."""
    return [
        ChannelFacts(channel_id=row.id, is_polled=row.is_polled, sink=SinkSureness.stored(row.sink)) for row in rows
    ]


# --- what hangs on them ---------------------------------------------------------------------------------------

_MEMBERS = (
    select(
        deliveries.c.id, deliveries.c.chain_id, deliveries.c.transfer_id, deliveries.c.organ,
        deliveries.c.readdressed_from, deliveries.c.state,
    )
    .where(among(deliveries.c.transfer_id, "ids"), since(deliveries.c.id))
    .order_by(deliveries.c.transfer_id, deliveries.c.id)
)  # fmt: skip


def members_of(
    connection: Connection, transfer_ids: Sequence[str], packet_ids: Iterable[str] = ()
) -> dict[str, list[Member]]:
    """Every delivery that hangs on these transfers now, by transfer.

    `packet_ids`: the packets of these transfers, which tell in which months to look; none: in all.
    """
    return members_found(select_rows(connection, *members_asked(transfer_ids, packet_ids)))


def members_asked(
    transfer_ids: Sequence[str], packet_ids: Iterable[str] = ()
) -> tuple[Executable, Mapping[str, object]]:
    """What `members_of` asks, for a trip with others."""
    return _MEMBERS, {"ids": list(transfer_ids), "low": low_of(packet_ids)}


def members_found(rows: Iterable[Any]) -> dict[str, list[Member]]:
    """The answer to it."""
    found: dict[str, list[Member]] = defaultdict(list)
    for row in rows:
        found[row.transfer_id].append(Member(**row._asdict()))
    return found
