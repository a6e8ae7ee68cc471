"""Recoveries (khôi phục): what a store that was put back from a backup does not know, written down so that rules 4 to
6 and 10 go by it (protocol §13).

Whatever was still open when the backup was made may have been handed over since, under the key that the store knows:
each such delivery gets an attempt in doubt.  Turns that may have been used since are never used again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, bindparam, exists, func, insert, literal_column, or_, select, update

from gateway.model.events import Event, EventKind
from gateway.model.instants import new_id
from gateway.model.states import AttemptEnd, DeliveryState
from gateway.store import events
from gateway.store.reckoning import MAY_LAND, may_land, reckoning_of
from gateway.store.schema import attempts, channels, deliveries, is_state, transfers
from gateway.store.schema_recoveries import recoveries
from gateway.store.statements import execute_rows

__all__ = ["TURN_STEP", "Recovery", "Unasked", "begin", "channels_in_doubt", "end", "in_doubt", "last", "running"]

TURN_STEP: Final = 1_000_000
"""Turns that a restore leaves out. A turn is a return to ready, seconds apart: nobody has used so many since."""

_PAGE: Final = 500
_DOUBTED_BY: Final = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One restore. `backup_at`: what came later is unknown here. While `ended_at` is None, nothing is pushed."""

    id: str
    backup: str
    backup_at: int
    restored_at: int
    ended_at: int | None = None
    ended_by: str = ""


_INSERT = insert(recoveries)
_LAST = select(recoveries).order_by(recoveries.c.restored_at.desc(), recoveries.c.id.desc()).limit(1)
_END = (
    update(recoveries)
    .where(recoveries.c.id == bindparam("b_id"), recoveries.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), ended_by=bindparam("who"))
)
_END_OTHERS = update(recoveries).where(recoveries.c.ended_at.is_(None)).values(ended_at=bindparam("now"), ended_by="")


def last(connection: Connection) -> Recovery | None:
    """The last restore of this store, ended or not."""
    row = connection.execute(_LAST).one_or_none()
    return None if row is None else Recovery(**row._mapping)


def running(connection: Connection) -> Recovery | None:
    """The restore whose recipients are still to be asked; None where the node pushes as always."""
    found = last(connection)
    return found if found is not None and found.ended_at is None else None


def begin(connection: Connection, recovery: Recovery, *, landing: Callable[[str], int], actor: str) -> int:
    """Make the store one that recovers; how many deliveries are in doubt from now on.

    `landing`: for how many microseconds from now what was sent on a channel may still land.  In one transaction with
    whatever else makes the store usable: without it, rows of the past would be acted on.
    """
    connection.execute(_END_OTHERS, {"now": recovery.restored_at})  # a backup of a node that was recovering itself
    execute_rows(
        connection,
        _INSERT,
        [
            {
                "id": recovery.id, "backup": recovery.backup, "backup_at": recovery.backup_at,
                "restored_at": recovery.restored_at, "ended_at": None, "ended_by": "",
            }
        ],
    )  # fmt: skip
    connection.execute(_LEAVE_TURNS_OUT)
    connection.execute(_SHOW_ALL)
    doubted = _doubt(connection, recovery, landing)
    restored = Event(kind=EventKind.NODE_RESTORED, at=recovery.restored_at, actor=actor, reason=recovery.backup)
    events.append(connection, [restored], recovery.restored_at)
    return doubted


def end(connection: Connection, recovery: Recovery, *, now: int, at: int, actor: str) -> bool:
    """The node pushes again; False where that was so already."""
    if not connection.execute(_END, {"b_id": recovery.id, "now": now, "who": actor}).rowcount:
        return False
    recovered = Event(kind=EventKind.NODE_RECOVERED, at=at, actor=actor, reason=recovery.backup)
    events.append(connection, [recovered], now)
    return True


# --- what may have happened since the backup -------------------------------------------------------------------

_NOT_CLOSED = transfers.c.state != literal_column("'closed'")  # spelt out, so that the index of open ones is used
_LEAVE_TURNS_OUT = update(transfers).where(_NOT_CLOSED).values(turn=transfers.c.turn + TURN_STEP, announced_at=None)
_SHOW_ALL = update(deliveries).where(deliveries.c.served_until > 0).values(served_until=0)
_OPEN = (
    select(transfers.c.id, transfers.c.turn, transfers.c.channel_id)
    .where(_NOT_CLOSED, transfers.c.id > bindparam("after"))
    .order_by(transfers.c.id)
    .limit(_PAGE)
)
_MEMBERS = select(deliveries.c.id, deliveries.c.transfer_id).where(
    deliveries.c.transfer_id.in_(bindparam("ids", expanding=True)),
    deliveries.c.state.not_in([state for state in DeliveryState if state.is_final]),
)
_ATTEMPT = insert(attempts)


