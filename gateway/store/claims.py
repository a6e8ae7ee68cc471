"""Claims and leases: a worker takes transfers by one conditional update, keeps them while it lives (protocol §3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Executable, Text, bindparam, cast, exists, func, select, update

from gateway.model.chain import Attempt, Link
from gateway.model.states import ChannelState, DeliveryState, TransferState
from gateway.store.chains import ATTEMPTS, LINKED, MADE, attempts_of, link_of
from gateway.store.dialect import SERVER_NOW, among, lock_and_select
from gateway.store.months.bounds import low_of, of_row, one_of, since
from gateway.store.packets import PacketRow, packets_asked, packets_found
from gateway.store.rollups import move_and_count
from gateway.store.schema import attempts, channels, deliveries, transfers
from gateway.store.schema_recoveries import NOT_RECOVERING
from gateway.store.statements import execute_rows, select_rows, select_together

__all__ = ["Carried", "Held", "Taken", "claim", "claimed_by", "read_held", "renew_leases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a claim says of a transfer."""

    turn: int
    packet_id: str


_WANTED = select(transfers.c.id).where(among(transfers.c.id, "ids")).order_by(transfers.c.id)
_IS_OPEN = exists().where(channels.c.id == transfers.c.channel_id, channels.c.state == ChannelState.OPEN)
_TICKET = transfers.c.id.concat(" ").concat(cast(transfers.c.turn, Text))
_CLAIM = (
    update(transfers)
    .where(among(transfers.c.id, "ids"), among(_TICKET, "tickets"), transfers.c.state == TransferState.READY)
    .where(NOT_RECOVERING, _IS_OPEN)
    .values(
        state=TransferState.CLAIMED,
        lease_until=func.coalesce(bindparam("now", type_=BigInteger), SERVER_NOW)
        + bindparam("lease", type_=BigInteger),
        worker=bindparam("by"),
        unreported=transfers.c.unreported + 1,
    )
    .returning(transfers.c.id, transfers.c.turn, transfers.c.packet_id)
)
_CLAIM_DELIVERIES = (
    update(deliveries)
    .where(among(deliveries.c.transfer_id, "ids"), since(deliveries.c.id), deliveries.c.state == DeliveryState.READY)
    .values(state=DeliveryState.CLAIMED, was=DeliveryState.READY)
    .returning(deliveries.c.agency_id, deliveries.c.book)
)


def claim(
    connection: Connection,
    tickets: Sequence[tuple[str, int]],
    *,
    worker: str,
    lease: int,
    now: int | None,
    is_last: bool = False,
) -> dict[str, Taken]:
    """Claim by one conditional update, with their members and roll-ups: the transfers that are ours now, by id.

    No row for a ticket means that somebody else has it, that it is no longer due, that its channel is not open, or that
    the node is recovering from a restore, when nothing is claimed at all (rule 13): forget the ticket.  So a row that
    is locked is waited for, never skipped: whoever holds it may only be changing what comes after it.
    The lease runs for `lease` microseconds from `now` by the store's clock; None: the server reads it as it claims.
    `worker`: who claims. `is_last`: the transaction executes nothing after this, and may be committed in the same trip.
    """
    wanted = sorted({transfer_id for transfer_id, _ in tickets})
    named = [f"{transfer_id} {turn}" for transfer_id, turn in tickets]
    asked = {"ids": wanted, "tickets": named, "now": now, "lease": lease, "by": worker}
    # in one order; a single row is locked by the update itself
    locking = (_WANTED, {"ids": wanted}) if len(wanted) > 1 else None
    [rows] = lock_and_select(connection, locking, [(_CLAIM, asked)])
    ours = {row.id: Taken(turn=int(row.turn), packet_id=row.packet_id) for row in rows}
    if ours:
        hanging = {"ids": list(ours), "low": low_of(taken.packet_id for taken in ours.values())}
        move_and_count(
            connection, _CLAIM_DELIVERIES, hanging, DeliveryState.READY, DeliveryState.CLAIMED, is_last=is_last
        )
    return ours


_OWN = (
    select(transfers.c.id, transfers.c.turn, transfers.c.packet_id)
    .where(among(transfers.c.id, "ids"), transfers.c.state == TransferState.CLAIMED,
           transfers.c.worker == bindparam("by"))
    .order_by(transfers.c.id)
)  # fmt: skip


