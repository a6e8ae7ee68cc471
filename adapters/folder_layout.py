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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from adapters.contract import AdapterError
from edxml.messages import system_words

__all__ = ["SCHEMA", "FolderFault", "FolderLayout", "is_there", "name_fault", "set_mode", "sync_directory"]

SCHEMA: Final = "truc.folder/1"
"""Version of the small JSON files that this channel writes."""

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
    return _REASONS.get(error.errno or 0, "folder.io")


def is_there(path: Path) -> bool:
    """Whether `path` exists. Only "no such file" is a no: any other fault is raised, never read as absence."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable. File systems that cannot sync a directory (SMB) are taken as they are."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLayout:
    """Where everything of one folder channel lies. Holds no state: the folders are the state."""

    root: Path
    channel_id: str
    file_mode: int = 0o660  #: of every file written for the agency's software

    @property
    def arrived(self) -> Path:
        """`den`: what the agency receives."""
        return self.root / "den"

    @property
    def returned(self) -> Path:
        """`den/tra-lai`: what the agency refuses."""
        return self.root / "den" / "tra-lai"

    @property
    def outgoing(self) -> Path:
        """`di`: what the agency sends."""
        return self.root / "di"

    @property
    def staging(self) -> Path:
        """`.truc`: ours."""
        return self.root / ".truc"

    @property
    def marker(self) -> Path:
        """`.truc/kenh.json`: whose folder this is."""
        return self.staging / "kenh.json"

    def aside(self, *, refusal: bool, accepted: bool) -> Path:
        """Where a thing goes once the node has said what became of it."""
        if refusal:
            return self.returned / ("da-nhan" if accepted else "khong-nhan")
        return self.outgoing / ("da-gui" if accepted else "khong-gui")

    def prepare(self) -> None:
        """Make the folders where they are missing, and look at the marker. Cheap when all is there; repeatable.

        The root itself is never made: a share that is not mounted must look missing, not empty.
        Raises FolderFault: `folder.missing`, `folder.denied`, …, or `folder.foreign` when another channel owns it.
        """
        with self.faults():
            marker = self.read_marker()
            if marker is None:
                self._set_up()
                marker = self.read_marker() or {}
            for kept in (self.returned, self.outgoing):
                if not kept.is_dir():
                    kept.mkdir(parents=True, exist_ok=True)
        owner = marker.get("channel")
        if owner != self.channel_id:
            raise FolderFault(root=self.root, reason="folder.foreign", why=f"{self.marker}: {owner!r}")

    def look(self) -> FolderFault | None:
        """What stands against using the folder, found by looking alone: nothing is made, written or removed.

        None where nothing was found; only a write can show the rest (a quota, a file system that lies).
        """
        try:
            with self.faults():
                marker = self.read_marker()
                if not self.root.is_dir():
                    raise NotADirectoryError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root))
                folders = (self.staging, self.arrived, self.returned, self.outgoing)
                for folder in (self.root, *(each for each in folders if is_there(each))):
                    _check_access(folder)
                found = os.statvfs(self.root)
                if not found.f_bavail or (found.f_files and not found.f_favail):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root))
        except FolderFault as fault:
            return fault
        owner = None if marker is None else marker.get("channel")
        if marker is not None and owner != self.channel_id:
            return FolderFault(root=self.root, reason="folder.foreign", why=f"{self.marker}: {owner!r}")
        return None

    def _set_up(self) -> None:
        if not self.root.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root))
        renewed = is_there(self.arrived)  # den without the marker: this folder has been in use, .truc was cleaned
        self.staging.mkdir(exist_ok=True)
        content = {
            "schema": SCHEMA,
            "channel": self.channel_id,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "renewed": renewed,
        }
        fresh = self.temporary("kenh")
        self._write(fresh, _as_json(content), 0o600)
        try:
            os.link(fresh, self.marker)  # never replaces: of two processes the first one's marker stays
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.rename(fresh, self.marker)
        fresh.unlink(missing_ok=True)
        for refusal in (True, False):
            for accepted in (True, False):
                self.aside(refusal=refusal, accepted=accepted).mkdir(parents=True, exist_ok=True)
        for made in (self.staging, self.root):
            sync_directory(made)

    def read_marker(self) -> Mapping[str, Any] | None:
        """What the marker says; None where there is none. One that cannot be understood names no channel."""
        try:
            found = json.loads(self.marker.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what the operating system refuses into a FolderFault with its closed reason."""
        try:
            yield
        except OSError as error:
            raise FolderFault(root=self.root, reason=name_fault(error), why=system_words(error)) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for a few renames, against other threads and processes; a killed holder lets go.

        A file system that knows no locks is used without: the turn of the transfer still fences (protocol §4).
        """
        try:
            handle = os.open(self.marker, os.O_RDWR | os.O_CLOEXEC)  # network file systems lock only what is writable
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            handle = os.open(self.marker, os.O_RDONLY | os.O_CLOEXEC)  # enough for `find`
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF):
                    raise
            yield
        finally:
            os.close(handle)

    def temporary(self, stem: str) -> Path:
        """A name in `.truc` that nobody else uses."""
        return self.staging / f"{stem}.{os.getpid()}-{secrets.token_hex(6)}.tmp"

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a small JSON file atomically and durably; its directory is synced by whoever needs it so."""
        self.write_text(path, _as_json(content).decode())

    def write_text(self, path: Path, content: str) -> None:
        """Write a small UTF-8 file atomically and durably, replacing what is there."""
        fresh = self.temporary("ghi")
        try:
            self._write(fresh, content.encode("utf-8", "surrogateescape"), self.file_mode)
            os.rename(fresh, path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def _write(self, path: Path, content: bytes, mode: int) -> None:
        with path.open("xb") as stream:
            set_mode(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def _check_access(folder: Path) -> None:
    """Raises OSError where this process may not read, write and enter a folder, or its file system is read-only."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def set_mode(handle: int, mode: int) -> None:
    """Set a file's mode where the file system has modes."""
    try:
        os.fchmod(handle, mode)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _as_json(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "surrogateescape") + b"\n"
