"""Files of backups: written whole and durably, read again from the disk, held against their digests."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.backup.faults import BackupDamaged
from gateway.model.errors import Conflict
from gateway.model.room import naming_full_disk

__all__ = [
    "LOCK",
    "SUMS",
    "check_sums",
    "copy_file",
    "digest_of",
    "lock_folder",
    "sync_file",
    "write_file",
    "write_sums",
]

SUMS: Final = "SHA256SUMS"
"""Digests of all other files of a folder, in the form that `sha256sum --check` reads."""

LOCK: Final = "truc-backup.lock"
"""Held (flock) while a backup is written; the file stays and means nothing by itself."""

_PIECE: Final = 1 << 20


def digest_of(path: Path, *, from_disk: bool = False) -> str:
    """SHA-256 of a file, hex. `from_disk`: not of what the system still has in memory. Raises OSError."""
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        if from_disk:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.hexdigest()


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a new file and sync it. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with naming_full_disk(path), os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def copy_file(source: Path, target: Path, mode: int = 0o600) -> str:
    """Copy a file, whatever stood at `target`, and sync it; the SHA-256 of what was written. Raises OSError."""
    hasher = hashlib.sha256()
    with suppress(FileNotFoundError):
        target.unlink()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with (
        naming_full_disk(target),
        source.open("rb", buffering=0) as reading,
        os.fdopen(descriptor, "wb", buffering=0) as writing,
    ):
        while piece := reading.read(_PIECE):
            hasher.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[writing.write(rest) :]
        os.fsync(writing.fileno())
    return hasher.hexdigest()


def sync_file(path: Path) -> None:
    """fsync a file that another wrote."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_sums(folder: Path, digests: Mapping[str, str]) -> None:
    """Write the digests of a folder's files (name → SHA-256), the last of its files."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    write_file(folder / SUMS, lines.encode())


def check_sums(folder: Path) -> dict[str, str]:
    """Read every file that a folder's SHA256SUMS names; gives them. Raises BackupDamaged naming the first wrong one."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
        named = {line[66:]: line[:64] for line in lines}
    except (FileNotFoundError, UnicodeDecodeError) as why:
        raise BackupDamaged(file=str(folder / SUMS)) from why
    for line, name in zip(lines, named, strict=False):
        if line[64:66] != "  " or not name or ".." in Path(name).parts or name.startswith("/"):
            raise BackupDamaged(file=str(folder / SUMS))
        try:
            is_right = digest_of(folder / name) == named[name]
        except FileNotFoundError:
            is_right = False
        if not is_right:
            raise BackupDamaged(file=str(folder / name))
    return named


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a destination for one backup. Raises Conflict `backup.busy` where another one is being written there."""
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as why:
            raise Conflict("backup.busy", folder=str(folder)) from why
        yield
