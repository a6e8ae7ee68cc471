"""Making the rows what a file says, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta

from gateway.channels import KINDS, Kind
from gateway.configuration.changes import Change
from gateway.configuration.entries import Configuration
from gateway.configuration.faults import ConfigurationInvalid, fault
from gateway.configuration.plan import Plan, make_plan
from gateway.model.events import Event, EventKind
from gateway.model.instants import VIETNAM, as_datetime
from gateway.model.states import ChannelState
from gateway.model.step import Pace
from gateway.store import Connection, Store, channels, events, profiles, systems
from gateway.store.agencies import load_directory, put_agencies
from gateway.store.repeating import repeated_where_undone
from gateway.store.versions import lock_configuration
from routing.directory import Directory
from routing.rows import load_nghe_an

__all__ = ["PROFILES", "apply", "diff", "init_rows"]

_TIME_LIMIT = timedelta(microseconds=Pace().time_limit)

PROFILES: Mapping[str, Callable[[], Directory]] = {"nghe_an": load_nghe_an}
"""Directories that `truc init` can fill a new node with."""


def diff(
    store: Store,
    configuration: Configuration,
    *,
    on: date | None = None,
    kinds: Mapping[str, Kind] = KINDS,
    time_limit: timedelta = _TIME_LIMIT,
) -> tuple[Change, ...]:
    """What `apply` would change, changing nothing. Raises ConfigurationInvalid with every fault."""
    with store.read() as connection:
        day = on or _today(store, connection)
        return make_plan(connection, configuration, on=day, kinds=kinds, time_limit=time_limit).changes


@repeated_where_undone
def apply(
    store: Store,
    configuration: Configuration,
    *,
    dry_run: bool = False,
    actor: str = "cli",
    on: date | None = None,
    kinds: Mapping[str, Kind] = KINDS,
    time_limit: timedelta = _TIME_LIMIT,
) -> tuple[Change, ...]:
    """Make the rows what the configuration says; gives what changed. A repeat changes nothing and gives ().

    One transaction: all of it, or on ConfigurationInvalid nothing.  What the file does not name stays; for a system
    or channel that it names, `speaks_for` and `serves` are complete lists.  Running processes follow in a second.
    """
    if dry_run:
        return diff(store, configuration, on=on, kinds=kinds, time_limit=time_limit)
    with store.write() as connection:
        lock_configuration(connection)
        day = on or _today(store, connection)
        plan = make_plan(connection, configuration, on=day, kinds=kinds, time_limit=time_limit)
        if plan.changes:
            now = store.now(connection)
            put_agencies(connection, plan.agencies)
            for row in plan.profiles:
                profiles.put_profile(connection, row)
            _write_systems(connection, plan, now, actor)
            _write_channels(connection, plan, now, actor)
            applied = Event(
                kind=EventKind.CONFIGURATION_APPLIED, at=now, actor=actor, reason=f"changes x{len(plan.changes)}"
            )
            events.append(connection, [applied], now)
    return plan.changes


def init_rows(store: Store, profile: str = "nghe_an") -> int:
    """Fill a new node's directory from a profile; gives how many agencies were added.

    Safe to repeat: agencies that are there, perhaps changed by an operator, stay as they are.  Raises
    ConfigurationInvalid for a profile that is none, DirectoryInvalid where the whole would contradict itself.
    """
    if profile not in PROFILES:
        raise ConfigurationInvalid([fault("profile_unknown", "profile", name=profile, profiles=", ".join(PROFILES))])
    wanted = PROFILES[profile]()
    with store.write() as connection:
        lock_configuration(connection)
        stored = load_directory(connection)
        missing = [agency for agency in wanted.agencies if stored.by_id(agency.id) is None]
        stored.merged_with(missing)  # raises where the whole would contradict itself
        return len(put_agencies(connection, missing))


def _today(store: Store, connection: Connection) -> date:
    return as_datetime(store.now(connection)).astimezone(VIETNAM).date()


def _write_systems(connection: Connection, plan: Plan, now: int, actor: str) -> None:
    """Everybody lets go before anybody takes, so that an agency can pass from one to another in one file."""
    for before, after in plan.systems:
        if before is None:
            systems.add_system(connection, after.id, after.name, is_operator=after.is_operator, now=now, actor=actor)
        if before is None or _rights(before) != _rights(after):
            systems.change_system(
                connection,
                after.id,
                is_operator=after.is_operator,
                is_enabled=after.is_enabled,
                profile=after.profile,
            )
        if before is not None:
            systems.release_agencies(connection, after.id, before.agency_ids - after.agency_ids)
    for _, after in plan.systems:
        taken = systems.claim_agencies(connection, after.id, after.agency_ids)
        assert not taken, f"the plan gave {sorted(taken)} away that others hold"


def _rights(row: systems.SystemRow) -> tuple[bool, bool, str]:
    return row.is_operator, row.is_enabled, row.profile


def _write_channels(connection: Connection, plan: Plan, now: int, actor: str) -> None:
    for before, after in plan.channels:
        # pausing and resuming are moves of their own, with their events
        channels.put_channel(connection, replace(after, state=before.state if before else ChannelState.OPEN))
        channels.set_state(connection, after.id, after.state, now=now, actor=actor)
        if before is not None:
            channels.release_agencies(connection, after.id, before.agency_ids - after.agency_ids)
    for _, after in plan.channels:
        taken = channels.serve_agencies(connection, after.id, after.agency_ids)
        assert not taken, f"the plan gave {sorted(taken)} away that others serve"
