"""What the relay asks the database, as statements; `gateway.store.picking` beside it asks.

Those that only PostgreSQL is asked can go by its own clock (`_TOLD`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
    update,
)

from gateway.store.dialect import among, texts, whole_numbers
from gateway.store.schema import channels, is_state, transfers
from gateway.store.schema_recoveries import NOT_RECOVERING

__all__ = [
    "ANNOUNCE", "CHANNELS", "DUE_OF", "LARGE", "LOCK_FREE", "LOCK_IN_TURN", "LOOK", "LOOK_URGENT", "LYING",
    "NEXT_DUE", "NEXT_DUE_TOLD", "RUNNING", "RUNNING_OF",
]  # fmt: skip

LARGE: Final = 8 << 20
"""Bytes of a packet above which its ticket goes to a queue of its own (design §5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """Two instants of a statement: now, and after when what was announced counts as lying there."""

    now: Any
    since: Any


_GIVEN = _Times(now=bindparam("now", type_=BigInteger), since=bindparam("since", type_=BigInteger))
_now = func.coalesce(
    bindparam("now", type_=BigInteger),
    literal_column("(extract(epoch FROM transaction_timestamp()) * 1000000)::bigint", BigInteger),
)
_TOLD = _Times(now=_now, since=_now - bindparam("again", type_=BigInteger))
"""Where none is given: by PostgreSQL's clock, as it was when the transaction began (of what goes on meanwhile no index
can be asked). Nobody has to ask for it first."""


def _running(times: _Times, *which: Any) -> Any:
    claimed = select(transfers.c.channel_id).where(is_state(transfers.c.state, "claimed"), *which)
    announced = select(transfers.c.channel_id).where(
        is_state(transfers.c.state, "ready"), transfers.c.announced_at > times.since, *which
    )
    running = union_all(claimed, announced).subquery("running")
    return select(running.c.channel_id, func.count().label("times")).group_by(running.c.channel_id)


RUNNING = _running(_TOLD)
RUNNING_OF = _running(_GIVEN, among(transfers.c.channel_id, "channels"))


def _lying(times: _Times) -> Any:
    return (
        select(func.count().label("times"))
        .select_from(transfers.join(channels, channels.c.id == transfers.c.channel_id))
        .where(
            is_state(transfers.c.state, "ready"),
            transfers.c.announced_at > times.since,
            ~transfers.c.is_urgent,
            transfers.c.size <= LARGE,
            ~channels.c.is_slow,
            channels.c.state == "open",
            channels.c.open_until <= times.now,
        )
    )


LYING = _lying(_GIVEN)

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


def _may_take(times: _Times) -> Any:
    return and_(channels.c.state == "open", channels.c.open_until <= times.now, NOT_RECOVERING)


CHANNELS = (
    select(*_COLUMNS)
    .select_from(_waiting.join(channels, _waiting.c.id == channels.c.id))
    .where(
        _may_take(_GIVEN),
        or_(
            bindparam("ordinary", type_=Boolean),
            exists().where(
                is_state(transfers.c.state, "ready"), transfers.c.channel_id == channels.c.id, transfers.c.is_urgent
            ),
        ),
    )
)


def _is_due(table: Any, times: _Times, *, ordinary: Any) -> Any:
    """Due, not announced lately, and urgent where nothing else is wanted."""
    return and_(
        is_state(table.c.state, "ready"),
        table.c.due_at <= times.now,
        or_(table.c.announced_at.is_(None), table.c.announced_at <= times.since),
        table.c.is_urgent if ordinary is False else or_(ordinary, table.c.is_urgent),
    )


def _order(table: Any) -> tuple[Any, ...]:
    return table.c.is_urgent.desc(), table.c.due_at, table.c.id


def _with_first(*, ordinary: bool) -> Any:
    """Channels that may take something, each with the first thing that it may take; nobody holds them."""
    first = (
        select(transfers.c.is_urgent, transfers.c.due_at, transfers.c.id)
        .where(
            _is_due(transfers, _TOLD, ordinary=true() if ordinary else False), transfers.c.channel_id == channels.c.id
        )
        .order_by(*_order(transfers))
        .limit(1)
        .lateral("first")
    )
    told = literal_column(str(ordinary).lower(), Boolean)
    return (
        select(
            *_COLUMNS, first.c.is_urgent, first.c.due_at, first.c.id.label("first"), told.label("has_ordinary"),
            _TOLD.now.label("now"),
        )
        .select_from(channels.join(first, true()))
        .where(_may_take(_TOLD))
    )  # fmt: skip


LOOK_URGENT = _with_first(ordinary=False)
_lie = _lying(_TOLD).cte("lying")
_lie_few = select(_lie.c.times).scalar_subquery() <= bindparam("most")
LOOK = union_all(_with_first(ordinary=True).where(_lie_few), _with_first(ordinary=False).where(~_lie_few))
"""Only what is urgent where too many ordinary ones lie unclaimed; the database looks at one of the two."""

_LOCKED = select(*_COLUMNS).where(among(channels.c.id, "channels"), _may_take(_GIVEN))
LOCK_FREE = _LOCKED.with_for_update(of=channels, skip_locked=True)
LOCK_IN_TURN = _LOCKED.order_by(channels.c.id).with_for_update(of=channels)

_PICKED = (
    transfers.c.id, transfers.c.turn, transfers.c.channel_id, transfers.c.is_urgent, transfers.c.size,
    transfers.c.due_at, transfers.c.unreported,
)  # fmt: skip
DUE_OF = (
    select(*_PICKED)
    .where(
        _is_due(transfers, _GIVEN, ordinary=bindparam("ordinary", type_=Boolean)),
        transfers.c.channel_id == bindparam("channel"),
    )
    .order_by(*_order(transfers))
    .limit(bindparam("room"))
)


def _announcing(*, ordinary: bool) -> Any:
    """The same of many channels in one statement: as many rows are locked as are picked, whatever else could be."""
    wanted: Any = true() if ordinary else False
    asked = (
        func.unnest(texts("channels"), whole_numbers("rooms"))
        .table_valued("channel_id", "room", name="asked")
        .render_derived()
    )
    ready = transfers.alias("ready")
    of_each = (
        select(ready.c.id, ready.c.is_urgent, ready.c.due_at)
        .where(_is_due(ready, _GIVEN, ordinary=wanted), ready.c.channel_id == asked.c.channel_id)
        .order_by(*_order(ready))
        .limit(asked.c.room)
        .lateral("of_each")
    )
    chosen = (
        select(of_each.c.id)
        .select_from(asked.join(of_each, true()))
        .order_by(*_order(of_each))
        .limit(bindparam("most"))
        .subquery("chosen")
    )
    free = (
        select(*_PICKED)
        .select_from(chosen.join(transfers, transfers.c.id == chosen.c.id))
        .where(_is_due(transfers, _GIVEN, ordinary=wanted))
        .order_by(*_order(transfers))
        .with_for_update(of=transfers, skip_locked=True)
        .cte("free")
    )
    return (
        update(transfers)
        .where(transfers.c.id == free.c.id)
        .values(announced_at=bindparam("now"))
        .returning(*(free.c[column.name] for column in _PICKED))
    )


ANNOUNCE = {ordinary: _announcing(ordinary=ordinary) for ordinary in (True, False)}


def _next_due(times: _Times) -> Any:
    return select(func.min(transfers.c.due_at).label("at")).where(
        is_state(transfers.c.state, "ready"), transfers.c.due_at > times.now
    )


NEXT_DUE = _next_due(_GIVEN)
NEXT_DUE_TOLD = _next_due(_TOLD)
