"""The relay's picking: what is due, channel by channel, so that one long backlog never hides the others (rule 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from gateway.model.instants import Instant
from gateway.model.windows import held_until, parse_windows
from gateway.store import announcing
from gateway.store.announcing import LARGE
from gateway.store.channels import stored_windows
from gateway.store.dialect import among, writes_beside_others
from gateway.store.schema import channels, is_state, transfers
from gateway.store.statements import execute_rows, select_one, select_rows, select_together

__all__ = ["LARGE", "Due", "Seen", "look", "next_due", "pick_due", "pick_seen", "put_back", "put_back_unsure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A transfer that may be announced: the ticket's content and what its queue depends on."""

    transfer_id: str
    turn: int
    channel_id: str
    is_urgent: bool
    is_slow: bool
    is_suspect: bool  #: a worker claimed it and never reported
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look found that may be announced. It holds nothing: others may pick it first."""

    channels: tuple[str, ...]  #: of which something may be picked, by their first transfers
    has_ordinary: bool  #: not only what is urgent
    urgent_alone: bool  #: nothing else was looked for
    next_due: Instant | None  #: as `next_due` gives it; None where urgent things alone were looked for


def next_due(connection: Connection, now: int) -> Instant | None:
    """When the next transfer that is not due yet becomes due."""
    found: Instant | None = select_one(connection, announcing.NEXT_DUE, {"now": now})
    return found


def pick_due(connection: Connection, *, now: int, since: int, most: int, urgent_alone: bool = False) -> list[Due]:
    """What may be announced now, urgent first, then by due time; a channel never over its `in_flight` (rule 3).

    Ordinary tickets lie unclaimed up to twice `most` at once, over all channels: more would only fill the slots of
    channels before anybody can work on them, and urgent documents to these would wait for all.  Tickets in queues of
    their own (large packets, slow channels) do not count.

    Where other relays pick at the same time (PostgreSQL, in a transaction that writes), channels and transfers that
    another one has under its hands are left to it, and what is picked counts as announced from the commit on: so the
    cap is exact.  Only channels that something may be picked of are locked.  Give back what nobody took (`put_back`).
    `look` and `pick_seen` do the same in two transactions.

    `urgent_alone`: nothing ordinary; the few channels of what is urgent and not announced are waited for where another
    picks from them.

    A channel whose breaker has just closed again gets one transfer, then two, four … (`ramp`).  Nothing is picked while
    the node recovers from a restore (rule 13).  Costs what may be
    picked, not what waits.
    """
    if writes_beside_others(connection):
        seen = look(connection, now=now, again=now - since, most=most, urgent_alone=urgent_alone)
        return pick_seen(connection, seen, now=now, since=since, most=most) if seen.channels else []
    lying = 0 if urgent_alone else select_one(connection, announcing.LYING, {"now": now, "since": since})
    has_ordinary = not urgent_alone and lying <= most
    held = select_rows(connection, announcing.CHANNELS, {"now": now, "ordinary": has_ordinary})
    if not held:
        return []
    found = {row.id: row for row in held}
    running = _by_channel(select_rows(connection, announcing.RUNNING_OF, {"since": since, "channels": list(found)}))
    times = {"now": now, "since": since, "ordinary": has_ordinary}
    rows = [
        row
        for channel_id, room in _rooms(held, running, now).items()
        for row in select_rows(connection, announcing.DUE_OF, {**times, "channel": channel_id, "room": room})
    ]
    return _first_of(rows, found, most)


def look(
    connection: Connection, *, now: int | None, again: int, most: int, urgent_alone: bool = False, is_last: bool = False
) -> Seen:
    """What `pick_due` could pick, on PostgreSQL; nothing is locked or changed. One trip.

    `now`: None: by the database's clock.  `again`: microseconds after which what was announced is announced again.
    `is_last`: the transaction executes nothing after it.
    """
    times = {"now": now, "again": again}
    asked = [(announcing.LOOK_URGENT, times)]
    if not urgent_alone:
        asked = [(announcing.LOOK, {**times, "most": most}), (announcing.NEXT_DUE_TOLD, {"now": now})]
    found, *upcoming, running = select_together(connection, [*asked, (announcing.RUNNING, times)], is_last=is_last)
    found.sort(key=lambda row: (not row.is_urgent, row.due_at, row.first))
    rooms = _rooms(found, _by_channel(running), found[0].now) if found else {}
    return Seen(
        channels=tuple(rooms)[:most],
        has_ordinary=any(row.has_ordinary for row in found),
        urgent_alone=urgent_alone,
        next_due=upcoming[0][0].at if upcoming else None,
    )


def pick_seen(
    connection: Connection, seen: Seen, *, now: int, since: int, most: int, is_last: bool = False
) -> list[Due]:
    """Pick of the channels that a look has `seen`, as `pick_due` does; in a transaction that writes. Two trips.

    Locked are no more channels than that, because others wait for them: `most` transfers are of the `most` channels
    whose first ones come first, if these have room.  What is under way there is counted again under the lock.
    `is_last`: the transaction executes nothing after it, and may be committed in the same trip.
    """
    waits = seen.urgent_alone
    statement = announcing.LOCK_IN_TURN if waits else announcing.LOCK_FREE
    these = list(seen.channels)
    held, running = select_together(
        connection,
        [(statement, {"now": now, "channels": these}), (announcing.RUNNING_OF, {"since": since, "channels": these})],
    )
    rooms = _rooms(held, _by_channel(running), now)
    if not rooms:
        return []
    asked = {"channels": list(rooms), "rooms": list(rooms.values())}
    values = {"now": now, "since": since, "most": most, **asked}
    rows = select_rows(connection, announcing.ANNOUNCE[seen.has_ordinary], values, is_last=is_last)
    return _first_of(rows, {row.id: row for row in held}, most)


def _by_channel(running: Iterable[Any]) -> dict[str, int]:
    return {row.channel_id: row.times for row in running}


def _rooms(found: Iterable[Any], running: Mapping[str, int], now: int) -> dict[str, int]:
    """How many more each of these channels may have under way, in their order; those that may have none are left out.

    Exact for channels that were locked before the others were counted.
    """
    return {
        channel.id: room
        for channel in found
        if (room := _allowed(channel) - running.get(channel.id, 0)) > 0 and not _is_resting(channel.windows, now)
    }


def _first_of(rows: list[Any], found: Mapping[str, Any], most: int) -> list[Due]:
    rows.sort(key=lambda row: (not row.is_urgent, row.due_at, row.id))
    return [_due(found[row.channel_id], row) for row in rows[:most]]


_PUT_BACK = (
    update(transfers)
    .where(transfers.c.id == bindparam("b_id"), transfers.c.turn == bindparam("b_turn"),
           transfers.c.announced_at == bindparam("b_at"))
    .values(announced_at=None)
)  # fmt: skip


def put_back(connection: Connection, due: Iterable[Due], at: int) -> None:
    """Nobody took these, which were picked at `at`: the next round picks them again."""
    rows = [{"b_id": one.transfer_id, "b_turn": one.turn, "b_at": at} for one in due]
    if rows and writes_beside_others(connection):
        execute_rows(connection, _PUT_BACK, sorted(rows, key=itemgetter("b_id")))


_OF_THESE = select(channels.c.id).where(among(channels.c.id, "channels")).order_by(channels.c.id).with_for_update()
_picked = (
    select(transfers.c.id)
    .where(among(transfers.c.channel_id, "channels"), is_state(transfers.c.state, "ready"),
           transfers.c.announced_at == bindparam("at"))
    .order_by(transfers.c.id)
    .with_for_update()
    .cte("picked")
)  # fmt: skip
_PUT_BACK_ALL = update(transfers).where(transfers.c.id == _picked.c.id).values(announced_at=None)


def put_back_unsure(connection: Connection, seen: Seen, at: int) -> None:
    """Of a pick at `at` of which nobody knows whether it was committed: nothing of it was announced, all is picked
    again.  Waits for the channels that it locked, so that it cannot be committed afterwards.

    What another relay picked in that microsecond is announced once more: its tickets are hints.
    """
    asked = {"channels": list(seen.channels)}
    select_rows(connection, _OF_THESE, asked)
    connection.execute(_PUT_BACK_ALL, {**asked, "at": at})


def _is_resting(windows: str, now: int) -> bool:
    """Whether a maintenance window holds now; also where nobody can read when one does."""
    if windows == "[]":
        return False
    try:
        return held_until(parse_windows(stored_windows(windows)), now) is not None
    except ValueError:  # stands as a fault of that channel alone (`Snapshot.faults`)
        return True


def _allowed(channel: Any) -> int:
    if not channel.faults and not channel.ramp:
        return int(channel.in_flight)
    return min(int(channel.in_flight), max(int(channel.ramp), 1))


def _due(channel: Any, row: Any) -> Due:
    return Due(
        transfer_id=row.id,
        turn=row.turn,
        channel_id=channel.id,
        is_urgent=row.is_urgent,
        is_slow=channel.is_slow,
        is_suspect=row.unreported > 0,
        size=row.size,
    )
