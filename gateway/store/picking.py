"""The relay's picking: what is due, channel by channel, so that one long backlog never hides the others (rule 3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
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
    union_all,
    update,
)

from gateway.model.windows import held_until, parse_windows
from gateway.store.channels import stored_windows
from gateway.store.dialect import among, writes_beside_others
from gateway.store.schema import channels, is_state, transfers
from gateway.store.schema_recoveries import NOT_RECOVERING
from gateway.store.statements import execute_rows

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
    is_suspect: bool  #: a worker claimed it and never reported
    size: int


_CLAIMED = select(transfers.c.channel_id).where(is_state(transfers.c.state, "claimed"))
_ANNOUNCED = select(transfers.c.channel_id).where(
    is_state(transfers.c.state, "ready"), transfers.c.announced_at > bindparam("since")
)
_OF_THESE = among(transfers.c.channel_id, "channels")


def _counted(claimed: Any, announced: Any) -> Any:
    running = union_all(claimed, announced).subquery("running")
    return select(running.c.channel_id, func.count().label("times")).group_by(running.c.channel_id)


_RUNNING = _counted(_CLAIMED, _ANNOUNCED)
_RUNNING_OF_THESE = _counted(_CLAIMED.where(_OF_THESE), _ANNOUNCED.where(_OF_THESE))
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
_COLUMNS = (
    channels.c.id, channels.c.is_slow, channels.c.in_flight, channels.c.ramp, channels.c.faults, channels.c.windows,
)  # fmt: skip
_MAY_TAKE = and_(channels.c.state == "open", channels.c.open_until <= bindparam("now"), NOT_RECOVERING)
_CHANNELS = (
    select(*_COLUMNS)
    .select_from(_waiting.join(channels, _waiting.c.id == channels.c.id))
    .where(
        _MAY_TAKE,
        or_(
            bindparam("ordinary", type_=Boolean),
            exists().where(
                is_state(transfers.c.state, "ready"), transfers.c.channel_id == channels.c.id, transfers.c.is_urgent
            ),
        ),
    )
)


def _is_due(table: Any, *, ordinary: Any) -> Any:
    """Due, not announced lately, and urgent where nothing else is wanted."""
    return and_(
        is_state(table.c.state, "ready"),
        table.c.due_at <= bindparam("now"),
        or_(table.c.announced_at.is_(None), table.c.announced_at <= bindparam("since")),
        table.c.is_urgent if ordinary is False else or_(ordinary, table.c.is_urgent),
    )


def _order(table: Any) -> tuple[Any, ...]:
    return table.c.is_urgent.desc(), table.c.due_at, table.c.id


def _channels_by_first(*, ordinary: bool) -> Any:
    """Channels that may take something, by the first thing that they may take; nobody holds them."""
    first = (
        select(transfers.c.is_urgent, transfers.c.due_at, transfers.c.id)
        .where(_is_due(transfers, ordinary=true() if ordinary else False), transfers.c.channel_id == channels.c.id)
        .order_by(*_order(transfers))
        .limit(1)
        .lateral("first")
    )
    return select(*_COLUMNS).select_from(channels.join(first, true())).where(_MAY_TAKE).order_by(*_order(first))


_BY_FIRST = {ordinary: _channels_by_first(ordinary=ordinary) for ordinary in (True, False)}
_LOCKED = select(*_COLUMNS).where(among(channels.c.id, "channels"), _MAY_TAKE)
_LOCKED_ALONE = _LOCKED.with_for_update(of=channels, skip_locked=True)
_LOCKED_IN_TURN = _LOCKED.order_by(channels.c.id).with_for_update(of=channels)
_ORDINARY = bindparam("ordinary", type_=Boolean)

_PICKED = (
    transfers.c.id, transfers.c.turn, transfers.c.channel_id, transfers.c.is_urgent, transfers.c.size,
    transfers.c.due_at, transfers.c.unreported,
)  # fmt: skip
_DUE_OF = (
    select(*_PICKED)
    .where(_is_due(transfers, ordinary=_ORDINARY), transfers.c.channel_id == bindparam("channel"))
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
    .where(_is_due(_ready, ordinary=_ORDINARY), _ready.c.channel_id == _asked.c.channel_id)
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
_free = (
    select(*_PICKED)
    .select_from(_chosen.join(transfers, transfers.c.id == _chosen.c.id))
    .where(_is_due(transfers, ordinary=_ORDINARY))
    .order_by(*_order(transfers))
    .with_for_update(of=transfers, skip_locked=True)
    .cte("free")
)
_ANNOUNCE_DUE_OF_ALL = (
    update(transfers)
    .where(transfers.c.id == _free.c.id)
    .values(announced_at=bindparam("now"))
    .returning(*(_free.c[column.name] for column in _PICKED))
)


def in_flight(connection: Connection, *, since: int, of: Collection[str] | None = None) -> dict[str, int]:
    """Transfers per channel (of all, of these) that are claimed, or announced after `since` and not claimed yet."""
    statement = _RUNNING if of is None else _RUNNING_OF_THESE
    asked: dict[str, Any] = {} if of is None else {"channels": list(of)}
    return defaultdict(
        int, {row.channel_id: row.times for row in connection.execute(statement, asked | {"since": since})}
    )


def pick_due(connection: Connection, *, now: int, since: int, most: int, urgent_alone: bool = False) -> list[Due]:
    """What may be announced now, urgent first, then by due time; a channel never over its `in_flight` (rule 3).

    Ordinary tickets lie unclaimed up to twice `most` at once, over all channels: more would only fill the slots of
    channels before anybody can work on them, and urgent documents to these would wait for all.  Tickets in queues of
    their own (large packets, slow channels) do not count.

    Where other relays pick at the same time (PostgreSQL, in a transaction that writes), channels and transfers that
    another one has under its hands are left to it, and what is picked counts as announced from the commit on: so the
    cap is exact.  Only channels that something may be picked of are locked.  Give back what nobody took (`put_back`).

    `urgent_alone`: nothing ordinary; the few channels of what is urgent and not announced are waited for where another
    picks from them.

    A channel whose breaker has just closed again gets one transfer, then two, four … (`ramp`).  Nothing is picked while
    the node recovers from a restore (rule 13).  Costs what may be
    picked, not what waits.
    """
    is_shared = writes_beside_others(connection)
    values = {"now": now, "since": since, "most": most}
    values["ordinary"] = not urgent_alone and connection.execute(_LYING, values).scalar_one() <= most
    if is_shared:
        found = _hold_channels(connection, values, waits=urgent_alone)
    else:
        found = {row.id: row for row in connection.execute(_CHANNELS, values)}
    rooms = _rooms(connection, found, values)
    if not rooms:
        return []
    if is_shared:
        asked = {"channels": list(rooms), "rooms": list(rooms.values())}
        rows = list(connection.execute(_ANNOUNCE_DUE_OF_ALL, values | asked))
    else:
        rows = [
            row
            for channel_id, room in rooms.items()
            for row in connection.execute(_DUE_OF, {**values, "channel": channel_id, "room": room})
        ]
    rows.sort(key=lambda row: (not row.is_urgent, row.due_at, row.id))
    return [_due(found[row.channel_id], row) for row in rows[:most]]


def _hold_channels(connection: Connection, values: Mapping[str, Any], *, waits: bool) -> dict[str, Any]:
    """The channels that what is picked now can be of, locked: no more than that, because others wait for them.

    `most` transfers are of the `most` channels whose first ones come first, if these have room.
    """
    seen = {row.id: row for row in connection.execute(_BY_FIRST[values["ordinary"]], values)}
    wanted = list(_rooms(connection, seen, values))[: values["most"]]
    if not wanted:
        return {}
    statement = _LOCKED_IN_TURN if waits else _LOCKED_ALONE
    return {row.id: row for row in connection.execute(statement, {**values, "channels": wanted})}


def _rooms(connection: Connection, found: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, int]:
    """How many more each of these channels may have under way, in their order; those that may have none are left out.

    Exact for channels that are locked.
    """
    if not found:
        return {}
    running = in_flight(connection, since=values["since"], of=found)
    return {
        channel.id: room
        for channel in found.values()
        if (room := _allowed(channel) - running.get(channel.id, 0)) > 0
        and not _is_resting(channel.windows, values["now"])
    }


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
        is_suspect=row.unreported > 0,
        size=row.size,
    )
