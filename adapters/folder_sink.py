"""Handing packets over into a folder (nơi giao), so that no crash loses one and none is there twice.

Why this sink is *checkable*.  A packet is staged on the same file system and becomes visible by one rename:

    .truc/<key>.<unique>.tmp ─rename→ .truc/<key>.part, record .truc/<key>.staged
        … the attempt is committed …
    .truc/<key>.part ─rename→ den/<key>.edxml

A rename is one step of the file system, so after any crash `.part` is either still there (surely not arrived) or
gone (arrived), even when the agency's software took the packet away a millisecond later.  The record, an empty
file that stays, tells "gone" from "never was".  A staged file is only ever replaced by another rename over it,
and a key whose record stands without its `.part` is never staged again: a second copy cannot be made.

Where this sink would be *blind*, and says so instead of guessing:
- `.truc` was cleaned by somebody: the marker is gone with it, and an unknown key is "cannot tell" from then on;
- a network file system whose server lost a rename's answer: the look at `.part` decides, or `Unknown`;
- a file system where a rename is a copy (some FUSE and WebDAV mounts): do not use the folder channel on these;
- records are forgotten after `remember` (default 120 days): keep that above the longest time limit (30 days).
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.blobs import BlobUnread, read_checked
from adapters.contract import Done, HandOver, Outcome, Park, Probe, Retry, Scope, SinkKind, Unknown
from adapters.folder_ground import Ground, Place, open_ground
from adapters.folder_layout import (
    ARRIVED,
    MARKER,
    SCHEMA,
    STAGING,
    FolderFault,
    FolderLayout,
    locked,
    name_fault,
    read_marker,
    temporary,
)
from adapters.folder_names import is_key
from adapters.folder_unpack import publish_unpacked, unpack
from edxml.crashpoints import crash_point, declare
from edxml.zone import iso_in_vietnam

__all__ = ["FolderSink"]

declare("folder.bytes_written", "staged bytes are synced under a temporary name: nothing is staged")
declare("folder.part_renamed", "`.part` is in place, its record is not: surely not arrived")
declare("folder.staged", "`.part`, record and companion are durable, no attempt is committed: surely not arrived")
declare("folder.companion_shown", "the companion is visible, the packet is not: surely not arrived")
declare("folder.published", "the packet is visible, the directories are not synced: arrived")
declare("folder.dir_synced", "the packet is visible for good, nobody was told: arrived")

_PARK = frozenset({"folder.too_large", "folder.bad_key"})  # faults of this packet, whatever the folder does
_ORDINARY: Final = 1 << 20
"""Bytes of room with which a folder still takes ordinary packets: what is too big then is that packet's own trouble,
and with less the whole folder is full."""


class _TooLittleRoom(Exception):
    """This packet does not fit, while ordinary ones do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSink:
    """Packets appear as `den/<key>.edxml`. Needs no memory of its own; any number of processes may use one folder."""

    layout: FolderLayout
    sending_limit: timedelta = timedelta(seconds=60)
    settle_time: timedelta = timedelta(seconds=5)
    unpacks: bool = False
    kind: SinkKind = SinkKind.CHECKABLE

    def stage(self, item: HandOver) -> StagedFile | Retry | Park:
        """Bring the bytes onto the agency's file system, checked against `item.digest`. Not visible yet.

        Repeatable: replaces what an earlier attempt staged, in one step; of a key that is already published
        nothing is staged, and handing it over says `Done` again.

        A packet that is larger than what is free, while 1 MiB or more is, is `Retry` of scope DOCUMENT
        (`folder.too_little_room`): it must not keep small ones waiting. With less free the channel is full.

        Crash points: `folder.bytes_written`, `folder.part_renamed`, `folder.staged`.
        """
        if not is_key(item.key):
            return Park(reason="folder.bad_key")
        try:
            with self.layout.prepared() as ground:
                files = _Files(ground=ground, key=item.key)
                if files.is_published():
                    return StagedFile(layout=self.layout, key=item.key, inode=0)
                _check_room(files.staging, item.size)
                return self._stage(item, files)
        except _TooLittleRoom:
            return Retry(reason="folder.too_little_room", scope=Scope.DOCUMENT)
        except BlobUnread as unread:
            return Park(reason=unread.reason)
        except FolderFault as fault:
            return _surely_not(fault.reason)

    def _stage(self, item: HandOver, files: _Files) -> StagedFile:
        staging, mode = files.staging, self.layout.file_mode
        fresh, folder = temporary(item.key), temporary(f"{item.key}.d")
        companion = _describe(item)
        try:
            inode = _copy(item, staging, fresh, mode)
            if self.unpacks:
                companion["files"] = unpack(staging, fresh, folder, mode)
            crash_point("folder.bytes_written")
            with locked(files.ground):
                if files.is_published():
                    return StagedFile(layout=self.layout, key=item.key, inode=0)
                if self.unpacks:
                    staging.drop_place(files.unpacked)
                    staging.move(folder, staging, files.unpacked)
                staging.move(fresh, staging, files.part)
                crash_point("folder.part_renamed")
                # After `.part`, never before: a record without `.part` means published.
                staging.touch(files.record)
            self.layout.write_json(files.ground, staging, files.companion_part, companion)
            staging.sync()
        finally:
            staging.remove(fresh)
            staging.drop_place(folder)
        crash_point("folder.staged")
        return StagedFile(layout=self.layout, key=item.key, inode=inode)

    def find(self, key: str) -> Done | None:
        """The receipt when `key` was published here, also when the agency already took it away; else None.

        Raises FolderFault when it cannot tell: the folder is not reachable, or `.truc` was cleaned and the key
        is not known any more.  What it calls done it makes durable first.
        """
        with self.layout.prepared() as ground, locked(ground):
            files = _Files(ground=ground, key=key)
            if files.staging.has(files.part):
                return None
            if files.is_published():
                files.settle()
                return Done(evidence=f"{ARRIVED}/{files.packet}")
            if (read_marker(ground) or {}).get("renewed", True):
                raise FolderFault(root=self.layout.root, reason="folder.staging_lost", why=key)
        return None

    def probe(self) -> Probe:
        """Look whether a packet could be staged now: writes and removes a tiny file in `.truc`."""
        try:
            with self.layout.prepared() as ground:
                staging = ground.place(STAGING)
                self.layout.write_text(ground, staging, "thu.tmp", "Trục\n")
                staging.remove("thu.tmp")
        except FolderFault as fault:
            return Probe(usable=False, reason=fault.reason, detail=fault.params["why"])
        return Probe(usable=True, detail=str(self.layout.root))

    def forget(self, older_than: timedelta) -> int:
        """Drop records, staged leftovers and temporary files older than `older_than`; gives their number.

        For the periodic job. A dropped key is one that nobody may ask for again: `older_than` must exceed the
        longest time limit of a delivery. Safe to repeat and to kill: the record goes before its `.part`.
        A folder that was never used has nothing to forget.
        """
        limit = time.time() - older_than.total_seconds()
        dropped = 0
        with self.layout.faults(), open_ground(self.layout.root) as ground:
            if not ground.root.has(STAGING):
                return 0
            staging = ground.place(STAGING)
            with staging.entries() as entries:
                for entry in entries:
                    try:
                        if entry.name != MARKER and entry.stat(follow_symlinks=False).st_mtime < limit:
                            _forget(staging, entry)
                            dropped += 1
                    except FileNotFoundError:  # renamed since, or the record of a `.part` that was just dropped
                        continue
        return dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A packet in `.truc`, one rename from being visible."""

    layout: FolderLayout
    key: str
    inode: int  #: of the `.part` that we put there; 0 where the packet was published before

    def hand_over(self, until: float) -> Outcome:
        """Rename companion, packet, attachments into `den`, and make that durable. Repeatable: says `Done` again.

        Crash points: `folder.companion_shown`, `folder.published`, `folder.dir_synced`.
        """
        try:
            with open_ground(self.layout.root) as ground:
                files = _Files(ground=ground, key=self.key)
                refused = _publish(files, until)
                if refused is not None:
                    return refused
                crash_point("folder.published")
                files.settle()
        except OSError as error:
            return self._judge(name_fault(error))
        crash_point("folder.dir_synced")
        return Done(evidence=f"{ARRIVED}/{files.packet}")

    def _judge(self, reason: str) -> Outcome:
        """What is true after the system refused something: while `.part` is there, nothing arrived."""
        try:
            with open_ground(self.layout.root) as ground:
                files = _Files(ground=ground, key=self.key)
                if files.staging.has(files.part):
                    return _surely_not(reason)
        except OSError:
            pass
        return Unknown(reason=reason)

    def discard(self) -> None:
        """Throw away what this call staged and nothing that another staged since. Safe to repeat."""
        if self.inode == 0:
            return
        try:
            with open_ground(self.layout.root) as ground, locked(ground):
                files = _Files(ground=ground, key=self.key)
                status = files.staging.status(files.part)
                if status is None or status.st_ino != self.inode:
                    return
                files.staging.remove(files.record)  # before `.part`: alone it would mean published
                files.staging.remove(files.part)
                files.staging.remove(files.companion_part)
                files.staging.drop_place(files.unpacked)
        except FileNotFoundError:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The names of one key, and the places where they lie."""

    ground: Ground
    key: str

    @property
    def staging(self) -> Place:
        return self.ground.place(STAGING)

    @property
    def arrived(self) -> Place:
        return self.ground.place(ARRIVED)

    @property
    def part(self) -> str:
        return f"{self.key}.part"

    @property
    def record(self) -> str:
        return f"{self.key}.staged"

    @property
    def companion_part(self) -> str:
        return f"{self.key}.companion"

    @property
    def unpacked(self) -> str:
        return f"{self.key}.d"

    @property
    def packet(self) -> str:
        return f"{self.key}.edxml"

    @property
    def companion(self) -> str:
        return f"{self.key}.json"

    def is_published(self) -> bool:
        """Whether the packet became visible: seen in `den`, or its record stands alone."""
        # The record first: once it stands, `.part` goes away by publication only.
        recorded = self.staging.has(self.record)
        return not self.staging.has(self.part) and (recorded or self.arrived.has(self.packet))

    def settle(self) -> None:
        """Finish what a publication began: show the attachments, sync the new name, then the old one's absence.

        The attachments come after the packet, so that no part of a document is seen that is then withdrawn; a disk
        that refuses them holds up no receipt.
        """
        try:
            publish_unpacked(self.staging, self.unpacked, self.arrived, self.key)
        except OSError:
            pass
        self.arrived.sync()
        self.staging.sync()


