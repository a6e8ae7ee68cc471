"""Counts and ages, from roll-ups and the ends of indexes: cheap enough to be asked every few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, literal_column, select

from gateway.model.states import ChannelState, DeliveryState, TransferState
from gateway.store import backups, recoveries
from gateway.store.months import partitions
from gateway.store.schema import channels, deliveries, is_state, rollups, transfers
from gateway.store.views.inboxes import Inbox, inboxes
from gateway.store.walks import count_faults, first_faults
from monitoring.registry import FaultBook

__all__ = ["BacklogLine", "InboxCount", "ParkedCount", "Snapshot", "backlog", "inbox_counts", "snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogLine:
    """How many deliveries of one book are in one state."""

    book: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCount:
    """What waits in one agency's inbox: to be fetched, and fetched but not confirmed."""

    agency_id: str
    book: str
    available: int
    fetched: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedCount:
    """How many deliveries are parked for one reason."""

    book: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The figures behind alerts, at one instant. Ages in microseconds; None where there is nothing of the kind."""

    now: int
    backlog: tuple[BacklogLine, ...]
    parked: tuple[ParkedCount, ...]
    oldest_ready: int | None  #: how long the transfer that is due for longest has been due
    oldest_channel: str  #: the channel that it waits for; "" where none is due
    inboxes: tuple[Inbox, ...]
    dead_leases: int  #: claims whose lease ran out and that nobody swept yet
    broken_channels: tuple[str, ...]  #: their breaker is open
    paused_channels: tuple[str, ...]
    faults: Mapping[str, Mapping[str, int]]  #: what the rounds found wrong and not yet right again: book → kind → count
    recovering: int | None  #: how long ago the node was restored that still recovers
    without_month: int  #: packets in the table for the rest, because nobody made their month (PostgreSQL)
    unsaved: int | None  #: how long nothing has been in a backup: since the last one, or since the node was made
    first_gap: str  #: the oldest packet with a fault of the account; "" where none is a packet's


_BACKLOG = (
    select(rollups.c.book, rollups.c.state, func.sum(rollups.c.count).label("n"))
    .group_by(rollups.c.book, rollups.c.state)
    .order_by(rollups.c.book, rollups.c.state)
)
_INBOX = (
    select(rollups.c.agency_id, rollups.c.book, rollups.c.state, rollups.c.count.label("n"))
    .where(
        rollups.c.agency_id.in_(bindparam("ids", expanding=True)),
        rollups.c.state.in_([DeliveryState.AVAILABLE, DeliveryState.FETCHED]),
    )
    .order_by(rollups.c.agency_id, rollups.c.book)
)
_PARKED = (
    select(deliveries.c.book, deliveries.c.reason, func.count().label("n"))
    .where(deliveries.c.state == DeliveryState.PARKED)
    .group_by(deliveries.c.book, deliveries.c.reason)
    .order_by(deliveries.c.book, deliveries.c.reason)
)
_OLDEST_READY = (
    select(transfers.c.due_at, transfers.c.channel_id)
    .where(is_state(transfers.c.state, TransferState.READY), transfers.c.due_at <= bindparam("now"))
    .order_by(transfers.c.due_at, transfers.c.id)
    .limit(literal_column("1"))
)
_DEAD = select(func.count()).where(
    transfers.c.state == TransferState.CLAIMED, transfers.c.lease_until < bindparam("now")
)
_CHANNELS = select(channels.c.id, channels.c.state, channels.c.open_until).order_by(channels.c.id)


def backlog(connection: Connection) -> tuple[BacklogLine, ...]:
    """All deliveries by book and state, from the roll-ups; states that nothing is in are left out."""
    return tuple(
        BacklogLine(book=row.book, state=row.state, count=int(row.n)) for row in connection.execute(_BACKLOG) if row.n
    )


def inbox_counts(connection: Connection, agency_ids: Iterable[str]) -> tuple[InboxCount, ...]:
    """What waits for these agencies on their polled channels, by agency and book; empty inboxes are left out."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in connection.execute(_INBOX, {"ids": sorted(set(agency_ids))}):
        if row.n:
            counts.setdefault((row.agency_id, row.book), {})[row.state] = row.n
    return tuple(
        InboxCount(
            agency_id=agency_id,
            book=book,
            available=found.get(DeliveryState.AVAILABLE, 0),
            fetched=found.get(DeliveryState.FETCHED, 0),
        )
        for (agency_id, book), found in counts.items()
    )


def snapshot(connection: Connection, now: int) -> Snapshot:
    """The figures behind alerts at the store's `now`. Costs what is open and the channels, not what is stored."""
    ready = connection.execute(_OLDEST_READY, {"now": now}).one_or_none()
    reached = connection.execute(_CHANNELS).all()
    gaps = first_faults(connection, FaultBook.ACCOUNT, 1)
    restored, since = recoveries.running(connection), backups.unsaved_since(connection)
    return Snapshot(
        now=now,
        backlog=backlog(connection),
        parked=tuple(ParkedCount(book=row.book, reason=row.reason, count=row.n) for row in connection.execute(_PARKED)),
        oldest_ready=None if ready is None else now - ready.due_at,
        oldest_channel="" if ready is None else ready.channel_id,
        inboxes=inboxes(connection, now),
        dead_leases=connection.execute(_DEAD, {"now": now}).scalar_one(),
        broken_channels=tuple(row.id for row in reached if row.open_until > now),
        paused_channels=tuple(row.id for row in reached if row.state == ChannelState.PAUSED),
        faults=count_faults(connection),
        recovering=None if restored is None else now - restored.restored_at,
        without_month=partitions.packets_without_month(connection),
        unsaved=None if since is None else now - since,
        first_gap=gaps[0].packet_id if gaps else "",
    )
