"""Restoring a node (khôi phục) from a backup into an empty data folder, as one that recovers: it pushes nothing yet.

    check every digest ── copy into <data>/restoring/ ── make the rows those of a recovering node ── give everything
    its name, the database last

A data folder is whole once its database has its name.  Until then `restoring/` stands there, every other command
refuses the folder, and the same command goes on.  Of a node on PostgreSQL the database says so itself
(`gateway.store.carrying.fillings`), and nothing opens it before its last commit (`gateway.backup.serving`).
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
from gateway.backup.serving import Serving
from gateway.backup.shape import DATABASE, PART, SERVER, Manifest, Tell, generations, read_blobs, read_manifest
from gateway.channels import KINDS, Kind
from gateway.model.errors import BadRequest, Conflict, NotFound, StoreBusy
from gateway.store import Clock, open_store
from gateway.store.blobs import BlobFolder, sync_folder
from gateway.store.carrying.copying import count_rows
from gateway.store.carrying.dumping import DatabaseAccess
from gateway.store.migrate import HEAD

__all__ = [
    "UNFINISHED", "Checked", "Restored", "check_backup", "check_database", "check_empty", "copy_small", "give_names",
    "is_unfinished", "leave_work", "restore", "take_back",
]  # fmt: skip

declare("restore.begun", "the data folder says that a restore is unfinished; nothing was copied")
declare("restore.copied", "everything is copied; the rows are those of the backup's moment")
declare("restore.prepared", "the rows are those of a node that recovers; nothing has its name")
declare("restore.named", "all but the database have their names")
declare("restore.done", "the data folder is whole")

UNFINISHED: Final = "restoring"
"""Where a restore works, within the data folder that it fills."""
_LEFT: Final = "restored"  # what is left of it in a folder that is whole
_NAMED: Final = ("keys", "trust", "blobs")
_INNOCENT: Final = frozenset({"node.lock", "lost+found", "machine", _LEFT})


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
    return (data / UNFINISHED).is_dir() and not (data / DATABASE).exists()


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
    if "manifest.json" not in sums:
        raise BackupDamaged(file=str(folder / SUMS))
    manifest = read_manifest(folder)
    if not {manifest.rows_file, "blobs.txt"} <= sums.keys():
        raise BackupDamaged(file=str(folder / SUMS))
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
    access: DatabaseAccess | None = None,
    shared: Path | None = None,
) -> Restored:
    """Put a node back into the empty folder `data`; it is `recovering` from its first moment.

    `access`: the empty database that takes the rows, of a backup of PostgreSQL's.  `shared`: where the packets go, for
    a node whose machines share them; None: into the folder.  The caller holds the folder's lock alone.  Raises
    Conflict `restore.not_empty`, BackupDamaged, OSError, and what opening the store raises.  Killed at any moment it
    leaves a folder, and a database, that every other command refuses, and may be run again.
    Crash points: restore.begun, restore.copied, restore.prepared, restore.named, restore.done.
    """
    check_database(checked.manifest, access)
    check_empty(data)
    work = data / UNFINISHED
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    serving = None if access is None else Serving.begin(access, work, checked.manifest)
    if serving is None or not serving.has_ended:
        take_back(data, work)
        crash_point("restore.begun")
        _copy(checked, work, shared, tell)
        crash_point("restore.copied")
        restored = _prepare(checked, work, kinds, actor, clock, serving, tell)
        crash_point("restore.prepared")
        give_names(data, work)
        crash_point("restore.named")
    else:
        restored = Restored(manifest=checked.manifest, at=serving.ended_at, doubted=serving.doubted)
    if serving is None:
        (work / DATABASE).rename(data / DATABASE)
        sync_folder(data)
    else:
        serving.end(restored.at, restored.doubted)
    crash_point("restore.done")
    leave_work(data)
    return restored


def take_back(data: Path, work: Path) -> None:
    """What a restore that was killed had named already."""
    for name in _NAMED:
        if (data / name).exists():
            (data / name).rename(work / name)
    sync_folder(data)


def give_names(data: Path, work: Path) -> None:
    """Everything but the database gets its name."""
    for name in _NAMED:
        if (work / name).exists():
            (work / name).rename(data / name)
    sync_folder(data)


def leave_work(data: Path) -> None:
    """The folder is whole: what is left of the work goes."""
    shutil.rmtree(data / _LEFT, ignore_errors=True)
    (data / UNFINISHED).rename(data / _LEFT)
    sync_folder(data)
    shutil.rmtree(data / _LEFT)


def check_database(manifest: Manifest, access: DatabaseAccess | None) -> None:
    """Raises BadRequest where a backup's rows do not go into the kind of database that the node is told to use."""
    if (manifest.database == SERVER) is (access is None):
        raise BadRequest("restore.needs_server" if access is None else "restore.needs_file")


