"""Blobs: the bytes of packets, by the SHA-256 of what is stored, in a folder (three functions: put, open, delete).

Rule 13: temporary name, fsync, rename, directory fsync, then the row.  A blob that is already there is touched, so
that the sweep of unreferenced blobs leaves it alone.  Unreferenced for a day → trash; looked at again there, gone
after one more day; a put of the same bytes restores it.

    <root>/spool/<random>     bodies while they come; never answered, so deleted at start
    <root>/spool/<place>/…    the same, of one of several machines that share the folder
    <root>/ab/<digest>        blobs
    <root>/trash/<digest>     on the way out
    <root>/damaged/<digest>   bytes that were found not to be what they were: kept to be looked into, never served
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edxml.crashpoints import crash_point, declare
from gateway.model.errors import BlobDamaged, BlobMissing, DiskReserve

__all__ = ["BlobFolder", "Put", "sync_folder"]

declare("blob.synced", "the spooled bytes are on disk under their temporary name")
declare("blob.renamed", "the blob has its name; the folder is not synced yet")
declare("blob.folder_synced", "the blob is durable; no row speaks of it yet")

_PIECE = 1 << 20
_BEGIN_TO_WRITE = 2  # SYNC_FILE_RANGE_WRITE of <fcntl.h>
_NOT_LET = frozenset({errno.ENOSYS, errno.EPERM})  # no such call here, or a filter of calls before it
_sync_file_range = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)  # Python has no name for it
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_OURS = os.urandom(8).hex()
_NUMBERS = itertools.count(1)
"""Spooled bodies of this process are numbered: asking the kernel for random bits would give the interpreter away."""

_BATCH = 500  # digests that a sweep asks for at once

_STRAY = 86_400.0
"""Seconds after which what another machine spooled is nobody's."""


def sync_folder(path: Path | str) -> None:
    """fsync a directory, so that the names in it survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A body to be made a blob. `body`: its bytes where they stayed in memory; else `spooled` holds them."""

    spooled: Path
    digest: str
    body: bytes | None = None


def _write_and_sync(puts: Sequence[Put]) -> None:
    """Write what is still in memory, then make every file durable."""
    opened: list[int] = []
    try:
        for put in puts:
            flags = os.O_RDONLY if put.body is None else os.O_WRONLY | os.O_CREAT | os.O_EXCL
            opened.append(os.open(put.spooled, flags, 0o666))
            rest = memoryview(put.body or b"")
            while rest:
                rest = rest[os.write(opened[-1], rest) :]
        if len(opened) > 1:
            _begin_to_write([descriptor for descriptor, put in zip(opened, puts, strict=True) if put.body is not None])
        for descriptor in opened:
            os.fsync(descriptor)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _sum(body: BinaryIO) -> str:
    """Of all its bytes; memory for one piece."""
    hasher = hashlib.sha256()
    while piece := body.read(_PIECE):
        hasher.update(piece)
    return hasher.hexdigest()


def _begin_to_write(descriptors: Sequence[int]) -> None:
    """Have the kernel begin with all of them, which fsync after fsync would write one by one, each with a journal entry
    of its own. It promises nothing: fsync does it all where there is no such call.

    Raises OSError where it fails: ext4 then tells nobody else, drops what it could not write, and fsync says yes. So it
    is not for spooled files, of which nobody has the bytes any more.
    """
    if _sync_file_range is None:
        return
    for descriptor in descriptors:
        if _sync_file_range(descriptor, 0, 0, _BEGIN_TO_WRITE) and (why := ctypes.get_errno()) not in _NOT_LET:
            raise OSError(why, os.strerror(why))


