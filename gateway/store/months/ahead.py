"""Times that the present clock cannot have given: it was ahead, and has been set right since (protocol §13).

What waits for such a time is let go on.  Until when an attempt may land is not here: no clock that can be set tells
that (`gateway.store.reckoning`).
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, exists, or_, select, update

from gateway.model.breaker import LONGEST_PAUSE
from gateway.model.instants import CLOCKS_APART
from gateway.store.schema import channels, deliveries, is_state, transfers

__all__ = ["is_ahead", "mend"]

_MOVED_THEN = exists().where(
    deliveries.c.transfer_id == transfers.c.id, deliveries.c.since > bindparam("later")
)  # a wait that somebody asked for may be long; only who was moved by the wrong clock was told a wrong time
_DUE = and_(is_state(transfers.c.state, "ready"), transfers.c.due_at > bindparam("later"), _MOVED_THEN)
_ANNOUNCED = and_(is_state(transfers.c.state, "ready"), transfers.c.announced_at > bindparam("later"))
_CLAIMED = and_(is_state(transfers.c.state, "claimed"), transfers.c.lease_until > bindparam("longest_lease"))
_BROKEN = channels.c.open_until > bindparam("longest_pause")

_IS_AHEAD = select(
    or_(
        exists(select(transfers.c.id).where(_DUE)),
        exists(select(transfers.c.id).where(_ANNOUNCED)),
        exists(select(transfers.c.id).where(_CLAIMED)),
        exists(select(channels.c.id).where(_BROKEN)),
    )
)
_HASTEN = update(transfers).where(_DUE).values(due_at=bindparam("clock"), announced_at=None)
_FORGET = update(transfers).where(_ANNOUNCED).values(announced_at=None)
_SHORTEN = update(transfers).where(_CLAIMED).values(lease_until=bindparam("lease_from_now"))
_LOOK_AGAIN = update(channels).where(_BROKEN).values(open_until=bindparam("clock"))


def _values(now: int, lease: int) -> dict[str, int]:
    later = now + CLOCKS_APART
    return {
        "later": later, "clock": now, "longest_lease": later + lease, "lease_from_now": now + lease,
        "longest_pause": later + LONGEST_PAUSE,
    }  # fmt: skip


def is_ahead(connection: Connection, *, now: int, lease: int) -> bool:
    """Whether anything waits for such a time. Looks at ends of indexes, not at what waits."""
    return bool(connection.execute(_IS_AHEAD, _values(now, lease)).scalar())


def mend(connection: Connection, *, now: int, lease: int) -> dict[str, int]:
    """Let it go on: what is due ahead is due now, what was announced ahead may be announced again, a channel that
    rests too long may be tried, and a claim stands one lease from now: a worker that lives renews it before.

    How many of each kind, where there were any.  Repeats change nothing.
    """
    statements = {"due": _HASTEN, "announced": _FORGET, "claimed": _SHORTEN, "resting": _LOOK_AGAIN}
    counts = {
        kind: connection.execute(statement, _values(now, lease)).rowcount for kind, statement in statements.items()
    }
    return {kind: count for kind, count in counts.items() if count}
