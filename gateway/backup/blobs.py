"""Packets from one folder of blobs to another: each held against its digest on the way, and again where it lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.backup.files import digest_of
from gateway.backup.shape import Tell
from gateway.model.errors import BlobDamaged, BlobMissing
from gateway.model.room import naming_full_disk
from gateway.store.blobs import BlobFolder, Put
from gateway.store.carrying.copying import BlobSize

__all__ = ["Copied", "copy_blobs"]

_PIECE: Final = 1 << 20
_TOGETHER: Final = 64
_TOGETHER_BYTES: Final = 64 << 20
"""So many blobs, or bytes, are made durable together: the file system then writes its journal once for each step."""


@dataclass(slots=True)
class Copied:
    """What was copied. `lacking`: blobs that the source does not have, or not as they were."""

    count: int = 0  #: of all wanted ones that are there now
    bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    lacking: list[str] = field(default_factory=list)


def copy_blobs(
    source: BlobFolder,
    target: BlobFolder,
    wanted: Iterable[BlobSize],
    *,
    rereads: bool,
    step: str,
    total: int,
    tell: Tell,
) -> Copied:
    """Copy the blobs that are not there yet; every new one is read again from the disk.

    What lies there under its name is taken for whole where it has its size: names are given after the bytes are on
    disk.  `rereads`: it is read as well, and copied anew where it is not what it was.  A blob may be on its way to the
    source's trash meanwhile: it is found there.  Raises OSError; BlobDamaged where the target's disk does not keep
    what it is given.  May be killed and run again.
    """
    done = Copied()
    waiting: list[Put] = []
    size_waiting = 0
    for number, (digest, size) in enumerate(wanted, 1):
        if not _is_there(target, digest, size, rereads=rereads):
            put = _spool(source, target, digest)
            if put is None:
                done.lacking.append(digest)
                tell(step, number, total)
                continue
            waiting.append(put)
            size_waiting += size
            done.new, done.new_bytes = done.new + 1, done.new_bytes + size
        done.count, done.bytes = done.count + 1, done.bytes + size
        if len(waiting) >= _TOGETHER or size_waiting >= _TOGETHER_BYTES:
            _settle(target, waiting)
            waiting, size_waiting = [], 0
        tell(step, number, total)
    _settle(target, waiting)
    return done


def _is_there(target: BlobFolder, digest: str, size: int, *, rereads: bool) -> bool:
    path = target.path(digest)
    try:
        return path.stat().st_size == size and (not rereads or digest_of(path, from_disk=True) == digest)
    except FileNotFoundError:
        return False


def _spool(source: BlobFolder, target: BlobFolder, digest: str) -> Put | None:
    """Bring the bytes to the target's file system; None where the source does not have them as they were."""
    spooled = target.spool()
    try:
        with source.open(digest) as reading:
            is_right = _copy(reading.fileno(), spooled) == digest
    except (BlobMissing, BlobDamaged):
        return None
    if not is_right:
        spooled.unlink()
        return None
    return Put(spooled=spooled, digest=digest)


def _copy(source: int, target: Path) -> str:
    hasher = hashlib.sha256()
    with naming_full_disk(target), target.open("xb", buffering=0) as writing:
        while piece := os.read(source, _PIECE):
            hasher.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[writing.write(rest) :]
    return hasher.hexdigest()


def _settle(target: BlobFolder, waiting: list[Put]) -> None:
    if not waiting:
        return
    target.put_many(waiting)
    for put in waiting:
        if digest_of(target.path(put.digest), from_disk=True) != put.digest:
            raise BlobDamaged(digest=put.digest)
