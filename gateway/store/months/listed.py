"""From which month on anything waits in an inbox (hộp đến): a list looks into no earlier one, however many there are.

Nothing that waits is hidden by it, however old: an id is kept before which no delivery is listed.  It is found anew now
and then, always so far behind the clock that nobody who puts something new into an inbox has to know of it.  Whoever
puts something old there (an operator resends it) says so in the same transaction.  PostgreSQL alone has months.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, bindparam, func, or_, select, update

from gateway.model.instants import DAY, id_floor
from gateway.model.states import DeliveryState
from gateway.store.dialect import insert_missing, lock_rows
from gateway.store.schema import deliveries, is_state
from gateway.store.schema_walks import walks
from gateway.store.statements import select_rows

__all__ = ["LISTED", "find_anew", "kept_since", "listed_since", "note"]

LISTED: Final = (DeliveryState.AVAILABLE, DeliveryState.FETCHED)
"""States of what waits in an inbox."""

_OLD: Final = 31 * DAY
"""Whoever puts something into an inbox whose id is older than this says so."""
_NEVER_AFTER: Final = 62 * DAY
"""What is younger is always looked at. The difference to `_OLD` is what a clock may jump by within one transaction."""

_NAME: Final = "listed"
_KEPT = select(walks.c.after).where(walks.c.name == _NAME)
_LOWER = update(walks).where(walks.c.name == _NAME, walks.c.after > bindparam("b_oldest")).values(after=bindparam("id"))
_KEEP = update(walks).where(walks.c.name == _NAME).values(after=bindparam("id"), ended_at=bindparam("now"))
_OLDEST = select(func.min(deliveries.c.id.concat(""))).where(  # by the index of what is open, not by that of all ids
    is_state(deliveries.c.state, *LISTED),
    or_(deliveries.c.id < bindparam("until"), deliveries.c.id == bindparam("until")),
)


def kept_since(connection: Connection) -> str | None:
    """What `listed_since` needs of the database, as this transaction sees it."""
    if connection.dialect.name == "sqlite":
        return None
    kept = select_rows(connection, _KEPT, {})
    return str(kept[0].after) if kept else None


def listed_since(kept: str | None, now: int) -> str:
    """An id before which nothing is listed, by what was `kept_since` in this transaction; "" where nobody looked."""
    return "" if kept is None else min(kept, id_floor(now - _NEVER_AFTER))


def note(connection: Connection, delivery_ids: Iterable[str], now: int) -> None:
    """These come into an inbox in this transaction; costs a look at the oldest id where none is old."""
    oldest = min(delivery_ids, default="")
    if not oldest or connection.dialect.name == "sqlite" or oldest >= id_floor(now - _OLD):
        return
    lock_rows(connection, _KEPT, {})  # also where it is early enough: nobody may be finding it anew meanwhile
    connection.execute(_LOWER, {"b_oldest": oldest, "id": oldest})


def find_anew(connection: Connection, now: int) -> str:
    """Find out from which id on anything is listed, and keep it; gives it. Safe to repeat.

    The first time only its place is made: a transaction that looked for it in vain has ended by the next time.
    Costs what is listed of months that are older than two.
    """
    if not select_rows(connection, _KEPT, {}):
        insert_missing(connection, walks, [{"name": _NAME, "after": "", "ended_at": 0}], "name")
        return ""
    lock_rows(connection, _KEPT, {})
    until = id_floor(now - _NEVER_AFTER)
    oldest: str | None = connection.execute(_OLDEST, {"until": until}).scalar()
    connection.execute(_KEEP, {"id": oldest or until, "now": now})
    return oldest or until