def _publish(files: _Files, until: float) -> Outcome | None:
    """None when the packet is visible now; else why not."""
    staging, arrived = files.staging, files.arrived
    with locked(files.ground):
        if not staging.has(files.part):
            return None if files.is_published() else Unknown(reason="folder.staging_lost")
        if time.clock_gettime(time.CLOCK_BOOTTIME) >= until:
            return Retry(reason="folder.out_of_time")
        if arrived.has(files.packet):
            return _meet_namesake(files)
        if arrived.has(files.companion) and not arrived.is_file(files.companion):
            return Park(reason="folder.name_taken")
        if staging.has(files.companion_part):
            staging.move(files.companion_part, arrived, files.companion)
        crash_point("folder.companion_shown")
        staging.move(files.part, arrived, files.packet)
    return None


def _meet_namesake(files: _Files) -> Outcome | None:
    """`den/<key>.edxml` is there although `.part` is: not our doing, unless somebody put records back."""
    theirs, ours = files.arrived.status(files.packet), files.staging.status(files.part)
    if theirs is None or ours is None or theirs.st_size != ours.st_size or not files.arrived.is_file(files.packet):
        return Park(reason="folder.name_taken")
    if _digest(files.arrived, files.packet) != _digest(files.staging, files.part):
        return Park(reason="folder.name_taken")
    files.staging.remove(files.part)
    return None


