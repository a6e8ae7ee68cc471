"""What a file means for this node: every name resolved, every rule looked at, and the rows as they are to be.

Rules: an agency has one owning system and is reached by one channel; who has it now loses it only where the same
file says so too; a channel keeps its kind, since keys do not cross channels (protocol §9); and no agency that a
system speaks for may come to be without a channel, because nothing could be sent to it, not even a status.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import date, timedelta

from adapters.contract import AdapterError
from adapters.settings import without_passwords
from edxml.findings import Finding, Place
from edxml.profiles import LENIENT, ProfileInvalid
from gateway.channels import ChannelRow, Kind, forgets
from gateway.configuration.changes import Change, Noun, changes_between
from gateway.configuration.entries import ChannelEntry, Configuration, ProfileEntry, SystemEntry
from gateway.configuration.faults import ConfigurationInvalid, fault
from gateway.configuration.toml import as_value
from gateway.model.chain import SinkSureness
from gateway.model.instants import new_id
from gateway.model.states import ChannelState
from gateway.store import Connection
from gateway.store.agencies import changed_agencies, load_directory
from gateway.store.channels import list_channels
from gateway.store.profiles import BUILT_IN, ProfileRow, list_profiles
from gateway.store.systems import SystemRow, list_systems
from routing.agency import Agency
from routing.directory import Directory
from routing.errors import DirectoryInvalid
from routing.rows import as_rows

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write: whatever differs from what is stored; systems and channels with what they were."""

    agencies: tuple[Agency, ...]
    profiles: tuple[ProfileRow, ...]
    systems: tuple[tuple[SystemRow | None, SystemRow], ...]
    channels: tuple[tuple[ChannelRow | None, ChannelRow], ...]
    changes: tuple[Change, ...]


@dataclass(slots=True)
class _Known:
    """What is stored, what the file adds to it, and the faults found so far."""

    directory: Directory
    stored: Directory
    profiles: dict[str, ProfileRow]
    systems: dict[str, SystemRow]
    channels: dict[str, ChannelRow]
    kinds: Mapping[str, Kind]
    on: date
    time_limit: timedelta
    unread: frozenset[str]
    faults: list[Finding] = field(default_factory=list)


def make_plan(
    connection: Connection, configuration: Configuration, *, on: date, kinds: Mapping[str, Kind], time_limit: timedelta
) -> Plan:
    """What applying `configuration` would write. Codes of agencies are looked up as of the day `on`.

    `time_limit`: of a delivery; a channel must remember its keys for longer.

    Raises ConfigurationInvalid with every fault, those of its writing first. Rules between rows are looked at where
    all of the file could be read, and no name is called unknown that may stand where it could not.
    """
    known = _look(connection, configuration, on, kinds, time_limit)
    is_read = not known.faults
    profiles = [_profile(known, entry) for entry in configuration.profiles]
    usable = BUILT_IN.keys() | known.profiles.keys() | {row.name for row in profiles}
    systems = [(known.systems.get(entry.name), _system(known, entry, usable)) for entry in configuration.systems]
    names = {**known.systems, **{after.name: after for _, after in systems}}
    channels = [(known.channels.get(entry.id), _channel(known, entry, names)) for entry in configuration.channels]
    wheres = {entry.name: entry.where for entry in configuration.systems}
    wheres |= {entry.id: entry.where for entry in configuration.channels}
    if is_read:
        _check_owners(known, [after for _, after in systems], wheres)
        _check_reach(known, [after for _, after in channels], wheres)
        _check_channel_for_each(known, names, [after for _, after in channels])
    if known.faults:
        raise ConfigurationInvalid(known.faults)
    agencies = changed_agencies(connection, configuration.agencies)
    profiles = [row for row in profiles if known.profiles.get(row.name) != row]
    systems = [(before, after) for before, after in systems if before != after]
    channels = [(before, after) for before, after in channels if before != after]
    return Plan(
        agencies=agencies,
        profiles=tuple(profiles),
        systems=tuple(systems),
        channels=tuple(channels),
        changes=(
            *_agency_changes(known, agencies),
            *_profile_changes(known, profiles),
            *_changes(systems, channels, names),
        ),
    )


def _look(
    connection: Connection, configuration: Configuration, on: date, kinds: Mapping[str, Kind], time_limit: timedelta
) -> _Known:
    stored = load_directory(connection)
    faults, unread = list(configuration.faults), configuration.unread
    try:
        directory = stored.merged_with(configuration.agencies)
    except DirectoryInvalid as why:
        directory, unread = stored, unread | {"agency"}
        faults += why.findings
    return _Known(
        directory=directory,
        stored=stored,
        profiles={row.name: row for row in list_profiles(connection)},
        systems={row.name: row for row in list_systems(connection)},
        channels={row.id: row for row in list_channels(connection)},
        kinds=kinds,
        on=on,
        time_limit=time_limit,
        unread=unread,
        faults=faults,
    )


