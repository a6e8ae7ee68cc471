"""The relay's picking: what is due, channel by channel, so that one long backlog never hides the others (rule 3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Boolean,
    Connection,
    Integer,
    Text,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from gateway.model.windows import held_until, parse_windows
from gateway.store.channels import stored_windows
from gateway.store.dialect import among, execute_rows, writes_beside_others
from gateway.store.schema import channels, is_state, transfers
from gateway.store.schema_recoveries import NOT_RECOVERING
from gateway.store.transfers import mark_announced

__all__ = ["LARGE", "Due", "in_flight", "pick_due", "put_back"]

LARGE: Final = 8 << 20
"""Bytes of a packet above which its ticket goes to a queue of its own (design §5)."""


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
_OF_THESE = among(transfers.c.channel_id, "channels")
_LYING = (
    select(func.count())
    .select_from(transfers.join(channels, channels.c.id == transfers.c.channel_id))
    .where(
        is_state(transfers.c.state, "ready"),
        transfers.c.announced_at > bindparam("since"),
        ~transfers.c.is_urgent,
        transfers.c.size <= LARGE,
        ~channels.c.is_slow,
        channels.c.state == "open",
        channels.c.open_until <= bindparam("now"),
    )
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
_has_urgent = exists().where(
    is_state(transfers.c.state, "ready"), transfers.c.channel_id == channels.c.id, transfers.c.is_urgent
)
_CHANNELS = (
    select(
        channels.c.id, channels.c.is_slow, channels.c.in_flight, channels.c.ramp, channels.c.faults, channels.c.windows
    )
    .select_from(_waiting.join(channels, _waiting.c.id == channels.c.id))
    .where(
        channels.c.state == "open",
        channels.c.open_until <= bindparam("now"),
        or_(bindparam("ordinary", type_=Boolean), _has_urgent),
        NOT_RECOVERING,
    )
)
_CHANNELS_ALONE = _CHANNELS.with_for_update(of=channels, skip_locked=True)
_CHANNELS_IN_TURN = _CHANNELS.order_by(channels.c.id).with_for_update(of=channels)


def _is_due(table: Any) -> Any:
    """Due, not announced lately, and urgent where nothing else is wanted."""
    return and_(
        is_state(table.c.state, "ready"),
        table.c.due_at <= bindparam("now"),
        or_(table.c.announced_at.is_(None), table.c.announced_at <= bindparam("since")),
        or_(bindparam("ordinary", type_=Boolean), table.c.is_urgent),
    )


def _order(table: Any) -> tuple[Any, ...]:
    return table.c.is_urgent.desc(), table.c.due_at, table.c.id


_PICKED = (
    transfers.c.id, transfers.c.turn, transfers.c.channel_id, transfers.c.is_urgent, transfers.c.size,
    transfers.c.due_at,
)  # fmt: skip
_DUE_OF = (
    select(*_PICKED)
    .where(_is_due(transfers), transfers.c.channel_id == bindparam("channel"))
    .order_by(*_order(transfers))
    .limit(bindparam("room"))
)

# The same of many channels in one statement: as many rows are locked as are picked, whatever else could be.
_asked = func.unnest(
    bindparam("channels", type_=ARRAY(Text)), bindparam("rooms", type_=ARRAY(Integer))
).table_valued("channel_id", "room", name="asked").render_derived()  # fmt: skip
_ready = transfers.alias("ready")
_of_each = (
    select(_ready.c.id, _ready.c.is_urgent, _ready.c.due_at)
    .where(_is_due(_ready), _ready.c.channel_id == _asked.c.channel_id)
    .order_by(*_order(_ready))
    .limit(_asked.c.room)
    .lateral("of_each")
)
_chosen = (
    select(_of_each.c.id)
    .select_from(_asked.join(_of_each, true()))
    .order_by(*_order(_of_each))
    .limit(bindparam("most"))
    .subquery("chosen")
)
_DUE_OF_ALL_ALONE = (
    select(*_PICKED)
    .select_from(_chosen.join(transfers, transfers.c.id == _chosen.c.id))
    .where(_is_due(transfers))
    .order_by(*_order(transfers))
    .with_for_update(of=transfers, skip_locked=True)
)


def in_flight(connection: Connection, *, since: int, of: Collection[str] | None = None) -> dict[str, int]:
    """Transfers per channel (of all, of these) that are claimed, or announced after `since` and not claimed yet."""
    running: dict[str, int] = defaultdict(int)
    asked: dict[str, Any] = {} if of is None else {"channels": list(of)}
    for statement, values in ((_CLAIMED_OF, asked), (_ANNOUNCED_OF, asked | {"since": since})):
        for channel_id, count in connection.execute(statement if of is None else statement.where(_OF_THESE), values):
            running[channel_id] += count
    return running


def pick_due(connection: Connection, *, now: int, since: int, most: int, urgent_alone: bool = False) -> list[Due]:
    """What may be announced now, urgent first, then by due time; a channel never over its `in_flight` (rule 3).

    Ordinary tickets lie unclaimed up to twice `most` at once, over all channels: more would only fill the slots of
    channels before anybody can work on them, and urgent documents to these would wait for all.  Tickets in queues of
    their own (large packets, slow channels) do not count.

    Where other relays pick at the same time (PostgreSQL, in a transaction that writes), channels and transfers that
    another one has under its hands are left to it, and what is picked counts as announced from the commit on: so the
    cap is exact.  Give back what nobody took (`put_back`).

    `urgent_alone`: nothing ordinary; the few channels of what is urgent are waited for where another picks from them.

    A channel whose breaker has just closed again gets one transfer, then two, four … (`ramp`).  Nothing is picked while
    the node recovers from a restore (rule 13).  Costs what may be
    picked, not what waits.
    """
    is_shared = writes_beside_others(connection)
    values = {"now": now, "since": since}
    values["ordinary"] = not urgent_alone and connection.execute(_LYING, values).scalar_one() <= most
    waits = is_shared and urgent_alone
    found = connection.execute(_CHANNELS_IN_TURN if waits else _CHANNELS_ALONE if is_shared else _CHANNELS, values)
    channels_open = {row.id: row for row in found}
    if not channels_open:
        return []
    running = in_flight(connection, since=since, of=channels_open if urgent_alone else None)  # channels in hand
    rooms = {
        channel.id: room
        for channel in channels_open.values()
        if not _is_resting(channel.windows, now) and (room := _allowed(channel) - running.get(channel.id, 0)) > 0
    }
    if not rooms:
        return []
    if is_shared:
        asked = {"channels": list(rooms), "rooms": list(rooms.values()), "most": most}
        rows = list(connection.execute(_DUE_OF_ALL_ALONE, values | asked))
    else:
        rows = [
            row
            for channel_id, room in rooms.items()
            for row in connection.execute(_DUE_OF, {**values, "channel": channel_id, "room": room})
        ]
        rows.sort(key=lambda row: (not row.is_urgent, row.due_at, row.id))
    picked = [_due(channels_open[row.channel_id], row) for row in rows[:most]]
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


def _due(channel: Any, row: Any) -> Due:
    return Due(
        transfer_id=row.id,
        turn=row.turn,
        channel_id=channel.id,
        is_urgent=row.is_urgent,
        is_slow=channel.is_slow,
        size=row.size,
    )
