"""The `folder` channel's folders on disk: their names, their faults, and the few steps that must be atomic.

    <root>/den/            đến: delivered packets `<key>.edxml`, each with its companion `<key>.json`
    <root>/den/tra-lai/    trả lại: the clerk moves a packet here, or writes `<key>.tu-choi.txt`, to refuse it
    <root>/den/tra-lai/da-nhan/      refusals that the node took
    <root>/den/tra-lai/khong-nhan/   refusals that it could not take, each with a report `.txt`
    <root>/di/             đi: packets to send
    <root>/di/da-gui/      đã gửi: accepted, each with its reference `.json`
    <root>/di/khong-gui/   không gửi: refused, each with a report `.txt` for the clerk
    <root>/.truc/          ours: staging on the same file system, records of what was staged, the marker

`.truc/kenh.json` is the *marker*: it names the channel that owns the folder, is the file that is locked while
something is renamed, and shows by its absence that somebody cleaned `.truc`, after which keys that the folder
does not know are answered "cannot tell" for good (`renewed`), never "did not arrive".
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from adapters.contract import AdapterError
from adapters.folder_ground import Ground, OddThing, Place, folder_mode, open_ground
from edxml.messages import system_words
from edxml.zone import iso_in_vietnam

__all__ = [
    "ARRIVED", "MARKER", "OUTGOING", "PLACES", "RETURNED", "SCHEMA", "STAGING", "FolderFault", "FolderLayout", "aside",
    "locked", "name_fault", "read_marker", "temporary",
]  # fmt: skip

SCHEMA: Final = "truc.folder/1"
"""Version of the small JSON files that this channel writes."""

ARRIVED: Final = "den"
RETURNED: Final = "den/tra-lai"
OUTGOING: Final = "di"
STAGING: Final = ".truc"
MARKER: Final = "kenh.json"
PLACES: Final = (
    ARRIVED, RETURNED, "den/tra-lai/da-nhan", "den/tra-lai/khong-nhan", OUTGOING, "di/da-gui", "di/khong-gui",
)  # fmt: skip
"""The folders that the agency's software works in; `.truc` is ours."""

_MARKER_BYTES: Final = 65_536
_SHOWN: Final = 80
_LOCK_WAIT: Final = 10.0
_LOCK_AGAIN: Final = 0.005

_REASONS: Final[Mapping[int, str]] = {
    errno.ENOSPC: "folder.full",
    errno.EDQUOT: "folder.full",
    errno.EROFS: "folder.read_only",
    errno.ENOENT: "folder.missing",
    errno.ENOTDIR: "folder.missing",
    errno.EACCES: "folder.denied",
    errno.EPERM: "folder.denied",
    errno.EFBIG: "folder.too_large",
    errno.ENAMETOOLONG: "folder.bad_key",
    errno.EAGAIN: "folder.locked",
}


class FolderFault(AdapterError):
    """The folder cannot be used, or cannot tell, now. `reason` is one of the closed `folder.*` message codes.

    Parameters of the text: `root`, `reason`, `why` (what the system said; never a document's content).
    """

    code: ClassVar[str] = "folder.fault"
    retryable: ClassVar[bool] = True

    def __init__(self, *, root: Path, reason: str, why: str = "") -> None:
        self.reason = reason
        super().__init__(root=str(root), reason=reason, why=why or reason)


