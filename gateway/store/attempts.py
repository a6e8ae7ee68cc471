"""Attempts: hand-overs that may have begun, one row per member of the transfer (protocol §4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from edxml.values import hasten
from gateway.model.instants import new_id
from gateway.model.states import AttemptEnd, DeliveryState, TransferState
from gateway.store.dialect import among, lock_rows
from gateway.store.months.bounds import among_ids, one_of
from gateway.store.reckoning import Landing
from gateway.store.schema import attempts, chains, deliveries, is_state, transfers
from gateway.store.statements import execute_one, execute_rows, select_rows, select_together
from gateway.store.together import Together
from gateway.store.transfers import Member, members_asked, members_found
from gateway.store.witnesses import note

__all__ = ["Begun", "Ended", "Held", "begin_attempts", "end_attempts", "lock_held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An attempt to be begun for every open member of a transfer."""

    transfer_id: str
    turn: int
    landing: Landing


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Transfers that somebody holds, as they are until this transaction ends: their rows are locked."""

    turns: frozenset[tuple[str, int]]  #: each with the turn of its claim
    permitted: frozenset[str]
    members: Mapping[str, Sequence[Member]]


_INSERT_ATTEMPT = insert(attempts)
_STILL_HELD = (
    select(transfers.c.id, transfers.c.turn, transfers.c.permits)
    .where(among(transfers.c.id, "ids"), is_state(transfers.c.state, TransferState.CLAIMED, TransferState.FETCHED))
    .order_by(transfers.c.id)
    .with_for_update()
)
_HELD_MEMBERS = (DeliveryState.CLAIMED, DeliveryState.FETCHED)


def lock_held(connection: Connection, transfer_ids: Iterable[str], packet_ids: Iterable[str]) -> Held:
    """Those of these transfers that are claimed, their rows locked: the fence against a new claim. One trip.

    `packet_ids`: theirs.
    """
    wanted = sorted(transfer_ids)
    asked = [(_STILL_HELD, {"ids": wanted}), members_asked(wanted, packet_ids)]
    found, members = select_together(connection, asked)
    return Held(
        turns=frozenset((row.id, row.turn) for row in found),
        permitted=frozenset(row.id for row in found if row.permits),
        members=members_found(members),
    )


def begin_attempts(
    connection: Connection, begun: Sequence[Begun], held: Held, *, worker: str, now: int, is_last: bool = False
) -> frozenset[str]:
    """Write attempts before the first byte goes out, only while claimed at that turn (protocol §4).

    Gives the transfers whose attempt was written; for any other, nothing may be sent.  One row per open member.
    Consumes a permit where one was given (rule 9).  `is_last`: the transaction executes nothing after this, and is
    committed in the same trip where anything was written.
    """
    ours = [b for b in begun if (b.transfer_id, b.turn) in held.turns]
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
        for member in held.members.get(b.transfer_id, ())
        if member.state in _HELD_MEMBERS
    ]
    if rows:
        together = Together()
        written = together.add(_INSERT_ATTEMPT, rows)
        note(connection, rows[-1]["id"], rows[-1]["id"], now)
        used = sorted({b.transfer_id for b in ours} & held.permitted)
        together.add(_NO_PERMIT, [{"b_id": transfer_id} for transfer_id in used])
        together.execute(connection, last=written if is_last else -1)
    return frozenset(str(row["transfer_id"]) for row in rows)


_NO_PERMIT = update(transfers).where(transfers.c.id == bindparam("b_id")).values(permits=0)
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


@hasten
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


@hasten
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