# --- entries to rows -------------------------------------------------------------------------------------------


def _agency_ids(known: _Known, written: Iterable[str], where: str) -> frozenset[str]:
    """Our ids of agencies written as ids or organ codes."""
    found = set()
    for text in written:
        agency = known.directory.by_id(text) or known.directory.find(text, known.on)
        if agency is not None:
            found.add(agency.id)
        elif "agency" not in known.unread:
            known.faults.append(fault("agency_unknown", where, agency=text))
    return frozenset(found)


def _profile(known: _Known, entry: ProfileEntry) -> ProfileRow:
    row = ProfileRow(name=entry.name, allowances=entry.allow)
    if entry.name in BUILT_IN:
        known.faults.append(fault("profile_taken", entry.where, name=entry.name))
    try:
        row.profile()
    except ProfileInvalid as why:
        known.faults.append(fault("profile_wrong", entry.where, why=why.params["why"]))
    return row


def _system(known: _Known, entry: SystemEntry, profiles: Set[str]) -> SystemRow:
    before = known.systems.get(entry.name)
    is_enabled = entry.is_enabled if entry.is_enabled is not None else before is None or before.is_enabled
    profile = entry.profile or (before.profile if before else LENIENT.name)
    if profile not in profiles and "profile" not in known.unread:
        known.faults.append(fault("no_profile", entry.where, name=profile, profiles=", ".join(sorted(profiles))))
    return SystemRow(
        id=before.id if before else new_id(),
        name=entry.name,
        is_operator=entry.is_operator,
        is_enabled=is_enabled,
        profile=profile,
        agency_ids=_agency_ids(known, entry.speaks_for, entry.where),
    )


def _channel(known: _Known, entry: ChannelEntry, systems: Mapping[str, SystemRow]) -> ChannelRow:
    """The row of an entry. One with a fault still serves its agencies, so that they are not called unreached too."""
    before = known.channels.get(entry.id)
    if before is not None and before.kind != entry.kind:
        known.faults.append(fault("kind_fixed", entry.where, before=before.kind, after=entry.kind))
    if entry.system is not None and entry.system not in systems and "system" not in known.unread:
        known.faults.append(fault("system_unknown", entry.where, system=entry.system))
    agency_ids = _agency_ids(known, entry.serves, entry.where)
    owner = systems.get(entry.system) if entry.system is not None else None
    sink = _sink_of(known, entry) or SinkSureness.BLIND  # a stand-in that is never written: a fault was noted
    left = before.state if before else ChannelState.OPEN
    held = left if left is not ChannelState.OPEN else ChannelState.PAUSED  # one that drains is being paused
    wanted = {None: left, True: held, False: ChannelState.OPEN}[entry.is_paused]
    return ChannelRow(
        id=entry.id,
        kind=entry.kind,
        sink=sink,
        is_polled=known.kinds.get(entry.kind) is None,
        state=wanted,
        speaks_for_agency=entry.speaks_for_agency,
        in_flight=entry.in_flight,
        windows=entry.windows if entry.windows is not None else before.windows if before else (),
        settings=entry.settings,
        system_id=owner.id if owner is not None else None,
        agency_ids=agency_ids,
    )


def _sink_of(known: _Known, entry: ChannelEntry) -> SinkSureness | None:
    """How sure a repeat is on the channel, found by opening it as it would be; None after noting why not."""
    if entry.kind not in known.kinds:
        known.faults.append(fault("kind_unknown", entry.where, kind=entry.kind, kinds=", ".join(known.kinds)))
        return None
    opener = known.kinds[entry.kind]
    if opener is None:  # polled: idempotent by contract, the key is in list and header (protocol §10)
        if entry.settings:
            known.faults.append(fault("no_settings", entry.where, kind=entry.kind))
        return SinkSureness.IDEMPOTENT
    try:
        opened = opener(entry.settings, entry.id)
    except AdapterError as why:
        for one in (why, *why.also):
            place = Place(path=f"{entry.where}: settings.{one.params['setting']}")
            known.faults.append(Finding(code=one.code, place=place, params=one.params))
        return None
    if (days := forgets(opened, known.time_limit)) is not None:
        where = f"{entry.where}: settings.remember_days"
        known.faults.append(fault("channel_forgets", where, remembers=days["remembers"], limit=days["limit"]))
    if opened.source is not None and entry.system is None:
        known.faults.append(fault("channel_without_system", entry.where))
    return SinkSureness(opened.sink.kind)


# --- rules between rows ------------------------------------------------------------------------------------------


def _check_owners(known: _Known, after: list[SystemRow], wheres: Mapping[str, str]) -> None:
    owners = {agency_id: row.name for row in known.systems.values() for agency_id in row.agency_ids}
    for agency_id, first, second in _contested(owners, {row.name: row.agency_ids for row in after}):
        known.faults.append(fault("agency_owned", wheres[second], agency=_shown(known, agency_id), owner=first))