def check_empty(data: Path) -> None:
    """Raises Conflict `restore.not_empty` where anything lies in a data folder but an unfinished restore."""
    there = {path.name for path in data.iterdir()} - _INNOCENT if data.is_dir() else set()
    if is_unfinished(data):
        there -= {UNFINISHED, *_NAMED}
    if there:
        raise Conflict("restore.not_empty", folder=str(data.resolve()), name=sorted(there)[0])


def _copy(checked: Checked, work: Path, shared: Path | None, tell: Tell) -> None:
    """Everything into the folder of work, synced; each file is what the backup says it is, or BackupDamaged."""
    for left in work.glob("truc.d*"):
        left.unlink()
    rows = checked.manifest.rows_file
    _copy_right(checked.folder / rows, work / rows, checked.sums[rows])
    copy_small(checked, work)
    blobs = BlobFolder(work / "blobs" if shared is None else shared, reserve=0)
    blobs.prepare()
    if shared is None:
        blobs.clear_spool()
    copied = copy_blobs(
        checked.blobs, blobs, read_blobs(checked.folder), rereads=True, step="packets",
        total=checked.manifest.blobs, tell=tell,
    )  # fmt: skip
    if gone := [digest for digest in copied.lacking if digest not in checked.manifest.lacking]:
        raise BackupDamaged(file=str(checked.blobs.path(gone[0])))
    sync_folder(work)


def copy_small(checked: Checked, work: Path) -> None:
    """The keys, and what the node trusts."""
    if checked.keys is not None:
        (work / "keys").mkdir(mode=0o700, exist_ok=True)
        for name, digest in checked.manifest.keys.items():
            _copy_right(checked.keys / name, work / "keys" / name, digest)
        sync_folder(work / "keys")
    for name in (name for name in checked.sums if name.startswith("trust/")):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        _copy_right(checked.folder / name, work / name, checked.sums[name])


def _copy_right(source: Path, target: Path, digest: str) -> None:
    if copy_file(source, target) != digest:
        raise BackupDamaged(file=str(source))


def _prepare(
    checked: Checked, work: Path, kinds: Mapping[str, Kind], actor: str, clock: Clock | None,
    serving: Serving | None, tell: Tell,
) -> Restored:  # fmt: skip
    """The rows of a node that recovers, migrated to this program's schema."""
    found = checked.manifest
    if serving is None:
        store = open_store(work, node=found.node, clock=clock, reserve=0)
    else:
        tell("rows", 0, 1)
        store = serving.load(work / found.rows_file, clock)
        tell("rows", 1, 1)
    try:
        with store.read() as connection:
            if count_rows(connection) != found.rows:
                raise BackupDamaged(file=str(checked.folder / found.rows_file))
        begun = begin_recovery(
            store, backup=found.generation, backup_at=found.at, actor=actor, kinds=kinds, may_repeat=True
        )
    finally:
        store.close()
    if serving is None:
        if (work / f"{DATABASE}-wal").exists():  # the last to leave writes it into the database, unless it could not
            raise StoreBusy(why=f"{DATABASE}-wal")
        sync_file(work / DATABASE)
    return Restored(manifest=found, at=begun.at, doubted=begun.doubted)
