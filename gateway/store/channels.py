"""Channels (kênh kết nối): how agencies are reached, paused or not, and what the breaker remembers of them.

Nothing is ever removed: transfers name their channel for good.  A channel that is no longer wanted serves nobody.
Events of a channel name it as their actor (`channel:<id>`) where it acted itself, else in their reason.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Executable, bindparam, delete, select, update

from gateway.model.breaker import Breaker, after_fault, after_success
from gateway.model.chain import SinkSureness
from gateway.model.events import Event, EventKind
from gateway.model.states import ChannelState
from gateway.model.windows import held_until, parse_windows
from gateway.store import events
from gateway.store.dialect import among, insert_ignore, lock_rows
from gateway.store.schema import channel_agencies, channels, deliveries
from gateway.store.statements import execute_one, select_rows
from gateway.store.transfers import forget_announced
from gateway.store.versions import lock_configuration, raise_configuration

__all__ = [
    "SLOW_FROM", "ChannelHealth", "ChannelRow", "HandedOver", "channel_of_delivery", "channels_of", "health_asked",
    "list_channels", "list_health", "note_hand_overs", "note_slow", "put_channel", "release_agencies",
    "says_something_new", "serve_agencies", "set_state", "set_windows", "stored_windows",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """One channel as configured. `settings` are the adapter's own; `system_id`: whose packets its source takes in."""

    id: str
    kind: str
    sink: SinkSureness
    is_polled: bool
    state: ChannelState = ChannelState.OPEN
    speaks_for_agency: bool = False  #: the node reports status 01 itself
    in_flight: int = 4  #: most transfers under way at once
    windows: tuple[str, ...] = ()  #: when nothing is handed over, as `gateway.model.windows` reads them
    settings: Mapping[str, Any] = field(default_factory=dict)
    system_id: str | None = None
    agency_ids: frozenset[str] = frozenset()
    fault: str = ""  #: why what is stored cannot be read; then nothing is taken from it or handed over

    @property
    def is_paused(self) -> bool:
        """An operator said that nothing is handed over for now, or that nothing more is."""
        return self.state is not ChannelState.OPEN

    def held_until(self, now: int) -> int | None:
        """Until when a maintenance window keeps anything from being handed over; None where none does."""
        return held_until(parse_windows(self.windows), now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """What the breaker remembers, with the code of the last fault ("" where the channel is well)."""

    breaker: Breaker
    is_slow: bool
    reason: str


# --- rows ----------------------------------------------------------------------------------------------------

_ALL = select(channels).order_by(channels.c.id)
_SERVED = select(channel_agencies.c.channel_id, channel_agencies.c.agency_id)
_CHANGE = (
    update(channels)
    .where(channels.c.id == bindparam("b_id"))
    .values(
        kind=bindparam("kind"), sink=bindparam("sink"), is_polled=bindparam("is_polled"), state=bindparam("state"),
        speaks_for_agency=bindparam("speaks_for_agency"), in_flight=bindparam("in_flight"),
        windows=bindparam("windows"), settings=bindparam("settings"), system_id=bindparam("system_id"),
    )
)  # fmt: skip


def list_channels(connection: Connection) -> tuple[ChannelRow, ...]:
    """All channels, in order of id, each with the agencies it serves.

    One whose row cannot be read has its `fault`, no settings, and hinders no other.
    """
    served: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(_SERVED):
        served[row.channel_id].add(row.agency_id)
    return tuple(_channel(row, frozenset(served.get(row.id, ()))) for row in connection.execute(_ALL))


def _channel(row: Any, agency_ids: frozenset[str]) -> ChannelRow:
    fault, settings, sink, state = "", {}, SinkSureness.BLIND, ChannelState.PAUSED
    windows: tuple[str, ...] = ()
    try:
        settings = dict(json.loads(row.settings))
        windows = stored_windows(row.windows)
        sink, state = SinkSureness(row.sink), ChannelState(row.state)
    except (ValueError, TypeError) as why:
        fault = str(why)
    return ChannelRow(
        id=row.id,
        kind=row.kind,
        sink=sink,
        is_polled=row.is_polled,
        state=state,
        speaks_for_agency=row.speaks_for_agency,
        in_flight=row.in_flight,
        windows=windows,
        settings=settings,
        system_id=row.system_id,
        agency_ids=agency_ids,
        fault=fault,
    )


def stored_windows(stored: str) -> tuple[str, ...]:
    """The windows that a row says. Raises ValueError where they cannot be read."""
    found = json.loads(stored)
    if not isinstance(found, list):
        raise ValueError(stored)
    windows = tuple(map(str, found))
    parse_windows(windows)
    return windows


def put_channel(connection: Connection, channel: ChannelRow) -> None:
    """Add a channel, or change the one with its id; whom it serves is for `serve_agencies`. The breaker stays."""
    row = {
        "kind": channel.kind,
        "sink": channel.sink,
        "is_polled": channel.is_polled,
        "state": channel.state,
        "speaks_for_agency": channel.speaks_for_agency,
        "in_flight": channel.in_flight,
        "windows": json.dumps(channel.windows),
        "settings": json.dumps(dict(channel.settings), ensure_ascii=False, sort_keys=True),
        "system_id": channel.system_id,
    }
    fresh = {"id": channel.id, "faults": 0, "open_until": 0, "ramp": 0, "is_slow": False, "fault_reason": ""}
    if not insert_ignore(connection, channels, [fresh | row], "id"):
        connection.execute(_CHANGE, [{"b_id": channel.id, **row}])
    raise_configuration(connection)


# --- whom they serve: an agency is reached by one channel --------------------------------------------------------

_CHANNELS_OF = select(channel_agencies.c.agency_id, channel_agencies.c.channel_id).where(
    among(channel_agencies.c.agency_id, "ids")
)
_TODAY = (
    select(channels.c.id, channels.c.is_polled, channels.c.sink)
    .join_from(channel_agencies, channels, channels.c.id == channel_agencies.c.channel_id)
    .join(deliveries, deliveries.c.agency_id == channel_agencies.c.agency_id)
    .where(deliveries.c.id == bindparam("delivery"))
)


def channel_of_delivery(connection: Connection, delivery_id: str) -> tuple[str, bool, SinkSureness] | None:
    """(channel, is polled, sureness of its sink) that serves the delivery's agency now; None where none does."""
    row = connection.execute(_TODAY, {"delivery": delivery_id}).one_or_none()
    return None if row is None else (row.id, bool(row.is_polled), SinkSureness.stored(row.sink))


_RELEASE = delete(channel_agencies).where(
    channel_agencies.c.channel_id == bindparam("channel"),
    among(channel_agencies.c.agency_id, "ids"),
)


def serve_agencies(connection: Connection, channel_id: str, agency_ids: Collection[str]) -> frozenset[str]:
    """Let a channel reach agencies; gives those that another channel serves, which stay with it."""
    rows = [{"agency_id": agency_id, "channel_id": channel_id} for agency_id in sorted(agency_ids)]
    if insert_ignore(connection, channel_agencies, rows, "agency_id"):
        raise_configuration(connection)
    serving = channels_of(connection, agency_ids)
    return frozenset(agency_id for agency_id, other in serving.items() if other != channel_id)


def release_agencies(connection: Connection, channel_id: str, agency_ids: Collection[str]) -> None:
    """Take agencies from a channel. What is already on its way to them stays on it."""
    if agency_ids:
        connection.execute(_RELEASE, {"channel": channel_id, "ids": sorted(agency_ids)})
        raise_configuration(connection)


def channels_of(connection: Connection, agency_ids: Collection[str]) -> dict[str, str]:
    """The id of the channel of each agency that has one."""
    found = connection.execute(_CHANNELS_OF, {"ids": sorted(agency_ids)})
    return {row.agency_id: row.channel_id for row in found}


# --- an operator's word ----------------------------------------------------------------------------------------

_SET_STATE = (
    update(channels)
    .where(channels.c.id == bindparam("b_id"), channels.c.state != bindparam("after"))
    .values(state=bindparam("after"))
)
_STATE_EVENTS = {
    ChannelState.PAUSED: EventKind.CHANNEL_PAUSED,
    ChannelState.OPEN: EventKind.CHANNEL_RESUMED,
    ChannelState.DRAINING: EventKind.CHANNEL_DRAINING,
}
_SET_WINDOWS = update(channels).where(channels.c.id == bindparam("b_id")).values(windows=bindparam("windows_"))


def set_windows(connection: Connection, channel_id: str, windows: tuple[str, ...], *, now: int, actor: str) -> None:
    """Give a channel these maintenance windows and no others, with its event. Raises WindowMalformed."""
    parse_windows(windows)
    lock_configuration(connection)
    connection.execute(_SET_WINDOWS, {"b_id": channel_id, "windows_": json.dumps(windows)})
    words = f"channel:{channel_id} windows x{len(windows)}"
    events.append(connection, [Event(kind=EventKind.CHANNEL_SCHEDULED, at=now, actor=actor, reason=words)], now)
    raise_configuration(connection)


def set_state(connection: Connection, channel_id: str, state: ChannelState, *, now: int, actor: str) -> bool:
    """Pause, drain or resume a channel, with its event. False where it was so already, or is not there.

    From the commit on nothing more is claimed on a channel that is not open.  What was announced meanwhile is
    announced anew at once when it is open again.  The configuration is locked first, as whoever applies a file does:
    two operators wait for each other in one order.
    """
    lock_configuration(connection)
    changed = connection.execute(_SET_STATE, {"b_id": channel_id, "after": state}).rowcount == 1
    if changed:
        if state is ChannelState.OPEN:
            forget_announced(connection, channel_id)
        happened = Event(kind=_STATE_EVENTS[state], at=now, actor=actor, reason=f"channel:{channel_id}")
        events.append(connection, [happened], now)
        raise_configuration(connection)
    return changed


# --- what a hand-over says of its channel: the breaker (rule 8), and who is slow -----------------------------------

_HEALTH = select(
    channels.c.id, channels.c.faults, channels.c.open_until, channels.c.ramp, channels.c.in_flight, channels.c.is_slow,
    channels.c.fault_reason,
)  # fmt: skip
_HEALTH_OF = _HEALTH.where(channels.c.id == bindparam("b_id"))
_HEALTH_OF_THESE = _HEALTH.where(among(channels.c.id, "ids"))
_SET_BREAKER = (
    update(channels)
    .where(channels.c.id == bindparam("b_id"))
    .values(faults=bindparam("faults"), open_until=bindparam("open_until"), ramp=bindparam("ramp"),
            fault_reason=bindparam("why"))
)  # fmt: skip
SLOW_FROM: Final = 2.0
"""Seconds of a hand-over from which on its channel counts as slow."""
_QUICK_UNDER: Final = 0.5  # seconds
_SET_SLOW = (
    update(channels)
    .where(channels.c.id == bindparam("b_id"), channels.c.is_slow != bindparam("slow"))  # said again: nothing is locked
    .values(is_slow=bindparam("slow"))
)


def list_health(connection: Connection) -> dict[str, ChannelHealth]:
    """What the breakers remember, by channel id."""
    return {row.id: ChannelHealth(breaker=_breaker(row), is_slow=row.is_slow, reason=row.fault_reason)
            for row in connection.execute(_HEALTH)}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What one hand-over, or one look whether something arrived, says of its channel.

    `fault`: a message code where the channel itself failed; a document's own failure is neither fault nor arrival.
    """

    channel_id: str
    seconds: float
    has_arrived: bool
    fault: str | None = None
    was_sent: bool = True  #: not only looked for


def health_asked(channel_ids: Iterable[str]) -> tuple[Executable, Mapping[str, object]]:
    """What `says_something_new` must know of these channels, for a trip with others."""
    return _HEALTH_OF_THESE, {"ids": sorted(set(channel_ids))}


def says_something_new(health: Iterable[Any], ended: Iterable[HandedOver], *, now: int) -> bool:
    """Whether these hand-overs change what is known of their channels, by the rows that `health_asked` gave."""
    known = {row.id: row for row in health}
    return any(
        _tells_pace(known[one.channel_id], one)
        or _after(known[one.channel_id], one, now) != _breaker(known[one.channel_id])
        for one in ended
    )


def note_hand_overs(connection: Connection, ended: Sequence[HandedOver], *, now: int) -> int:
    """What hand-overs say of their channels, in order; how often a breaker opened or closed (each has its event).

    One that arrived closes the breaker; a fault feeds it.  Faults while it is open change nothing.  From `SLOW_FROM` on
    the channel counts as slow, under 0.5 s as quick again: slow channels have slots of their own, so that they
    delay nobody else (design §5).  Where nothing was sent, only looked, it may turn out slow but never quick.
    For a group on healthy channels whose pace stays this is one read and no write (`says_something_new`).
    """
    known = {row.id: row for row in select_rows(connection, *health_asked(one.channel_id for one in ended))}
    turned = 0
    for one in sorted(ended, key=lambda one: one.channel_id):  # in one order: rows of several channels are locked
        row = known[one.channel_id]
        has_turned, has_changed = _note_one(connection, row, one, now)
        turned += has_turned
        if has_changed:
            [known[row.id]] = select_rows(connection, _HEALTH_OF, {"b_id": row.id})
    return turned


def _note_one(connection: Connection, row: Any, one: HandedOver, now: int) -> tuple[bool, bool]:
    """Whether the breaker opened or closed, and whether anything was written."""
    is_paced = _note_pace(connection, row, one)
    if _after(row, one, now) == _breaker(row):
        return False, is_paced
    if lock_rows(connection, _HEALTH_OF, {"b_id": row.id}):
        [row] = select_rows(connection, _HEALTH_OF, {"b_id": row.id})
    before, after = _breaker(row), _after(row, one, now)
    _set_breaker(connection, row.id, after, one.fault or "")
    if before.is_broken == after.is_broken:
        return False, True
    kind, why = (
        (EventKind.CHANNEL_BROKEN, one.fault or "")
        if after.is_broken
        else (EventKind.CHANNEL_RECOVERED, row.fault_reason)
    )
    events.append(connection, [Event(kind=kind, at=now, actor=f"channel:{row.id}", reason=why)], now)
    return True, True


def note_slow(connection: Connection, channel_id: str) -> None:
    """A hand-over on this channel lasts for `SLOW_FROM` seconds already: what is announced next goes the slow way."""
    execute_one(connection, _SET_SLOW, {"b_id": channel_id, "slow": True})


def _after(row: Any, one: HandedOver, now: int) -> Breaker:
    known = _breaker(row)
    if one.has_arrived:
        return after_success(known, row.in_flight)
    return known if one.fault is None else after_fault(known, now)


def _tells_pace(row: Any, one: HandedOver) -> bool:
    tells = one.seconds >= SLOW_FROM or (one.was_sent and one.seconds < _QUICK_UNDER)
    return tells and (one.seconds >= SLOW_FROM) != row.is_slow


def _note_pace(connection: Connection, row: Any, one: HandedOver) -> bool:
    if not _tells_pace(row, one):
        return False
    execute_one(connection, _SET_SLOW, {"b_id": row.id, "slow": one.seconds >= SLOW_FROM})
    return True


def _breaker(row: Any) -> Breaker:
    return Breaker(faults=row.faults, open_until=row.open_until, ramp=row.ramp)


def _set_breaker(connection: Connection, channel_id: str, breaker: Breaker, reason: str) -> None:
    values = {"faults": breaker.faults, "open_until": breaker.open_until, "ramp": breaker.ramp, "why": reason}
    execute_one(connection, _SET_BREAKER, {"b_id": channel_id, **values})