def claimed_by(connection: Connection, transfer_ids: Iterable[str], worker: str) -> dict[str, Taken]:
    """Which of these transfers that one claimed and nobody took away, by id.

    Waits for whoever has their rows under its hands: that may be its own transaction, which lost its connection as it
    committed.
    """
    wanted = {"ids": sorted(transfer_ids)}
    [rows] = lock_and_select(connection, (_WANTED, wanted), [(_OWN, {**wanted, "by": worker})])
    return {row.id: Taken(turn=int(row.turn), packet_id=row.packet_id) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A delivery that hangs on a transfer."""

    chain_id: str
    link: Link
    organ: str  #: the recipient as the sender wrote it
    readdressed_from: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A transfer that was claimed, as it is now: what its worker must know."""

    id: str
    turn: int
    channel_id: str
    packet: PacketRow
    is_slow: bool  #: its channel is known to be
    open_until: int  #: its channel's breaker
    members: tuple[Carried, ...]


_MEMBERS = LINKED.add_columns(
    deliveries.c.organ, deliveries.c.readdressed_from, transfers.c.channel_id, transfers.c.is_urgent,
    channels.c.is_slow, channels.c.open_until,
).where(among(deliveries.c.transfer_id, "ids"), since(deliveries.c.id))  # fmt: skip
_IDS_OF = select(deliveries.c.id).where(among(deliveries.c.transfer_id, "ids"), since(deliveries.c.id))
_ATTEMPTS_OF = MADE.where(one_of(attempts.c.delivery_id, _IDS_OF)).order_by(of_row(attempts.c.id))
"""On PostgreSQL: by transfer, so that it needs not the answer of what finds the members."""


def read_held(
    connection: Connection, taken: Mapping[str, Taken], beside: tuple[Executable, Mapping[str, Any]]
) -> tuple[list[Held], list[Any]]:
    """These transfers with all that hangs on them, urgent ones first; one that nothing hangs on is left out.  And the
    rows of what was asked `beside`.

    The transaction executes nothing after it; on PostgreSQL it is one trip.
    """
    packet_ids = {one.packet_id for one in taken.values()}
    hanging = {"ids": list(taken), "low": low_of(packet_ids)}
    asked = [(_MEMBERS, hanging), packets_asked(packet_ids), beside]
    if connection.dialect.name == "sqlite":
        members, found, others = select_together(connection, asked)
        made = select_rows(connection, ATTEMPTS, {"ids": [row.id for row in members]})
    else:
        members, found, others, made = select_together(connection, [*asked, (_ATTEMPTS_OF, hanging)], is_last=True)
    begun, packets = attempts_of(connection, made), packets_found(found)
    by_transfer: dict[str, list[Any]] = defaultdict(list)
    for row in sorted(members, key=lambda row: (not row.is_urgent, row.transfer_id, row.id)):
        by_transfer[row.transfer_id].append(row)
    return [_held(rows, packets, begun) for rows in by_transfer.values()], others


def _held(rows: Sequence[Any], packets: Mapping[str, PacketRow], begun: Mapping[str, Sequence[Attempt]]) -> Held:
    one = rows[0]
    return Held(
        id=one.transfer_id,
        turn=one.turn,
        channel_id=one.channel_id,
        packet=packets[one.packet_id],
        is_slow=bool(one.is_slow),
        open_until=one.open_until,
        members=tuple(
            Carried(
                chain_id=row.chain_id, link=link_of(row, begun), organ=row.organ, readdressed_from=row.readdressed_from
            )
            for row in rows
        ),
    )


_RENEW = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"), transfers.c.turn == bindparam("b_turn"),
           transfers.c.state == TransferState.CLAIMED)
    .values(lease_until=bindparam("until"))
)  # fmt: skip


def renew_leases(connection: Connection, held: Iterable[tuple[str, int]], lease_until: int) -> None:
    """Keep claims while working; a claim that was taken away stays away."""
    rows = [{"b_id": transfer_id, "b_turn": turn, "until": lease_until} for transfer_id, turn in sorted(held)]
    if rows:
        execute_rows(connection, _RENEW, rows)
