"""Who is reached how, as the rows say now: one frozen snapshot, made again when the rows change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from adapters.contract import AdapterError, Sink, Source
from edxml.profiles import LENIENT, Profile, ProfileInvalid
from gateway.channels.kinds import KINDS, Kind, Opened
from gateway.model.errors import GatewayError, NotFound
from gateway.store import Connection, Store
from gateway.store.agencies import load_directory
from gateway.store.channels import ChannelRow, list_channels
from gateway.store.profiles import BUILT_IN, ProfileRow, list_profiles
from gateway.store.systems import SystemRow, list_systems
from gateway.store.versions import Versions, VersionWatch, read_versions
from routing.directory import Directory
from routing.errors import DirectoryInvalid
from routing.plan import Reach

__all__ = ["ChannelUnreadable", "Channels", "ProfileUnreadable", "RowFault", "Snapshot"]


class ProfileUnreadable(GatewayError):
    """The stored profile of this system says nothing that can be used: nothing of it is taken in until it is mended.

    Parameters `system`, `profile`, `why`.
    """

    code = "system.profile_unreadable"
    retryable = True


class ChannelUnreadable(AdapterError):
    """What is stored of this channel cannot be read; parameters `channel`, `why`."""

    code = "channel.unreadable"


class ChannelKindUnknown(AdapterError):
    """The channel is of a kind that this program does not know; parameters `channel`, `kind`."""

    code = "channel.kind_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFault:
    """One stored row that cannot be read: `kind` is `profile` (then `name` is the system's), `channel`, `directory`."""

    kind: str
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The directory (danh mục), the channel of every agency that has one, and the channels by id."""

    versions: Versions
    directory: Directory
    reach: Mapping[str, Reach]
    by_id: Mapping[str, ChannelRow]
    profiles: Mapping[str, Profile] = field(default_factory=dict)  #: of each system, by its id
    system_names: Mapping[str, str] = field(default_factory=dict)  #: by id
    faults: tuple[RowFault, ...] = ()  #: rows that cannot be read, in a stable order
    _unreadable: Mapping[str, ProfileUnreadable] = field(default_factory=dict)  # by the system's id
    _opened: dict[str, Opened] = field(default_factory=dict)  # what was opened so far

    def profile_of(self, system_id: str) -> Profile:
        """How strictly packets of this system are read; lenient for whoever is no system, as a channel by itself.

        Raises ProfileUnreadable where what is stored of that system's profile cannot be read: of that system alone.
        """
        if system_id in self._unreadable:
            raise ProfileUnreadable(**self._unreadable[system_id].params)
        return self.profiles.get(system_id, LENIENT)


class Channels:
    """The channels of this node. One per process; may be used from any thread.

    A change of the rows is seen a second later at the latest, or at once after `refresh`.  An adapter is opened when
    it is first asked for, and again when its kind or settings change: whoever still holds the old one finishes with it.
    """

    def __init__(
        self, store: Store, kinds: Mapping[str, Kind] = KINDS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._kinds = kinds
        self.watch = VersionWatch(store, clock=clock)  #: told by whoever asks `beside` what he needs himself
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """What the rows say, at most a second old.

        A row that cannot be read is its system's or channel's fault alone (`Snapshot.faults`); a directory that cannot,
        leaves the one before in its place.  Raises StoreBusy, and DirectoryInvalid where there is none before.
        """
        versions = self.watch.look()
        found = self._snapshot
        if found is None or found.versions != versions:
            found = self._renew(versions)
        return found

    def refresh(self) -> Snapshot:
        """What the rows say at this moment."""
        return self._renew(self.watch.look(force=True))

    def sink(self, channel_id: str) -> Sink:
        """Where packets of a channel are handed over.

        Raises NotFound `channel.unknown`, `channel.polled` for one that only polls, and AdapterError where its row
        cannot be read, its kind is unknown or its settings are wrong.
        """
        opened = self._open(channel_id)
        if opened is None:
            raise NotFound("channel.polled", channel=channel_id)
        return opened.sink

    def source(self, channel_id: str) -> Source | None:
        """Where a channel's packets come from; None where it has no such way. Raises as `sink`."""
        opened = self._open(channel_id)
        return None if opened is None else opened.source

    def opened(self, channel_id: str) -> Opened | None:
        """The channel as its adapter opened it, for what only that kind has (watching a folder). None: polled."""
        return self._open(channel_id)

    def _open(self, channel_id: str) -> Opened | None:
        snapshot = self.snapshot()
        row = snapshot.by_id.get(channel_id)
        if row is None:
            raise NotFound("channel.unknown", channel=channel_id)
        if row.fault:
            raise ChannelUnreadable(channel=channel_id, why=row.fault)
        if row.kind not in self._kinds:
            raise ChannelKindUnknown(channel=channel_id, kind=row.kind)
        opener = self._kinds[row.kind]
        if opener is None:
            return None
        with self._lock:
            opened = snapshot._opened.get(channel_id)
            if opened is None:
                opened = snapshot._opened[channel_id] = opener(row.settings, channel_id)
            return opened

    def _renew(self, wanted: Versions) -> Snapshot:
        with self._lock:
            found = self._snapshot
            if found is not None and found.versions == wanted:
                return found
            with self._store.read() as connection:
                versions = read_versions(connection)
                rows = list_channels(connection)
                known = list_profiles(connection)
                systems = list_systems(connection)
                directory, faults = _directory(connection, found, versions)
            by_id = {row.id: row for row in rows}
            profiles, unreadable = _profiles(systems, known)
            faults += [RowFault(kind="channel", name=row.id, why=row.fault) for row in rows if row.fault]
            faults += [
                RowFault(kind="profile", name=why.params["system"], why=why.params["why"])
                for why in unreadable.values()
            ]
            self._snapshot = Snapshot(
                versions=versions,
                directory=directory,
                reach={
                    agency_id: Reach(channel_id=row.id, kind=row.kind) for row in rows for agency_id in row.agency_ids
                },
                by_id=by_id,
                profiles=profiles,
                system_names={row.id: row.name for row in systems},
                faults=tuple(faults),
                _unreadable=unreadable,
                _opened={} if found is None else _still_right(found, by_id),
            )
            return self._snapshot


def _directory(connection: Connection, found: Snapshot | None, versions: Versions) -> tuple[Directory, list[RowFault]]:
    """The directory as stored, or the last good one with its fault."""
    if found is not None and found.versions.directory == versions.directory:
        return found.directory, [fault for fault in found.faults if fault.kind == "directory"]
    try:
        return load_directory(connection), []
    except DirectoryInvalid as why:
        if found is None:
            raise
        return found.directory, [RowFault(kind="directory", name="", why=str(why.params["first"]))]


def _profiles(
    systems: Iterable[SystemRow], rows: Iterable[ProfileRow]
) -> tuple[dict[str, Profile], dict[str, ProfileUnreadable]]:
    """The profile of each system, by its id; and of whom what is stored cannot be read."""
    known = {row.name: row for row in rows}
    found: dict[str, Profile] = {}
    unreadable: dict[str, ProfileUnreadable] = {}
    for system in systems:
        name = system.profile
        try:
            found[system.id] = BUILT_IN[name] if name in BUILT_IN else known[name].profile()
        except (ProfileInvalid, KeyError) as why:
            said = why.params["why"] if isinstance(why, ProfileInvalid) else "?"
            unreadable[system.id] = ProfileUnreadable(system=system.name, profile=name, why=said)
    return found, unreadable


def _still_right(old: Snapshot, by_id: Mapping[str, ChannelRow]) -> dict[str, Opened]:
    """What was opened from rows that say the same now: sources keep what they know of files that still grow."""

    def is_same(channel_id: str) -> bool:
        before, after = old.by_id[channel_id], by_id.get(channel_id)
        return after is not None and (before.kind, before.settings) == (after.kind, after.settings)

    return {channel_id: opened for channel_id, opened in old._opened.items() if is_same(channel_id)}
