"""Attempts: hand-overs that may have begun, one row per member of the transfer (protocol §4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from gateway.model.instants import new_id
from gateway.model.states import AttemptEnd, DeliveryState, TransferState
from gateway.store.dialect import among, lock_rows
from gateway.store.months.bounds import among_ids, one_of
from gateway.store.reckoning import Landing
from gateway.store.schema import attempts, chains, deliveries, transfers
from gateway.store.statements import execute_one, execute_rows, select_rows
from gateway.store.together import Together
from gateway.store.transfers import members_of
from gateway.store.witnesses import note

__all__ = ["Begun", "Ended", "begin_attempts", "end_attempts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An attempt to be begun for every open member of a transfer."""

    transfer_id: str
    turn: int
    landing: Landing


_INSERT_ATTEMPT = insert(attempts)
_STILL_OURS = (
    select(transfers.c.id, transfers.c.turn, transfers.c.permits, transfers.c.packet_id)
    .where(
        among(transfers.c.id, "ids"),
        transfers.c.state.in_([TransferState.CLAIMED, TransferState.FETCHED]),
    )
    .order_by(transfers.c.id)
    .with_for_update()
)
_HELD_MEMBERS = (DeliveryState.CLAIMED, DeliveryState.FETCHED)


def begin_attempts(connection: Connection, begun: Sequence[Begun], *, worker: str, now: int) -> frozenset[str]:
    """Commit attempts before the first byte goes out, only while claimed at that turn (protocol §4).

    Gives the transfers whose attempt was written; for any other, nothing may be sent.  One row per open member.
    Consumes a permit where one was given (rule 9).  The transfers' rows are locked: the fence against a new claim.
    """
    found = select_rows(connection, _STILL_OURS, {"ids": sorted(b.transfer_id for b in begun)})
    held = {(row.id, row.turn) for row in found}
    permitted = {row.id for row in found if row.permits}
    ours = [b for b in begun if (b.transfer_id, b.turn) in held]
    members = members_of(connection, [b.transfer_id for b in ours], [row.packet_id for row in found])
    rows = [
        {
            "id": new_id(),
            "delivery_id": member.id,
            "transfer_id": b.transfer_id,
            "turn": b.turn,
            "worker": worker,
            "began_at": now,
            **b.landing._asdict(),
            "outcome": None,
            "ended_at": None,
            "detail": "",
        }
        for b in ours
        for member in members[b.transfer_id]
        if member.state in _HELD_MEMBERS
    ]
    if rows:
        execute_rows(connection, _INSERT_ATTEMPT, rows)
        note(connection, rows[-1]["id"], rows[-1]["id"], now)
        used = [b.transfer_id for b in ours if b.transfer_id in permitted]
        if used:
            execute_one(connection, _NO_PERMIT, {"ids": used})
    return frozenset(str(row["transfer_id"]) for row in rows)


_NO_PERMIT = update(transfers).where(among(transfers.c.id, "ids")).values(permits=0)
_END = (
    update(attempts)
    .where(
        attempts.c.delivery_id == bindparam("b_delivery"),
        or_(bindparam("b_turn") < 0, attempts.c.turn == bindparam("b_turn")),
        or_(bindparam("b_key") == "", attempts.c.transfer_id == bindparam("b_key")),
        or_(attempts.c.outcome.is_(None), and_(attempts.c.outcome == AttemptEnd.UNKNOWN, bindparam("b_known") == 1)),
    )
    .values(outcome=bindparam("end"), ended_at=bindparam("now"), detail=bindparam("more"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How attempts of a delivery ended: that of `turn`, or every one in doubt (under `key`) where it is None."""

    delivery_id: str
    turn: int | None
    end: AttemptEnd
    key: str | None = None
    detail: str = ""


def end_attempts(beside: Together, ended: Sequence[Ended], now: int) -> None:
    """Write ends, with what is done `beside`. A known end never changes again; an unknown one may become known."""
    rows = [
        {
            "b_delivery": e.delivery_id,
            "b_turn": -1 if e.turn is None else e.turn,
            "b_key": e.key or "",
            "b_known": int(e.end is not AttemptEnd.UNKNOWN),
            "end": e.end,
            "now": now,
            "more": e.detail,
        }
        for e in ended
    ]
    beside.add(_END, rows)


# --- responses of polled channels ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response that begins: an attempt of a polled channel (protocol §10)."""

    id: str
    delivery_id: str
    transfer_id: str
    turn: int
    landing: Landing  #: until then other polls are not shown its item, unless it ends before


_SERVE = update(deliveries).where(deliveries.c.id == bindparam("b_id")).values(served_until=bindparam("until"))
_END_RESPONSE = (
    update(attempts)
    .where(attempts.c.id == bindparam("b_id"), attempts.c.outcome.is_(None))
    .values(outcome=AttemptEnd.UNKNOWN, ended_at=bindparam("now"), over_by=bindparam("now"), lasts=0, boot_over=0)
)
_DELIVERIES = select(attempts.c.delivery_id).where(among(attempts.c.id, "ids")).distinct()
_SERVED = (
    select(deliveries.c.id)
    .where(among_ids(deliveries.c.id), deliveries.c.served_until > 0)
    .order_by(deliveries.c.id)
)  # fmt: skip
_LOCK_CHAINS = (
    select(chains.c.id)
    .where(one_of(chains.c.id, select(deliveries.c.chain_id).where(among_ids(deliveries.c.id))))
    .order_by(chains.c.id)
)  # fmt: skip
_SHOW_AGAIN = update(deliveries).where(among_ids(deliveries.c.id), deliveries.c.served_until > 0).values(served_until=0)


def begin_responses(
    beside: Together, begun: Sequence[Response], moved: Collection[str], *, worker: str, now: int
) -> dict[str, int]:
    """Write them down before their first byte, with what is done `beside`, and hide their items from other polls.

    Gives until when each item is hidden; those of `moved` deliveries are for their move to write.
    """
    rows = [
        {
            "id": r.id,
            "delivery_id": r.delivery_id,
            "transfer_id": r.transfer_id,
            "turn": r.turn,
            "worker": worker,
            "began_at": now,
            **r.landing._asdict(),
            "outcome": None,
            "ended_at": None,
            "detail": "",
        }
        for r in begun
    ]
    beside.add(_INSERT_ATTEMPT, rows)
    hidden = {r.delivery_id: r.landing.over_by for r in begun}
    others = [{"b_id": d, "until": until} for d, until in sorted(hidden.items()) if d not in moved]
    beside.add(_SERVE, others)
    return hidden


def end_responses(connection: Connection, attempt_ids: Sequence[str], now: int) -> None:
    """They have ended without a confirmation yet: unknown, nothing more lands, and their items may be listed again.

    A confirmation may come at the same moment: the chains' rows are locked first, as everybody does (protocol §6).
    """
    if attempt_ids:
        served = {"ids": [row.delivery_id for row in select_rows(connection, _DELIVERIES, {"ids": list(attempt_ids)})]}
        lock_rows(connection, _LOCK_CHAINS, served)
        lock_rows(connection, _SERVED, served)
        execute_rows(connection, _END_RESPONSE, [{"b_id": attempt_id, "now": now} for attempt_id in attempt_ids])
        execute_one(connection, _SHOW_AGAIN, served)
