"""The relay's picking: what is due, channel by channel, so that one long backlog never hides the others (rule 3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, update

from gateway.model.windows import held_until, parse_windows
from gateway.store.channels import stored_windows
from gateway.store.dialect import execute_rows, writes_beside_others
from gateway.store.schema import channels, is_state, transfers
from gateway.store.schema_recoveries import NOT_RECOVERING
from gateway.store.transfers import mark_announced

__all__ = ["Due", "in_flight", "pick_due", "put_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A transfer that may be announced: the ticket's content and what its queue depends on."""

    transfer_id: str
    turn: int
    channel_id: str
    is_urgent: bool
    is_slow: bool
    size: int


_CLAIMED_OF = (
    select(transfers.c.channel_id, func.count())
    .where(is_state(transfers.c.state, "claimed"))
    .group_by(transfers.c.channel_id)
)
_ANNOUNCED_OF = (
    select(transfers.c.channel_id, func.count())
    .where(is_state(transfers.c.state, "ready"), transfers.c.announced_at > bindparam("since"))
    .group_by(transfers.c.channel_id)
)

# The channels that have anything ready, by hops along the index of ready transfers instead of reading all of them.
_first = select(func.min(transfers.c.channel_id).label("id")).where(is_state(transfers.c.state, "ready"))
_waiting = _first.cte("waiting", recursive=True)
_next = (
    select(func.min(transfers.c.channel_id))
    .where(is_state(transfers.c.state, "ready"), transfers.c.channel_id > _waiting.c.id)
    .scalar_subquery()
)
_waiting = _waiting.union_all(select(_next).where(_waiting.c.id.is_not(None)))
_CHANNELS = (
    select(
        channels.c.id, channels.c.is_slow, channels.c.in_flight, channels.c.ramp, channels.c.faults, channels.c.windows
    )
    .select_from(_waiting.join(channels, _waiting.c.id == channels.c.id))
    .where(channels.c.state == "open", channels.c.open_until <= bindparam("now"), NOT_RECOVERING)
)
_DUE_OF = (
    select(transfers.c.id, transfers.c.turn, transfers.c.is_urgent, transfers.c.size, transfers.c.due_at)
    .where(
        is_state(transfers.c.state, "ready"),
        transfers.c.channel_id == bindparam("channel"),
        transfers.c.due_at <= bindparam("now"),
        or_(transfers.c.announced_at.is_(None), transfers.c.announced_at <= bindparam("since")),
    )
    .order_by(transfers.c.is_urgent.desc(), transfers.c.due_at, transfers.c.id)
    .limit(bindparam("room"))
)

_CHANNELS_ALONE = _CHANNELS.with_for_update(of=channels, skip_locked=True)
_DUE_OF_ALONE = _DUE_OF.with_for_update(skip_locked=True)


def in_flight(connection: Connection, *, since: int) -> dict[str, int]:
    """Transfers per channel that are claimed, or announced after `since` and not claimed yet."""
    running: dict[str, int] = defaultdict(int)
    for statement, values in ((_CLAIMED_OF, {}), (_ANNOUNCED_OF, {"since": since})):
        for channel_id, count in connection.execute(statement, values):
            running[channel_id] += count
    return running


def pick_due(connection: Connection, *, now: int, since: int, most: int) -> list[Due]:
    """What may be announced now, urgent first, then by due time; a channel never over its `in_flight` (rule 3).

    Where other relays pick at the same time (PostgreSQL, in a transaction that writes), channels and transfers that
    another one has under its hands are left to it, and what is picked counts as announced from the commit on: so the
    cap is exact.  Give back what nobody took (`put_back`).

    A channel whose breaker has just closed again gets one transfer, then two, four … (`ramp`).  Nothing is picked while
    the node recovers from a restore (rule 13).  Costs what may be
    picked, not what waits.
    """
    is_shared = writes_beside_others(connection)
    channels_open = connection.execute(_CHANNELS_ALONE if is_shared else _CHANNELS, {"now": now}).all()
    running = in_flight(connection, since=since)  # read with the channels in hand
    due_of = _DUE_OF_ALONE if is_shared else _DUE_OF
    found: list[tuple[tuple[bool, int, str], Due]] = []
    for channel in channels_open:
        room = 0 if _is_resting(channel.windows, now) else _allowed(channel) - running.get(channel.id, 0)
        if room > 0:
            values = {"channel": channel.id, "now": now, "since": since, "room": room}
            found += [_due(channel, row) for row in connection.execute(due_of, values)]
    found.sort(key=lambda pair: pair[0])
    picked = [due for _, due in found[:most]]
    if is_shared:
        mark_announced(connection, [(due.transfer_id, due.turn) for due in picked], now)
    return picked


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


def _due(channel: Any, row: Any) -> tuple[tuple[bool, int, str], Due]:
    due = Due(
        transfer_id=row.id,
        turn=row.turn,
        channel_id=channel.id,
        is_urgent=row.is_urgent,
        is_slow=channel.is_slow,
        size=row.size,
    )
    return (not row.is_urgent, row.due_at, row.id), due
