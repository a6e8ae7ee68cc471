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
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.blobs import BlobUnread, read_checked
from adapters.contract import Done, HandOver, Park, Probe, Retry, Scope, SinkKind
from adapters.folder_ground import Place, open_ground
from adapters.folder_layout import (
    ARRIVED,
    MARKER,
    SCHEMA,
    STAGING,
    FolderFault,
    FolderLayout,
    locked,
    read_marker,
    temporary,
)
from adapters.folder_names import is_key
from adapters.folder_slot import FolderSlot
from adapters.folder_staged import Files, StagedFile, surely_not
from adapters.folder_unpack import unpack
from edxml.crashpoints import crash_point, declare
from edxml.zone import iso_in_vietnam

__all__ = ["FolderSink"]

declare("folder.bytes_written", "staged bytes are synced under a temporary name: nothing is staged")
declare("folder.part_renamed", "`.part` is in place, its record is not: surely not arrived")
declare("folder.staged", "`.part`, record and companion are durable, no attempt is committed: surely not arrived")

_PATIENCE: Final = 15.0
"""Seconds that a disk may take before it counts as hanging, and the bytes that it writes in each second more."""
_LEAST_RATE: Final = 1 << 20
_ORDINARY: Final = 1 << 20
"""Bytes of room with which a folder still takes ordinary packets: what is too big then is that packet's own trouble,
and with less the whole folder is full."""


class _TooLittleRoom(Exception):
    """This packet does not fit, while ordinary ones do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSink:
    """Packets appear as `den/<key>.edxml`. Needs no memory of its own; any number of processes may use one folder."""

    layout: FolderLayout
    slot: FolderSlot
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
            return self.slot.run(lambda: self._prepare(item), _PATIENCE + item.size / _LEAST_RATE)
        except _TooLittleRoom:
            return Retry(reason="folder.too_little_room", scope=Scope.DOCUMENT)
        except BlobUnread as unread:
            return Park(reason=unread.reason)
        except FolderFault as fault:
            return surely_not(fault.reason)

    def _prepare(self, item: HandOver) -> StagedFile:
        with self.layout.prepared() as ground:
            files = Files(ground=ground, key=item.key)
            if files.is_published():
                return self._staged(item, 0)
            _check_room(files.staging, item.size)
            return self._stage(item, files)

    def _staged(self, item: HandOver, inode: int) -> StagedFile:
        return StagedFile(layout=self.layout, slot=self.slot, key=item.key, inode=inode)

    def _stage(self, item: HandOver, files: Files) -> StagedFile:
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
                    return self._staged(item, 0)
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
        return self._staged(item, inode)

    def find(self, key: str) -> Done | None:
        """The receipt when `key` was published here, also when the agency already took it away; else None.

        Raises FolderFault when it cannot tell: the folder is not reachable, or `.truc` was cleaned and the key
        is not known any more.  What it calls done it makes durable first.
        """
        return self.slot.run(lambda: self._find(key), _PATIENCE)

    def _find(self, key: str) -> Done | None:
        with self.layout.prepared() as ground, locked(ground):
            files = Files(ground=ground, key=key)
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
            self.slot.run(self._try, _PATIENCE)
        except FolderFault as fault:
            return Probe(usable=False, reason=fault.reason, detail=fault.params["why"])
        return Probe(usable=True, detail=str(self.layout.root))

    def _try(self) -> None:
        with self.layout.prepared() as ground:
            staging = ground.place(STAGING)
            self.layout.write_text(ground, staging, "thu.tmp", "Trục\n")
            staging.remove("thu.tmp")

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


def _forget(staging: Place, entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        staging.drop_place(entry.name)
        return
    key, dot, ending = entry.name.rpartition(".")
    if ending == "part":
        staging.remove(f"{key}{dot}staged")
    staging.remove(entry.name)


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
