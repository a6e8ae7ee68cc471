"""Followers (người theo sau): work that reads what was accepted, behind the hops, each packet exactly once.

A follower reads the events in the order of their commits and remembers how far it came, in the transaction that
keeps what it worked out.  So a crash repeats what was not kept, and nothing is counted twice or passed over; no hop
writes a row for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, select, update

from gateway.model.events import EventKind
from gateway.model.inspection import INSPECTOR_VERSION
from gateway.store.dialect import COMMIT_ORDER, count_after, insert_ignore, settled_until
from gateway.store.schema import events
from gateway.store.schema_judged import followers
from gateway.store.statements import select_one, select_rows

__all__ = ["Behind", "Follower", "Following", "advance", "behind", "follow"]


class Follower(StrEnum):
    """Who follows, by the name under which its position is kept."""

    REPAIRS = "repairs"
    SIGNATURES = "signatures"
    INSPECTOR = f"inspector.{INSPECTOR_VERSION}"  #: a new version reads from the beginning: every stored PDF once more


_POSITION = select(followers.c.position).where(followers.c.name == bindparam("name"))
_NEXT = (
    select(COMMIT_ORDER.label("position"), events.c.kind, events.c.packet_id, events.c.recorded_at)
    .where(bindparam("after") < COMMIT_ORDER, bindparam("end") > COMMIT_ORDER)
    .order_by(COMMIT_ORDER)
    .limit(bindparam("most"))
)
_ADVANCE = (
    update(followers)
    .where(followers.c.name == bindparam("b_name"), followers.c.position == bindparam("b_before"))
    .values(position=bindparam("b_after"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """The packets accepted after position `before`, up to and with `after`; the same where nothing happened."""

    name: str
    before: int
    after: int
    events: int  #: how many of any kind lie between
    since: int  #: when the first of the events was recorded; 0 where nothing happened
    packet_ids: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether the follower has come as far as the events go."""
        return self.after == self.before


def follow(connection: Connection, name: str, *, most: int = 1_000) -> Following:
    """What follower `name` has to look at next, out of the next `most` events of any kind."""
    before = select_one(connection, _POSITION, {"name": name}) or 0
    end = settled_until(connection)
    rows = select_rows(connection, _NEXT, {"after": before, "end": end, "most": most})
    accepted = tuple(row.packet_id for row in rows if row.kind == EventKind.PACKET_ACCEPTED)
    after, since = (rows[-1].position, rows[0].recorded_at) if rows else (before, 0)
    return Following(name=name, before=before, after=after, events=len(rows), since=since, packet_ids=accepted)


def advance(connection: Connection, following: Following) -> bool:
    """The follower is done with these; False where another process was faster: keep nothing then."""
    insert_ignore(connection, followers, [{"name": following.name, "position": 0}], "name")
    values = {"b_name": following.name, "b_before": following.before, "b_after": following.after}
    return connection.execute(_ADVANCE, values).rowcount == 1


_POSITIONS = select(followers.c.name, followers.c.position)
_NEXT_ACCEPTED = (
    select(events.c.recorded_at)
    .where(bindparam("after") < COMMIT_ORDER, events.c.kind == EventKind.PACKET_ACCEPTED)
    .order_by(COMMIT_ORDER)
    .limit(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """How far a follower came, how many events it has not passed, and since when the oldest packet waits for it."""

    position: int
    events: int
    since: int | None  #: when it was accepted; None: no packet waits


def behind(connection: Connection) -> dict[str, Behind]:
    """How far each follower is behind, one that never moved included; of older versions nobody is told."""
    positions = {row.name: row.position for row in connection.execute(_POSITIONS)}
    found = {}
    for name in Follower:
        after = positions.get(name, 0)
        missed = count_after(connection, after)
        since = connection.execute(_NEXT_ACCEPTED, {"after": after}).scalar() if missed else None
        found[str(name)] = Behind(position=after, events=missed, since=since)
    return found