def _doubt(connection: Connection, recovery: Recovery, landing: Callable[[str], int]) -> int:
    """An attempt in doubt for every open delivery: also where it waits, since its time may have come meanwhile.

    Its turn is one that no claim has: what becomes of the next claim says nothing about it.
    """
    after, count = "", 0
    reckoning = reckoning_of(connection)
    boot_now = reckoning.clock.boot_now()
    while page := connection.execute(_OPEN, {"after": after}).all():
        carriers = {row.id: row for row in page}
        made = [
            {
                "id": new_id(), "delivery_id": member.id, "transfer_id": row.id, "turn": row.turn - 1,
                "worker": _DOUBTED_BY, "began_at": recovery.backup_at,
                **reckoning.begins(recovery.restored_at, landing(row.channel_id), boot_now=boot_now)._asdict(),
                "outcome": None, "ended_at": None, "detail": recovery.backup,
            }
            for member in connection.execute(_MEMBERS, {"ids": list(carriers)})
            for row in (carriers[member.transfer_id],)
        ]  # fmt: skip
        if made:
            execute_rows(connection, _ATTEMPT, made)
        after, count = page[-1].id, count + len(made)
    return count


# --- whom to ask -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Unasked:
    """A channel on which something in doubt stands, by its sink's kind; `count` in transfers.

    `may_land_until`, by the store's clock, microseconds: before that something that was sent there may still land, and
    a recipient's no does not count.
    """

    channel_id: str
    sink: str
    count: int
    may_land_until: int


_DOUBTFUL = exists().where(
    deliveries.c.transfer_id == transfers.c.id,
    attempts.c.delivery_id == deliveries.c.id,
    attempts.c.transfer_id == transfers.c.id,
    attempts.c.began_at <= bindparam("restored_at"),
    or_(attempts.c.outcome.is_(None), attempts.c.outcome == AttemptEnd.UNKNOWN),
)
_MAY_LAND = exists().where(
    attempts.c.delivery_id == deliveries.c.id,
    deliveries.c.transfer_id == transfers.c.id,
    or_(attempts.c.outcome.is_(None), attempts.c.outcome == AttemptEnd.UNKNOWN),
    MAY_LAND,
)
_TO_ASK = or_(
    and_(channels.c.sink == "checkable", is_state(transfers.c.state, "ready", "claimed", "parked")),
    and_(channels.c.sink == "blind", is_state(transfers.c.state, "ready", "claimed")),
)
_IN_DOUBT = and_(_NOT_CLOSED, ~channels.c.is_polled, _TO_ASK, transfers.c.permits == 0, _DOUBTFUL)
_JOINED = transfers.join(channels, transfers.c.channel_id == channels.c.id)
_OVER_BY = (
    select(func.max(attempts.c.over_by))
    .where(
        deliveries.c.transfer_id == transfers.c.id,
        attempts.c.delivery_id == deliveries.c.id,
        or_(attempts.c.outcome.is_(None), attempts.c.outcome == AttemptEnd.UNKNOWN),
    )
    .correlate(transfers)
    .scalar_subquery()
)
_CHANNELS = (
    select(
        channels.c.id.label("channel_id"),
        channels.c.sink,
        func.count().label("count"),
        func.max(_OVER_BY).label("may_land_until"),
    )
    .select_from(_JOINED)
    .where(_IN_DOUBT)
    .group_by(channels.c.id, channels.c.sink)
    .order_by(channels.c.id)
)
_PAGE_OF = (
    select(transfers.c.id)
    .select_from(_JOINED)
    .where(_IN_DOUBT, ~_MAY_LAND, transfers.c.channel_id == bindparam("channel"), transfers.c.id > bindparam("after"))
    .order_by(transfers.c.id)
    .limit(bindparam("most"))
)


def channels_in_doubt(connection: Connection, recovery: Recovery) -> tuple[Unasked, ...]:
    """The channels whose recipients must still be asked (checkable), or whose doubt is a person's (blind).

    An idempotent sink drops a repeat itself, a polled one shows its items again under the same key: neither is here.
    """
    rows = connection.execute(_CHANNELS, {"restored_at": recovery.restored_at})
    return tuple(Unasked(**row._mapping) for row in rows)


def in_doubt(
    connection: Connection, recovery: Recovery, channel_id: str, *, now: int, after: str, most: int
) -> Sequence[str]:
    """The next transfers of such a channel, by id: those of which nothing can land any more, so that a no counts."""
    values = {"restored_at": recovery.restored_at, "channel": channel_id, "after": after, "most": most}
    values |= may_land(connection, now)
    return [row.id for row in connection.execute(_PAGE_OF, values)]
