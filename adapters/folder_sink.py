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
from pathlib import Path
from typing import Any, Final

from adapters.blobs import BlobUnread, read_checked
from adapters.contract import Done, HandOver, Outcome, Park, Probe, Retry, Scope, SinkKind, Unknown
from adapters.folder_layout import (
    SCHEMA,
    FolderFault,
    FolderLayout,
    is_there,
    name_fault,
    set_mode,
    sync_directory,
)
from adapters.folder_names import is_key
from adapters.folder_unpack import drop_folder, publish_unpacked, unpack
from edxml.crashpoints import crash_point, declare

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
        files = _Files(layout=self.layout, key=item.key)
        try:
            self.layout.prepare()
            if files.is_published():
                return StagedFile(files=files, inode=0)
            with self.layout.faults():
                _check_room(self.layout, item.size)
                return self._stage(item, files)
        except _TooLittleRoom:
            return Retry(reason="folder.too_little_room", scope=Scope.DOCUMENT)
        except BlobUnread as unread:
            return Park(reason=unread.reason)
        except FolderFault as fault:
            return _surely_not(fault.reason)

    def _stage(self, item: HandOver, files: _Files) -> StagedFile:
        fresh, folder = self.layout.temporary(item.key), self.layout.temporary(f"{item.key}.d")
        companion = _describe(item)
        try:
            inode = _copy(item, fresh, self.layout.file_mode)
            if self.unpacks:
                companion["files"] = unpack(fresh, folder, self.layout)
            crash_point("folder.bytes_written")
            with self.layout.locked():
                if files.is_published():
                    return StagedFile(files=files, inode=0)
                if self.unpacks:
                    drop_folder(files.unpacked)
                    os.rename(folder, files.unpacked)
                os.rename(fresh, files.part)
                crash_point("folder.part_renamed")
                # After `.part`, never before: a record without `.part` means published.
                files.record.touch()
            self.layout.write_json(files.companion_part, companion)
            sync_directory(self.layout.staging)
        finally:
            fresh.unlink(missing_ok=True)
            drop_folder(folder)
        crash_point("folder.staged")
        return StagedFile(files=files, inode=inode)

    def find(self, key: str) -> Done | None:
        """The receipt when `key` was published here, also when the agency already took it away; else None.

        Raises FolderFault when it cannot tell: the folder is not reachable, or `.truc` was cleaned and the key
        is not known any more.  What it calls done it makes durable first.
        """
        files = _Files(layout=self.layout, key=key)
        self.layout.prepare()
        with self.layout.faults(), self.layout.locked():
            if is_there(files.part):
                return None
            if files.is_published():
                files.settle()
                return Done(evidence=f"den/{files.packet.name}")
            if (self.layout.read_marker() or {}).get("renewed", True):
                raise FolderFault(root=self.layout.root, reason="folder.staging_lost", why=key)
        return None

    def probe(self) -> Probe:
        """Look whether a packet could be staged now: writes and removes a tiny file in `.truc`."""
        try:
            self.layout.prepare()
            with self.layout.faults():
                trial = self.layout.staging / "thu.tmp"
                self.layout.write_text(trial, "Trục\n")
                trial.unlink(missing_ok=True)
        except FolderFault as fault:
            return Probe(usable=False, reason=fault.reason, detail=fault.params["why"])
        return Probe(usable=True, detail=str(self.layout.root))

    def forget(self, older_than: timedelta) -> int:
        """Drop records, staged leftovers and temporary files older than `older_than`; gives their number.

        For the periodic job. A dropped key is one that nobody may ask for again: `older_than` must exceed the
        longest time limit of a delivery. Safe to repeat and to kill: the record goes before its `.part`.
        A folder that was never used has nothing to forget.
        """
        if self.layout.root.is_dir() and not is_there(self.layout.staging):
            return 0
        limit = time.time() - older_than.total_seconds()
        dropped = 0
        with self.layout.faults(), os.scandir(self.layout.staging) as entries:
            for entry in entries:
                path = Path(entry.path)
                try:
                    is_young = entry.stat(follow_symlinks=False).st_mtime >= limit
                except FileNotFoundError:  # renamed since, or the record of a `.part` that was just dropped
                    continue
                if is_young or path == self.layout.marker:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    drop_folder(path)
                else:
                    if path.suffix == ".part":
                        path.with_suffix(".staged").unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
                dropped += 1
        return dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A packet in `.truc`, one rename from being visible."""

    files: _Files
    inode: int  #: of the `.part` that we put there; 0 where the packet was published before

    def hand_over(self, until: float) -> Outcome:
        """Rename companion, packet, attachments into `den`, and make that durable. Repeatable: says `Done` again.

        Crash points: `folder.companion_shown`, `folder.published`, `folder.dir_synced`.
        """
        try:
            refused = self._publish(until)
            if refused is not None:
                return refused
            crash_point("folder.published")
            self.files.settle()
        except OSError as error:
            return self._judge(name_fault(error))
        crash_point("folder.dir_synced")
        return Done(evidence=f"den/{self.files.packet.name}")

    def _publish(self, until: float) -> Outcome | None:
        """None when the packet is visible now; else why not."""
        files = self.files
        with files.layout.locked():
            if not is_there(files.part):
                return None if files.is_published() else Unknown(reason="folder.staging_lost")
            if time.clock_gettime(time.CLOCK_BOOTTIME) >= until:
                return Retry(reason="folder.out_of_time")
            if is_there(files.packet):
                return self._meet_namesake()
            if is_there(files.companion_part):
                os.rename(files.companion_part, files.companion)
            crash_point("folder.companion_shown")
            os.rename(files.part, files.packet)
        return None

    def _meet_namesake(self) -> Outcome | None:
        """`den/<key>.edxml` is there although `.part` is: not our doing, unless somebody put records back."""
        if _digest(self.files.packet) != _digest(self.files.part):
            return Park(reason="folder.name_taken")
        self.files.part.unlink()
        return None

    def _judge(self, reason: str) -> Outcome:
        """What is true after the system refused something: while `.part` is there, nothing arrived."""
        try:
            if is_there(self.files.part):
                return _surely_not(reason)
        except OSError:
            pass
        return Unknown(reason=reason)

    def discard(self) -> None:
        """Throw away what this call staged and nothing that another staged since. Safe to repeat."""
        files = self.files
        try:
            with files.layout.locked():
                if self.inode == 0 or files.part.stat().st_ino != self.inode:
                    return
                files.record.unlink(missing_ok=True)  # before `.part`: alone it would mean published
                files.part.unlink()
                files.companion_part.unlink(missing_ok=True)
                drop_folder(files.unpacked)
        except FileNotFoundError:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The names of one key."""

    layout: FolderLayout
    key: str

    @property
    def part(self) -> Path:
        return self.layout.staging / f"{self.key}.part"

    @property
    def record(self) -> Path:
        return self.layout.staging / f"{self.key}.staged"

    @property
    def companion_part(self) -> Path:
        return self.layout.staging / f"{self.key}.companion"

    @property
    def unpacked(self) -> Path:
        return self.layout.staging / f"{self.key}.d"

    @property
    def packet(self) -> Path:
        return self.layout.arrived / f"{self.key}.edxml"

    @property
    def companion(self) -> Path:
        return self.layout.arrived / f"{self.key}.json"

    def is_published(self) -> bool:
        """Whether the packet became visible: seen in `den`, or its record stands alone."""
        # The record first: once it stands, `.part` goes away by publication only.
        recorded = is_there(self.record)
        return not is_there(self.part) and (recorded or is_there(self.packet))

    def settle(self) -> None:
        """Finish what a publication began: show the attachments, sync the new name, then the old one's absence.

        The attachments come after the packet, so that no part of a document is seen that is then withdrawn; a disk
        that refuses them holds up no receipt.
        """
        try:
            publish_unpacked(self.unpacked, self.layout.arrived / self.key)
        except OSError:
            pass
        sync_directory(self.layout.arrived)
        sync_directory(self.layout.staging)


def _surely_not(reason: str) -> Retry | Park:
    return Park(reason=reason) if reason in _PARK else Retry(reason=reason, scope=Scope.CHANNEL)


def _check_room(layout: FolderLayout, size: int) -> None:
    """Fill no disk for nothing. Raises _TooLittleRoom, or OSError ENOSPC where not even ordinary packets fit."""
    disk = os.statvfs(layout.staging)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks == 0 or size <= free:  # some network file systems do not tell: writing will
        return
    if free >= _ORDINARY:
        raise _TooLittleRoom
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(layout.staging))


def _copy(item: HandOver, target: Path, mode: int) -> int:
    """Write the packet's bytes to `target` and sync them; gives the inode.

    Raises BlobUnread, OSError, and _TooLittleRoom where room or quota ended after what an ordinary packet needs.
    """
    with target.open("xb", buffering=0) as stream:
        set_mode(stream.fileno(), mode)
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


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
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
        "accepted_at": item.accepted_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "staged_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "note": dict(item.note),
        "seal": item.seal.decode("utf-8", "replace"),
    }