def _forget(staging: Place, entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        staging.drop_place(entry.name)
        return
    key, dot, ending = entry.name.rpartition(".")
    if ending == "part":
        staging.remove(f"{key}{dot}staged")
    staging.remove(entry.name)


def _surely_not(reason: str) -> Retry | Park:
    return Park(reason=reason) if reason in _PARK else Retry(reason=reason, scope=Scope.CHANNEL)


def _check_room(staging: Place, size: int) -> None:
    """Fill no disk for nothing. Raises _TooLittleRoom, or OSError ENOSPC where not even ordinary packets fit."""
    disk = os.statvfs(staging.handle)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks == 0 or size <= free:  # some network file systems do not tell: writing will
        return
    if free >= _ORDINARY:
        raise _TooLittleRoom
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _copy(item: HandOver, staging: Place, name: str, mode: int) -> int:
    """Write the packet's bytes to `name` and sync them; gives the inode.

    Raises BlobUnread, OSError, and _TooLittleRoom where room or quota ended after what an ordinary packet needs.
    """
    with open(staging.create(name, mode), "wb", buffering=0) as stream:
        for chunk in read_checked(item):
            try:
                _write_all(stream.fileno(), chunk)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT) and stream.tell() >= _ORDINARY:
                    raise _TooLittleRoom from error
                raise
        os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_ino


def _write_all(handle: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]


def _digest(place: Place, name: str) -> str:
    with open(place.open(name), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _describe(item: HandOver) -> dict[str, Any]:
    """The companion: what the agency's software may want to know without opening the packet."""
    return {
        "schema": SCHEMA,
        "key": item.key,
        "document_id": item.document_id,
        "business_kind": item.business_kind,
        "sender": item.sender,
        "recipients": list(item.recipients),
        "urgent": item.urgent,
        "size": item.size,
        "sha256": item.digest,
        "accepted_at": iso_in_vietnam(item.accepted_at, "milliseconds"),
        "staged_at": iso_in_vietnam(datetime.now(UTC), "milliseconds"),
        "note": dict(item.note),
        "seal": item.seal.decode("utf-8", "replace"),
    }
