"""Who is reached how, as the rows say now: one frozen snapshot, made again when the rows change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.contract import Sink, Source
from edxml.profiles import LENIENT, Profile
from gateway.channels.kinds import KINDS, Kind, Opened
from gateway.model.errors import NotFound
from gateway.store import Store
from gateway.store.agencies import load_directory
from gateway.store.channels import ChannelRow, list_channels
from gateway.store.profiles import BUILT_IN, list_profiles
from gateway.store.systems import list_systems
from gateway.store.versions import Versions, VersionWatch, read_versions
from routing.directory import Directory
from routing.plan import Reach

__all__ = ["Channels", "Snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The directory (danh mục), the channel of every agency that has one, and the channels by id."""

    versions: Versions
    directory: Directory
    reach: Mapping[str, Reach]
    by_id: Mapping[str, ChannelRow]
    profiles: Mapping[str, Profile] = field(default_factory=dict)  #: of each system, by its id
    system_names: Mapping[str, str] = field(default_factory=dict)  #: by id
    _opened: dict[str, Opened] = field(default_factory=dict)  # what was opened so far

    def profile_of(self, system_id: str) -> Profile:
        """How strictly packets of this system are read; lenient for whoever is no system, as a channel by itself."""
        return self.profiles.get(system_id, LENIENT)


class Channels:
    """The channels of this node. One per process; may be used from any thread.

    A change of the rows is seen a second later at the latest, or at once after `refresh`.  An adapter is opened when
    it is first asked for, and again when its kind or settings change: whoever still holds the old one finishes with it.
    """

    def __init__(self, store: Store, kinds: Mapping[str, Kind] = KINDS) -> None:
        self._store = store
        self._kinds = kinds
        self._watch = VersionWatch(store)
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """What the rows say, at most a second old. Raises StoreBusy, DirectoryInvalid, ProfileInvalid."""
        versions = self._watch.look()
        found = self._snapshot
        if found is None or found.versions != versions:
            found = self._renew(versions)
        return found

    def refresh(self) -> Snapshot:
        """What the rows say at this moment."""
        return self._renew(self._watch.look(force=True))

    def sink(self, channel_id: str) -> Sink:
        """Where packets of a channel are handed over.

        Raises NotFound `channel.unknown`, `channel.polled` for one that only polls, `channel.kind_unknown`, and
        AdapterError where its settings are wrong.
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
        if row.kind not in self._kinds:
            raise NotFound("channel.kind_unknown", channel=channel_id, kind=row.kind)
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
                known = dict(BUILT_IN) | {row.name: row.profile() for row in list_profiles(connection)}
                systems = list_systems(connection)
                same_directory = found is not None and found.versions.directory == versions.directory
                directory = found.directory if found is not None and same_directory else load_directory(connection)
            by_id = {row.id: row for row in rows}
            self._snapshot = Snapshot(
                versions=versions,
                directory=directory,
                reach={
                    agency_id: Reach(channel_id=row.id, kind=row.kind) for row in rows for agency_id in row.agency_ids
                },
                by_id=by_id,
                profiles={row.id: known[row.profile] for row in systems},
                system_names={row.id: row.name for row in systems},
                _opened={} if found is None else _still_right(found, by_id),
            )
            return self._snapshot


def _still_right(old: Snapshot, by_id: Mapping[str, ChannelRow]) -> dict[str, Opened]:
    """What was opened from rows that say the same now: sources keep what they know of files that still grow."""

    def is_same(channel_id: str) -> bool:
        before, after = old.by_id[channel_id], by_id.get(channel_id)
        return after is not None and (before.kind, before.settings) == (after.kind, after.settings)

    return {channel_id: opened for channel_id, opened in old._opened.items() if is_same(channel_id)}