def name_fault(error: OSError) -> str:
    """The closed reason of what the operating system refused; whatever has no name of its own is `folder.io`."""
    if isinstance(error, OddThing):
        return "folder.odd_thing"
    return _REASONS.get(error.errno or 0, "folder.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLayout:
    """Where everything of one folder channel lies. Holds no state: the folders are the state."""

    root: Path
    channel_id: str
    file_mode: int = 0o660  #: of every file written for the agency's software

    @property
    def place_mode(self) -> int:
        """The mode of every folder that the agency's software works in."""
        return folder_mode(self.file_mode)

    @contextmanager
    def prepared(self) -> Iterator[Ground]:
        """The folder's ground, with what is missing of it made and the marker looked at. Cheap when all is there.

        The root itself is never made: a share that is not mounted must look missing, not empty.
        Raises FolderFault: `folder.missing`, `folder.denied`, `folder.odd_thing`, …, or `folder.foreign` when another
        channel owns it; within the block too, of what the operating system refuses there.
        """
        with self.faults(), open_ground(self.root) as ground:
            marker = read_marker(ground)
            if marker is None:
                self._set_up(ground)
                marker = read_marker(ground) or {}
            self._check_owner(marker)
            for where in PLACES:
                ground.place(where, make=self.place_mode)
            yield ground

    def look(self) -> FolderFault | None:
        """What stands against using the folder, found by looking alone: nothing is made, written or removed.

        None where nothing was found; only a write can show the rest (a quota, a file system that lies).
        """
        try:
            with self.faults(), open_ground(self.root) as ground:
                marker = read_marker(ground)
                ground.root.check_access()
                for where in (STAGING, *PLACES):
                    with suppress(FileNotFoundError):  # it is made when it is needed
                        ground.place(where).check_access()
                found = os.statvfs(ground.root.handle)
                if not found.f_bavail or (found.f_files and not found.f_favail):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if marker is not None:
                    self._check_owner(marker)
        except FolderFault as fault:
            return fault
        return None

    def _check_owner(self, marker: Mapping[str, Any]) -> None:
        owner = marker.get("channel")
        if owner != self.channel_id:
            said = repr(owner)[:_SHOWN]
            raise FolderFault(root=self.root, reason="folder.foreign", why=f"{self.root / STAGING / MARKER}: {said}")

    def _set_up(self, ground: Ground) -> None:
        renewed = ground.root.has(ARRIVED)  # den without the marker: this folder has been in use, .truc was cleaned
        staging = ground.place(STAGING, make=0o700)
        content = {
            "schema": SCHEMA,
            "channel": self.channel_id,
            "made_at": iso_in_vietnam(datetime.now(UTC)),
            "renewed": renewed,
        }
        fresh = temporary("kenh")
        staging.write(fresh, _as_json(content), 0o600)
        try:
            staging.link(fresh, MARKER)  # never replaces: of two processes the first one's marker stays
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            staging.move(fresh, staging, MARKER)
        staging.remove(fresh)
        for where in PLACES:
            ground.place(where, make=self.place_mode)
        for made in (staging, ground.root):
            made.sync()

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what the operating system refuses into a FolderFault with its closed reason."""
        try:
            yield
        except OSError as error:
            raise FolderFault(root=self.root, reason=name_fault(error), why=system_words(error)) from error

    def write_json(self, ground: Ground, place: Place, name: str, content: Mapping[str, Any]) -> None:
        """Write a small JSON file atomically and durably; its folder is synced by whoever needs it so."""
        self.write_text(ground, place, name, _as_json(content).decode("utf-8", "surrogateescape"))

    def write_text(self, ground: Ground, place: Place, name: str, content: str) -> None:
        """Write a small UTF-8 file atomically and durably, replacing what is there."""
        staging, fresh = ground.place(STAGING), temporary("ghi")
        try:
            staging.write(fresh, content.encode("utf-8", "surrogateescape"), self.file_mode)
            staging.move(fresh, place, name)
        except OSError:
            staging.remove(fresh)
            raise


def read_marker(ground: Ground) -> Mapping[str, Any] | None:
    """What the marker says; None where there is none. One that cannot be understood names no channel."""
    try:
        found = json.loads(ground.place(STAGING).read(MARKER, _MARKER_BYTES))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def locked(ground: Ground) -> Iterator[None]:
    """Hold the folder for a few renames, against other threads and processes; a killed holder lets go.

    Whoever may open the marker may lock it for ever: after ten seconds this raises OSError EAGAIN (`folder.locked`).
    A file system that knows no locks is used without: the turn of the transfer still fences (protocol §4).
    """
    staging = ground.place(STAGING)
    try:
        handle = staging.open(MARKER, os.O_RDWR)  # network file systems lock only what is writable
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        handle = staging.open(MARKER)  # enough for `find`
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    until = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOCK_AGAIN)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF):
                raise
            return
        else:
            return


def temporary(stem: str) -> str:
    """A name in `.truc` that nobody else uses."""
    return f"{stem}.{os.getpid()}-{secrets.token_hex(6)}.tmp"


def aside(*, refusal: bool, accepted: bool) -> str:
    """Where a thing goes once the node has said what became of it."""
    if refusal:
        return f"{RETURNED}/{'da-nhan' if accepted else 'khong-nhan'}"
    return f"{OUTGOING}/{'da-gui' if accepted else 'khong-gui'}"


def _as_json(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "surrogateescape") + b"\n"
