"""What is staged of one key in a folder, and the one rename that shows it; why it is so: `adapters.folder_sink`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from adapters.contract import Done, Outcome, Park, Retry, Scope, Unknown, boot_now
from adapters.folder_ground import Ground, Place, open_ground
from adapters.folder_layout import ARRIVED, STAGING, FolderFault, FolderLayout, locked, name_fault
from adapters.folder_slot import FolderSlot
from adapters.folder_unpack import publish_unpacked
from edxml.crashpoints import crash_point, declare

__all__ = ["Files", "StagedFile", "surely_not"]

declare("folder.companion_shown", "the companion is visible, the packet is not: surely not arrived")
declare("folder.published", "the packet is visible, the directories are not synced: arrived")
declare("folder.dir_synced", "the packet is visible for good, nobody was told: arrived")

_PARK = frozenset({"folder.too_large", "folder.bad_key"})  # faults of this packet, whatever the folder does
_GRACE: Final = 5.0  # seconds after its limit in which a hand-over may still say what came of it


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A packet in `.truc`, one rename from being visible."""

    layout: FolderLayout
    slot: FolderSlot
    key: str
    inode: int  #: of the `.part` that we put there; 0 where the packet was published before

    def hand_over(self, until: float) -> Outcome:
        """Rename companion, packet, attachments into `den`, and make that durable. Repeatable: says `Done` again.

        Crash points: `folder.companion_shown`, `folder.published`, `folder.dir_synced`.
        """
        try:
            # Whoever is late stops by himself at `until`; a disk that hangs does not.
            return self.slot.run(lambda: self._show(until), max(1.0, until - boot_now() + _GRACE))
        except FolderFault as fault:
            return Unknown(reason=fault.reason)

    def _show(self, until: float) -> Outcome:
        try:
            with open_ground(self.layout.root) as ground:
                files = Files(ground=ground, key=self.key)
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
                files = Files(ground=ground, key=self.key)
                if files.staging.has(files.part):
                    return surely_not(reason)
        except OSError:
            pass
        return Unknown(reason=reason)

    def discard(self) -> None:
        """Throw away what this call staged and nothing that another staged since. Safe to repeat."""
        if self.inode:
            self.slot.run(self._discard, _GRACE)

    def _discard(self) -> None:
        try:
            with open_ground(self.layout.root) as ground, locked(ground):
                files = Files(ground=ground, key=self.key)
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
class Files:
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


def _publish(files: Files, until: float) -> Outcome | None:
    """None when the packet is visible now; else why not."""
    staging, arrived = files.staging, files.arrived
    with locked(files.ground):
        if not staging.has(files.part):
            return None if files.is_published() else Unknown(reason="folder.staging_lost")
        if boot_now() >= until:
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


def _meet_namesake(files: Files) -> Outcome | None:
    """`den/<key>.edxml` is there although `.part` is: not our doing, unless somebody put records back."""
    theirs, ours = files.arrived.status(files.packet), files.staging.status(files.part)
    if theirs is None or ours is None or theirs.st_size != ours.st_size or not files.arrived.is_file(files.packet):
        return Park(reason="folder.name_taken")
    if _digest(files.arrived, files.packet) != _digest(files.staging, files.part):
        return Park(reason="folder.name_taken")
    files.staging.remove(files.part)
    return None


def surely_not(reason: str) -> Retry | Park:
    """What a fault means while nothing can have arrived."""
    return Park(reason=reason) if reason in _PARK else Retry(reason=reason, scope=Scope.CHANNEL)


def _digest(place: Place, name: str) -> str:
    with open(place.open(name), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
