"""What a system is told of its own packets: what was put right in them, an example of each, until when that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from edxml.errors import EdxmlError
from edxml.ids import OrganId
from edxml.profiles import Profile
from gateway.channels.snapshot import Snapshot
from gateway.store import Connection, repairs
from gateway.store.repairs import By, RepairLine, Traffic

__all__ = ["Repaired", "ToldRepair", "tell_repairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRepair:
    """One repair of a system. `until`: the last day on which it is made; `date.max` for no end, None for no more."""

    line: RepairLine
    until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One system's packets in some days, and what was put right in them, the most first."""

    traffic: Traffic
    repairs: tuple[ToldRepair, ...]


def tell_repairs(
    connection: Connection, snapshot: Snapshot, system_id: str, *, since: date, until: date, today: date
) -> Repaired:
    """What was counted for a system from `since` to `until`, both included, and what its profile says of it today.

    Where several of its agencies needed the same repair, the earliest end is told: no promise is made that one of
    them would not find kept.
    """
    profile = snapshot.profile_of(system_id)
    senders = repairs.senders_of(connection, system_id, since=since, until=until)
    lines = repairs.report(connection, By.NAME, since=since, until=until, systems=[system_id])
    return Repaired(
        traffic=repairs.traffic(connection, since=since, until=until, systems=[system_id]),
        repairs=tuple(
            ToldRepair(line=line, until=_last_day(profile, line.key, _organs(snapshot, senders[line.key], today)))
            for line in lines
        ),
    )


def _last_day(profile: Profile, name: str, organs: list[OrganId | None]) -> date | None:
    ends = [profile.last_day(name, organ) for organ in organs]
    return None if None in ends else min(end for end in ends if end is not None)


def _organs(snapshot: Snapshot, agency_ids: frozenset[str], today: date) -> list[OrganId | None]:
    """The agencies' codes of today; None for one without."""
    found: list[OrganId | None] = []
    for agency_id in sorted(agency_ids):
        agency = snapshot.directory.by_id(agency_id)
        code = None if agency is None else agency.organ_code_on(today)
        try:
            found.append(None if code is None else OrganId.parse(code.code))
        except EdxmlError:
            found.append(None)  # a code of another kind: no packet bears it, and no condition names it
    return found
