"""What a channel has before it and in hand: for draining it, and for moving what waits to another channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, bindparam, func, literal_column, or_, select, update

from gateway.model.events import Event, EventKind
from gateway.model.states import AttemptEnd, ChannelState
from gateway.store import events
from gateway.store.months.partitions import made_at
from gateway.store.reckoning import reckoning_of
from gateway.store.schema import attempts, channel_agencies, channels, deliveries, is_state, transfers
from gateway.store.versions import lock_configuration, raise_configuration

__all__ = [
    "MOST_COUNTED",
    "Queue",
    "UnderWay",
    "drained",
    "draining",
    "note_emptied",
    "page_of",
    "queue_of",
    "under_way",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """Of one channel. `held`: transfers that a worker or the recipient's software has; `open`: hand-overs that may
    still land though nobody holds them any more; `waiting`: transfers that nobody has begun."""

    held: int
    open: int
    waiting: int

    @property
    def is_empty(self) -> bool:
        """Nothing can reach the recipient any more until somebody begins anew."""
        return not self.held and not self.open


_BY_STATE = (
    select(transfers.c.state, func.count())
    .where(transfers.c.channel_id == bindparam("channel"), transfers.c.state != "closed")
    .group_by(transfers.c.state)
)
_IN_DOUBT = (
    select(
        attempts.c.id, attempts.c.delivery_id, attempts.c.began_at, attempts.c.over_by, attempts.c.lasts,
        attempts.c.boot, attempts.c.boot_over,
    )
    .select_from(
        transfers.join(deliveries, deliveries.c.transfer_id == transfers.c.id).join(
            attempts, attempts.c.delivery_id == deliveries.c.id
        )
    )
    .where(
        transfers.c.channel_id == bindparam("channel"),
        transfers.c.state != "closed",
        transfers.c.turn > 0,  # what is at its first turn was never handed over, unless it is held
        or_(attempts.c.outcome.is_(None), attempts.c.outcome == AttemptEnd.UNKNOWN),
    )
)  # fmt: skip


def under_way(connection: Connection, channel_id: str, now: int) -> UnderWay:
    """What is under way on a channel, and what waits."""
    counts = {state: int(count) for state, count in connection.execute(_BY_STATE, {"channel": channel_id})}
    reckoning = reckoning_of(connection)
    doubtful = connection.execute(_IN_DOUBT, {"channel": channel_id})
    landing = {row.delivery_id for row in doubtful if reckoning.may_land(row, now)}
    held = counts.pop("claimed", 0) + counts.pop("fetched", 0)
    return UnderWay(held=held, open=len(landing), waiting=sum(counts.values()))


MOST_COUNTED: Final = 10_000
"""Transfers of a channel that are counted; of more than these it is said that there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What a channel has before it: transfers that are not at their end, counted up to one more than `MOST_COUNTED`.

    `since`: when the oldest of them was made; None where there is none.
    """

    count: int
    since: int | None


_BEFORE_IT = (
    select(transfers.c.id)
    .where(transfers.c.channel_id == bindparam("channel"), transfers.c.state != literal_column("'closed'"))
    .order_by(transfers.c.id)
    .limit(MOST_COUNTED + 1)
    .subquery()
)
_QUEUE = select(func.count(_BEFORE_IT.c.id).label("n"), func.min(_BEFORE_IT.c.id).label("oldest"))


def queue_of(connection: Connection, channel_id: str) -> Queue:
    """What waits for a channel, read from the beginning of its index: however much waits, it costs no more."""
    found = connection.execute(_QUEUE, {"channel": channel_id}).one()
    return Queue(count=found.n, since=made_at(found.oldest) if found.oldest else None)


_DRAINING = select(channels.c.id).where(channels.c.state == ChannelState.DRAINING).order_by(channels.c.id)
_DRAINED = (
    update(channels)
    .where(channels.c.id == bindparam("b_id"), channels.c.state == ChannelState.DRAINING)
    .values(state=ChannelState.PAUSED)
)


def draining(connection: Connection) -> list[str]:
    """Channels on which nothing new is begun and something may still be under way."""
    return [row.id for row in connection.execute(_DRAINING)]


def drained(connection: Connection, channel_id: str, *, now: int, actor: str) -> bool:
    """Nothing is under way any more: the channel is paused from now on. False where it does not drain (any more)."""
    lock_configuration(connection)
    is_done = connection.execute(_DRAINED, {"b_id": channel_id}).rowcount == 1
    if is_done:
        happened = Event(kind=EventKind.CHANNEL_DRAINED, at=now, actor=actor, reason=f"channel:{channel_id}")
        events.append(connection, [happened], now)
        raise_configuration(connection)
    return is_done


_SERVED = select(channel_agencies.c.agency_id).where(channel_agencies.c.channel_id == bindparam("target"))
_PAGE = (
    select(deliveries.c.id, deliveries.c.chain_id)
    .select_from(transfers.join(deliveries, deliveries.c.transfer_id == transfers.c.id))
    .where(
        and_(transfers.c.channel_id == bindparam("source"), transfers.c.state != "closed"),
        is_state(deliveries.c.state, "waiting", "ready", "claimed", "available", "fetched", "handed_over", "parked"),
        deliveries.c.agency_id.in_(_SERVED),
        deliveries.c.id > bindparam("after"),
    )
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)


def page_of(connection: Connection, source: str, target: str, *, after: str, most: int) -> list[tuple[str, str]]:
    """(delivery, chain) of what is open on channel `source` for agencies that `target` serves now, oldest first."""
    found = connection.execute(_PAGE, {"source": source, "target": target, "after": after, "most": most})
    return [(row.id, row.chain_id) for row in found]


def note_emptied(connection: Connection, source: str, target: str, count: int, *, now: int, actor: str) -> None:
    """So many of a backlog move in this transaction: an event of the channels, beside each delivery's own."""
    words = f"channel:{source} channel:{target} deliveries x{count}"
    events.append(connection, [Event(kind=EventKind.CHANNEL_EMPTIED, at=now, actor=actor, reason=words)], now)