def _check_reach(known: _Known, after: list[ChannelRow], wheres: Mapping[str, str]) -> None:
    serving = {agency_id: row.id for row in known.channels.values() for agency_id in row.agency_ids}
    for agency_id, first, second in _contested(serving, {row.id: row.agency_ids for row in after}):
        known.faults.append(fault("agency_served", wheres[second], agency=_shown(known, agency_id), channel=first))


def _contested(holders: Mapping[str, str], wanted: Mapping[str, frozenset[str]]) -> Iterable[tuple[str, str, str]]:
    """(agency, who has it, who wants it too). Whoever the file names keeps only what the file gives it."""
    taken = {agency_id: holder for agency_id, holder in holders.items() if holder not in wanted}
    for name, agency_ids in wanted.items():
        for agency_id in sorted(agency_ids):
            holder = taken.setdefault(agency_id, name)
            if holder != name:
                yield agency_id, holder, name


def _check_channel_for_each(known: _Known, systems: Mapping[str, SystemRow], after: list[ChannelRow]) -> None:
    """No agency with a system may lose its channel or come without one; those that have none already are let be."""
    channels = {**known.channels, **{row.id: row for row in after}}
    alone = _unreached(systems.values(), channels.values())
    before = _unreached(known.systems.values(), known.channels.values())
    for agency_id in sorted(alone.keys() - before.keys()):
        shown = _shown(known, agency_id)
        where = f"[[system]] {alone[agency_id]}"
        known.faults.append(fault("agency_without_channel", where, agency=shown, id=agency_id, system=alone[agency_id]))


def _unreached(systems: Iterable[SystemRow], channels: Iterable[ChannelRow]) -> dict[str, str]:
    reached = {agency_id for row in channels for agency_id in row.agency_ids}
    return {agency_id: row.name for row in systems for agency_id in row.agency_ids if agency_id not in reached}


def _shown(known: _Known, agency_id: str) -> str:
    agency = known.directory.by_id(agency_id)
    return f"{agency.name_on(known.on)} ({agency_id})" if agency else agency_id


# --- differences -------------------------------------------------------------------------------------------------


def _agency_changes(known: _Known, agencies: Iterable[Agency]) -> Iterable[Change]:
    for agency in agencies:
        stored = known.stored.by_id(agency.id)
        yield from changes_between(
            Noun.AGENCY, agency.id, _agency_fields(stored) if stored else None, _agency_fields(agency)
        )


def _profile_changes(known: _Known, profiles: Iterable[ProfileRow]) -> Iterable[Change]:
    for row in profiles:
        before = known.profiles.get(row.name)
        fields = _profile_fields(before) if before else None
        yield from changes_between(Noun.PROFILE, row.name, fields, _profile_fields(row))


def _changes(
    systems: Iterable[tuple[SystemRow | None, SystemRow]],
    channels: Iterable[tuple[ChannelRow | None, ChannelRow]],
    names: Mapping[str, SystemRow],
) -> Iterable[Change]:
    for before, system in systems:
        fields = _system_fields(before) if before else None
        yield from changes_between(Noun.SYSTEM, system.name, fields, _system_fields(system))
    by_id = {row.id: row.name for row in names.values()}
    for old, channel in channels:
        fields = _channel_fields(old, by_id) if old else None
        yield from changes_between(Noun.CHANNEL, channel.id, fields, _channel_fields(channel, by_id))


def _agency_fields(agency: Agency) -> dict[str, str]:
    """One field per table of dated things, each thing with its values; bare where nothing but the value is set."""
    tables = as_rows((agency,))
    (own,) = tables.pop("agencies")
    shown = {name: str(value or "") for name, value in own.items() if name != "id"}
    for table, rows in tables.items():
        values = [[str(v) for name, v in row.items() if name != "agency_id" and v not in (None, "")] for row in rows]
        shown[table] = "; ".join(" ".join(value) for value in values)
    return shown


def _profile_fields(row: ProfileRow) -> dict[str, str]:
    return {"allow": "; ".join(as_value(entry) for entry in row.allowances)}


def _system_fields(row: SystemRow) -> dict[str, str]:
    return {
        "operator": _flag(row.is_operator),
        "enabled": _flag(row.is_enabled),
        "profile": row.profile,
        "speaks_for": ", ".join(sorted(row.agency_ids)),
    }


def _channel_fields(row: ChannelRow, systems: Mapping[str, str]) -> dict[str, str]:
    return {
        "kind": row.kind,
        "sink": str(row.sink),
        "serves": ", ".join(sorted(row.agency_ids)),
        "system": systems.get(row.system_id or "", row.system_id or ""),
        "paused": _flag(row.is_paused),
        "speaks_for_agency": _flag(row.speaks_for_agency),
        "in_flight": str(row.in_flight),
        "windows": "; ".join(row.windows),
        "settings": json.dumps(without_passwords(row.settings), ensure_ascii=False, sort_keys=True),
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"