@dataclass(frozen=True, slots=True)
class BlobFolder:
    """A folder of blobs. `reserve`: bytes that must stay free. `place`: whose spool, where machines share it."""

    root: Path
    reserve: int = 256 << 20
    place: str = ""
    spool_folder: Path = field(init=False, repr=False, compare=False)
    """Where this machine keeps what it has not answered for: on the blobs' file system, so that a rename is all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "spool_folder", self.root / "spool" / self.place)

    def prepare(self) -> None:
        """Make the folders. Safe to repeat."""
        for name in ("spool", "trash", "damaged", *(f"{i:02x}" for i in range(256))):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.spool_folder.mkdir(exist_ok=True)
        sync_folder(self.root)

    def path(self, digest: str) -> Path:
        """Where the blob of `digest` (64 lower-case hex digits) lies or would lie."""
        return Path(self._name(digest))

    def _name(self, digest: str) -> str:
        """The same as text: a Path takes ten times as long to be made, and a group needs many."""
        return f"{self.root}/{digest[:2]}/{digest}"

    def spool(self) -> Path:
        """A new name for a body that is about to come, on the file system of the blobs."""
        return self.spool_folder / f"{os.getpid()}-{_OURS}-{next(_NUMBERS)}"

    def check_reserve(self, coming: int = 0) -> None:
        """Raises DiskReserve where `coming` more bytes would eat into the reserve. Recovers by itself."""
        free = self.free()
        if free - coming < self.reserve:
            raise DiskReserve(free=free >> 20, reserve=self.reserve >> 20)

    def free(self) -> int:
        """Bytes that may still be written here."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    def put(self, spooled: Path, digest: str, body: bytes | None = None) -> None:
        """Make a spooled file the blob of `digest`, durably: `put_many` of one."""
        self.put_many([Put(spooled=spooled, digest=digest, body=body)])

    def put_many(self, puts: Sequence[Put]) -> None:
        """Make spooled bodies blobs, durably, step by step for all of them: the file system then writes its own journal
        once for each step instead of once for each body.

        Repeats and races end with the one blob.  Raises OSError where the disk refuses one: none counts as put then.
        Crash points: blob.synced, blob.renamed, blob.folder_synced.
        """
        _write_and_sync(puts)
        crash_point("blob.synced")
        for put in puts:
            os.rename(put.spooled, self._name(put.digest))
        crash_point("blob.renamed")
        for start in {put.digest[:2] for put in puts}:
            sync_folder(f"{self.root}/{start}")
        crash_point("blob.folder_synced")

    def open(self, digest: str) -> BinaryIO:
        """The stored bytes, seekable, also while they lie in the trash. Raises BlobMissing, BlobDamaged where known."""
        name = self._name(digest)
        for path in (name, f"{self.root}/trash/{digest}", name):
            try:
                return open(path, "rb")
            except FileNotFoundError:
                continue  # it may be on its way from one place to the other
        if (self.root / "damaged" / digest).exists():
            raise BlobDamaged(digest=digest)
        raise BlobMissing(digest=digest)

    def read_small(self, digest: str, size: int) -> bytes | None:
        """What lies there for a blob of `size` bytes, in one read of one more; None where that cannot be had.

        Held against nothing: whoever takes it looks at its digest.  (`open` looks at the file, seeks and buffers: three
        times the calls.)
        """
        try:
            descriptor = os.open(self._name(digest), os.O_RDONLY)
        except OSError:
            return None
        try:
            return os.read(descriptor, size + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def condemn(self, digest: str) -> None:
        """Put a blob aside that is not what it was: from now on `open` raises BlobDamaged, until it is put again.

        Looked at once more before, and nothing happens where it is right or gone, or put anew meanwhile.  Safe to
        repeat.
        """
        path, aside = self.path(digest), self.root / "damaged" / digest
        with suppress(BlobMissing, BlobDamaged), self.open(digest) as body:  # gone, or aside already
            if _sum(body) == digest:
                return
            aside.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # it lay in the trash
                os.rename(path, aside)
                if not os.path.samestat(os.stat(aside), os.fstat(body.fileno())):
                    os.rename(aside, path)
                sync_folder(aside.parent)
                sync_folder(path.parent)

    def check(self, digest: str) -> None:
        """Read the blob and compare. Raises BlobMissing, BlobDamaged."""
        with self.open(digest) as body:
            if _sum(body) != digest:
                raise BlobDamaged(digest=digest)

    def delete(self, digest: str) -> None:
        """Remove a blob for good (an erased document). Absent is fine."""
        self.path(digest).unlink(missing_ok=True)

    def clear_spool(self, *, older_than: float = 0.0, is_alive: Callable[[int], bool] = lambda _pid: False) -> int:
        """Delete this machine's spooled bodies that no living process is writing: they were never answered (rule 13).

        How many.  What other machines wrote stays for a day: theirs to delete, unless they never come back.
        """
        gone = 0
        for path in (self.root / "spool").rglob("*"):
            is_own = path.parent == self.spool_folder
            owner = path.name.split("-", 1)[0]
            is_kept = is_own and owner.isdigit() and is_alive(int(owner))
            with suppress(FileNotFoundError):  # its writer was faster
                age = time.time() - path.stat().st_mtime
                if not is_kept and not path.is_dir() and age >= (older_than if is_own else _STRAY):
                    path.unlink()
                    gone += 1
        return gone

    def names(self) -> Iterator[str]:
        """Digests of all blobs, folder by folder."""
        for i in range(256):
            for entry in os.scandir(self.root / f"{i:02x}"):
                yield entry.name

    def sweep(self, needed: Callable[[Sequence[str]], Collection[str]], *, wait: float = 86_400.0) -> tuple[int, int]:
        """Move blobs that nobody `needed` for `wait` seconds to trash, empty what lay there as long. (trashed, gone).

        `needed` says which of some hundred digests a row speaks of.  It is asked again once they are moved: a row that
        came meanwhile brings the blob back.
        """
        limit = time.time() - wait
        trashed = gone = 0
        for batch in _batches(path.name for path in (self.root / "trash").iterdir()):
            kept = needed(batch)
            for digest in batch:
                gone += not self._restored(digest, kept) and self._emptied(digest, limit)
        for batch in _batches(digest for digest in self.names() if self._is_old(digest, limit)):
            kept = needed(batch)
            moved = [digest for digest in batch if digest not in kept and self._discarded(digest, limit)]
            kept = needed(moved) if moved else ()
            trashed += sum(not self._restored(digest, kept) for digest in moved)
        return trashed, gone

    def _is_old(self, digest: str, limit: float) -> bool:
        try:
            return self.path(digest).stat().st_mtime <= limit
        except FileNotFoundError:
            return False  # another sweep was faster

    def _discarded(self, digest: str, limit: float) -> bool:
        """Whether this old blob is in the trash now; it is not where a put came in between."""
        path, trash = self.path(digest), self.root / "trash" / digest
        with suppress(FileNotFoundError):  # another sweep was faster
            os.rename(path, trash)
            if trash.stat().st_mtime <= limit:
                os.utime(trash)
                return True
            os.rename(trash, path)
        return False

    def _restored(self, digest: str, kept: Collection[str]) -> bool:
        if digest in kept:
            with suppress(FileNotFoundError):
                os.rename(self.root / "trash" / digest, self.path(digest))
        return digest in kept

    def _emptied(self, digest: str, limit: float) -> bool:
        trash = self.root / "trash" / digest
        with suppress(FileNotFoundError):
            if trash.stat().st_mtime <= limit:
                trash.unlink()
                return True
        return False


def _batches(digests: Iterable[str]) -> Iterator[list[str]]:
    left = iter(digests)
    while batch := list(itertools.islice(left, _BATCH)):
        yield batch
