"""Claims and leases: a worker takes transfers by one conditional update, keeps them while it lives (protocol §3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, Text, bindparam, cast, exists, func, select, update

from gateway.model.states import ChannelState, DeliveryState, TransferState
from gateway.store.dialect import SERVER_NOW, among, lock_and_select
from gateway.store.months.bounds import low_of, since
from gateway.store.rollups import move_and_count
from gateway.store.schema import channels, deliveries, transfers
from gateway.store.schema_recoveries import NOT_RECOVERING
from gateway.store.statements import execute_rows

__all__ = ["Taken", "claim", "renew_leases"]


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
    `is_last`: the transaction executes nothing after this, and may be committed in the same trip.
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
