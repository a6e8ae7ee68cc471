"""Inboxes (hộp đến) as an operator sees them: what waits there, for how long, and when anybody last asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, literal_column, select

from gateway.model.states import DeliveryState
from gateway.store.months.bounds import since
from gateway.store.months.listed import kept_since, listed_since
from gateway.store.schema import channel_agencies, channels, deliveries, is_state, system_agencies, systems
from gateway.store.schema_sightings import sightings
from gateway.store.sightings import Whose

__all__ = ["Inbox", "Unfetched", "inboxes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfetched:
    """What waits to be fetched: how many, and since when the oldest of them."""

    count: int
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """The inbox of one agency, and who was last heard of there. Instants; None: never."""

    agency_id: str
    channel_id: str  #: "" where it is polled no more and something still waits
    system: str  #: name of the system that speaks for the agency; "" where none does
    polled_at: int | None  #: when its items were last listed or fetched
    seen_at: int | None  #: when that system last called, whatever it wanted
    urgent: Unfetched | None
    ordinary: Unfetched | None


_WAITING = (
    select(
        deliveries.c.agency_id,
        deliveries.c.is_urgent,
        func.count().label("n"),
        func.min(deliveries.c.since).label("since"),
    )
    .where(is_state(deliveries.c.state, DeliveryState.AVAILABLE), since(deliveries.c.id))
    .group_by(deliveries.c.agency_id, deliveries.c.is_urgent)
)
_OWNERS = (
    select(system_agencies.c.agency_id, systems.c.name, sightings.c.at.label("seen_at"))
    .select_from(
        system_agencies.join(systems, systems.c.id == system_agencies.c.system_id).outerjoin(
            sightings, and_(sightings.c.whose == literal_column(f"'{Whose.SYSTEM}'"), sightings.c.id == systems.c.id)
        )
    )
    .order_by(system_agencies.c.agency_id)
)
_REACHED = (
    select(channel_agencies.c.agency_id, channels.c.id)
    .select_from(channel_agencies.join(channels, channels.c.id == channel_agencies.c.channel_id))
    .where(channels.c.is_polled)
)
_ASKED = select(sightings.c.id, sightings.c.at).where(sightings.c.whose == literal_column(f"'{Whose.INBOX}'"))


def inboxes(connection: Connection, now: int) -> tuple[Inbox, ...]:
    """The inbox of every agency that polls, and of each for whom something waits all the same, by agency.

    Costs the agencies, and what waits: read from an index that holds nothing else.
    """
    low = {"low": listed_since(kept_since(connection), now)}
    waits = {
        (row.agency_id, bool(row.is_urgent)): Unfetched(count=row.n, since=row.since)
        for row in connection.execute(_WAITING, low)
    }
    reached = {row.agency_id: row.id for row in connection.execute(_REACHED)}
    owners = {row.agency_id: row for row in connection.execute(_OWNERS)}
    asked = {row.id: row.at for row in connection.execute(_ASKED)}
    return tuple(
        Inbox(
            agency_id=agency_id,
            channel_id=reached.get(agency_id, ""),
            system=owners[agency_id].name if agency_id in owners else "",
            polled_at=asked.get(agency_id),
            seen_at=owners[agency_id].seen_at if agency_id in owners else None,
            urgent=waits.get((agency_id, True)),
            ordinary=waits.get((agency_id, False)),
        )
        for agency_id in sorted(reached.keys() | {agency_id for agency_id, _ in waits})
    )
