"""Restoring a node (khôi phục) from a backup into an empty data folder, as one that recovers: it pushes nothing yet.

    check every digest ── copy into <data>/restoring/ ── make the rows those of a recovering node ── give everything
    its name, the database last

A data folder is whole once its database has its name.  Until then `restoring/` stands there, every other command
refuses the folder, and the same command goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edxml.crashpoints import crash_point, declare
from gateway.backup.blobs import copy_blobs
from gateway.backup.doubting import begin_recovery
from gateway.backup.faults import BackupDamaged
from gateway.backup.files import SUMS, check_sums, copy_file, digest_of, sync_file
from gateway.backup.shape import DATABASE, PART, Manifest, Tell, generations, read_blobs, read_manifest
from gateway.channels import KINDS, Kind
from gateway.model.errors import Conflict, NotFound, StoreBusy
from gateway.store import Clock, open_store
from gateway.store.blobs import BlobFolder, sync_folder
from gateway.store.copying import count_rows
from gateway.store.migrate import HEAD

__all__ = ["Checked", "Restored", "check_backup", "check_empty", "is_unfinished", "restore"]

declare("restore.begun", "the data folder says that a restore is unfinished; nothing was copied")
declare("restore.copied", "everything is copied; the rows are those of the backup's moment")
declare("restore.prepared", "the rows are those of a node that recovers; nothing has its name")
declare("restore.named", "all but the database have their names")
declare("restore.done", "the data folder is whole")

_UNFINISHED: Final = "restoring"
_NAMED: Final = ("keys", "trust", "blobs")
_INNOCENT: Final = frozenset({"node.lock", "lost+found"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A backup that was read whole and found right. `keys`: the folder of its seal keys, None where it has none."""

    manifest: Manifest
    folder: Path
    sums: Mapping[str, str]  #: of the folder's files, by name
    blobs: BlobFolder
    keys: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A node that was restored. `doubted`: deliveries that may have gone out between the backup and the restore."""

    manifest: Manifest
    at: int
    doubted: int


def is_unfinished(data: Path) -> bool:
    """Whether a restore into this data folder was begun and is not done."""
    return (data / _UNFINISHED).is_dir() and not (data / DATABASE).exists()


# --- what is there -----------------------------------------------------------------------------------------------


def check_backup(
    source: Path, *, node: str, tell: Tell, generation: str = "", keys: Path | None = None, needs_keys: bool = True
) -> Checked:
    """Read a backup whole, the newest or the one named, and its keys where they are named or needed. Changes nothing.

    Raises NotFound (no backup, no such generation, keys that are not there), BackupDamaged naming the first file that
    is missing or not what was written, Conflict where it is another node's or a newer program's.
    """
    folder = _choose(source, generation)
    sums = check_sums(folder)
    for needed in ("manifest.json", DATABASE, "blobs.txt"):
        if needed not in sums:
            raise BackupDamaged(file=str(folder / SUMS))
    manifest = read_manifest(folder)
    if manifest.node != node:
        raise Conflict("restore.other_node", owner=manifest.node, node=node)
    if manifest.schema > HEAD:
        raise Conflict("restore.newer_schema", found=manifest.schema, wanted=HEAD, release=manifest.release)
    found = _find_keys(keys, manifest) if manifest.keys and (needs_keys or keys is not None) else None
    blobs = BlobFolder(source / "blobs", reserve=0)
    lacking = frozenset(manifest.lacking)
    for number, (digest, _) in enumerate(read_blobs(folder), 1):
        if digest not in lacking and not _is_right(blobs.path(digest), digest):
            raise BackupDamaged(file=str(blobs.path(digest)))
        tell("checks", number, manifest.blobs)
    return Checked(manifest=manifest, folder=folder, sums=sums, blobs=blobs, keys=found)


def _choose(source: Path, generation: str) -> Path:
    whole = generations(source)
    chosen = [path for path in whole if path.name == generation] if generation else whole[-1:]
    if not chosen:
        names = ", ".join(path.name for path in whole)
        code = "restore.no_generation" if whole else "restore.nothing_whole"
        raise NotFound(code, folder=str(source), name=generation, names=names)
    return chosen[0]


def _find_keys(keys: Path | None, manifest: Manifest) -> Path:
    """The folder with the keys of that backup: that of its generation, any other of the same destination, or this."""
    if keys is None:
        raise NotFound("restore.keys_needed", name=next(iter(manifest.keys)))
    others = sorted((path for path in keys.iterdir() if path.is_dir()), reverse=True) if keys.is_dir() else []
    places = [keys / manifest.generation, *(path for path in others if path.suffix != PART), keys]
    for place in places:
        if all(_is_right(place / name, digest) for name, digest in manifest.keys.items()):
            return place
    first = keys / manifest.generation
    if first.is_dir():
        check_sums(first)  # says which file is not what it was
    raise NotFound("restore.keys_missing", folder=str(keys), name=next(iter(manifest.keys)))


def _is_right(path: Path, digest: str) -> bool:
    try:
        return digest_of(path) == digest
    except FileNotFoundError:
        return False


# --- putting it back ---------------------------------------------------------------------------------------------


def restore(
    checked: Checked,
    data: Path,
    *,
    actor: str,
    tell: Tell,
    kinds: Mapping[str, Kind] = KINDS,
    clock: Clock | None = None,
) -> Restored:
    """Put a node back into the empty folder `data`; it is `recovering` from its first moment.

    The caller holds the folder's lock alone.  Raises Conflict `restore.not_empty`, BackupDamaged, OSError, and what
    opening the store raises.  Killed at any moment it leaves a folder that every other command refuses, and may be run
    again.  Crash points: restore.begun, restore.copied, restore.prepared, restore.named, restore.done.
    """
    check_empty(data)
    work = data / _UNFINISHED
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _NAMED:  # of a restore that was killed after it had named them
        if (data / name).exists():
            (data / name).rename(work / name)
    sync_folder(data)
    crash_point("restore.begun")
    _copy(checked, work, tell)
    crash_point("restore.copied")
    restored = _prepare(checked, work, kinds, actor, clock)
    crash_point("restore.prepared")
    for name in _NAMED:
        if (work / name).exists():
            (work / name).rename(data / name)
    sync_folder(data)
    crash_point("restore.named")
    (work / DATABASE).rename(data / DATABASE)
    sync_folder(data)
    crash_point("restore.done")
    shutil.rmtree(work)
    return restored


def check_empty(data: Path) -> None:
    """Raises Conflict `restore.not_empty` where anything lies in a data folder but an unfinished restore."""
    there = {path.name for path in data.iterdir()} - _INNOCENT if data.is_dir() else set()
    if is_unfinished(data):
        there -= {_UNFINISHED, *_NAMED}
    if there:
        raise Conflict("restore.not_empty", folder=str(data.resolve()), name=sorted(there)[0])


def _copy(checked: Checked, work: Path, tell: Tell) -> None:
    """Everything into the folder of work, synced; each file is what the backup says it is, or BackupDamaged."""
    for left in work.glob(f"{DATABASE}*"):
        left.unlink()
    _copy_right(checked.folder / DATABASE, work / DATABASE, checked.sums[DATABASE])
    if checked.keys is not None:
        (work / "keys").mkdir(mode=0o700, exist_ok=True)
        for name, digest in checked.manifest.keys.items():
            _copy_right(checked.keys / name, work / "keys" / name, digest)
        sync_folder(work / "keys")
    for name in (name for name in checked.sums if name.startswith("trust/")):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        _copy_right(checked.folder / name, work / name, checked.sums[name])
    blobs = BlobFolder(work / "blobs", reserve=0)
    blobs.prepare()
    blobs.clear_spool()
    copied = copy_blobs(
        checked.blobs, blobs, read_blobs(checked.folder), rereads=True, step="packets",
        total=checked.manifest.blobs, tell=tell,
    )  # fmt: skip
    if gone := [digest for digest in copied.lacking if digest not in checked.manifest.lacking]:
        raise BackupDamaged(file=str(checked.blobs.path(gone[0])))
    sync_folder(work)


def _copy_right(source: Path, target: Path, digest: str) -> None:
    if copy_file(source, target) != digest:
        raise BackupDamaged(file=str(source))


def _prepare(checked: Checked, work: Path, kinds: Mapping[str, Kind], actor: str, clock: Clock | None) -> Restored:
    """The rows of a node that recovers, migrated to this program's schema, in one file that holds all of them."""
    store = open_store(work, node=checked.manifest.node, clock=clock, reserve=0)
    try:
        with store.read() as connection:
            if count_rows(connection) != checked.manifest.rows:
                raise BackupDamaged(file=str(checked.folder / DATABASE))
        found = checked.manifest
        begun = begin_recovery(
            store, backup=found.generation, backup_at=found.at, actor=actor, kinds=kinds, may_repeat=True
        )
    finally:
        store.close()
    if (work / f"{DATABASE}-wal").exists():  # the last to leave writes it into the database, unless it could not
        raise StoreBusy(why=f"{DATABASE}-wal")
    sync_file(work / DATABASE)
    return Restored(manifest=checked.manifest, at=begun.at, doubted=begun.doubted)
