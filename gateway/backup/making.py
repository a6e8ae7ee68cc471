"""Making a backup (sao lưu) of a node that goes on working: one snapshot of its rows, then their packets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edxml.crashpoints import crash_point, declare
from gateway.backup.blobs import Copied, copy_blobs
from gateway.backup.faults import BackupDamaged
from gateway.backup.files import check_sums, copy_file, digest_of, lock_folder, sync_file, write_file, write_sums
from gateway.backup.shape import (
    BLOBS,
    DATABASE,
    DUMP,
    FORMAT,
    MANIFEST,
    PART,
    SERVER,
    Destination,
    Manifest,
    Tell,
    read_blobs,
    read_manifest,
    start_name,
    write_blobs,
)
from gateway.model.errors import BadRequest, Conflict
from gateway.model.instants import local_iso
from gateway.store import Store, backups
from gateway.store.blobs import sync_folder
from gateway.store.carrying.copying import blobs_by_digest, copy_database, count_rows
from gateway.store.carrying.dumping import DatabaseAccess, dump_database
from gateway.store.migrate import HEAD

__all__ = ["Backup", "make_backup"]

declare("backup.database_copied", "the snapshot lies in a folder that says it is unfinished; packets are missing")
declare("backup.blobs_copied", "every packet is there; the folder still says it is unfinished")
declare("backup.keys_named", "the keys have their name; the backup they belong to has not")
declare("backup.named", "the backup is whole and has its name; older ones are still there")
declare("backup.noted", "the node knows of the backup; older ones are still there")
declare("backup.outdated_unnamed", "an older backup has lost its name; its files are still there")

KEYS_WARNING: Final = "DOC-TRUOC.txt"
_WARNING: Final = """\
Khóa niêm phong của nút liên thông. Ai có tệp .key ở đây có thể niêm phong thay nút: cất giữ ở nơi khóa kín, tách khỏi
bản sao lưu dữ liệu, không gửi qua thư, không để trên máy dùng chung.

Seal keys of a node. Whoever has a .key file from here can seal in the node's name: keep them locked away, apart from
the backup of the data; never mail them, never leave them on a shared machine.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was made."""

    manifest: Manifest
    folder: Path
    new_blobs: int
    new_bytes: int
    keys_folder: Path | None
    removed: tuple[str, ...]  #: older generations that were let go
    unread: Mapping[str, BackupDamaged | Conflict]  #: why some that lie between those that are kept cannot be read


def make_backup(
    store: Store,
    data: Path,
    folder: Path,
    *,
    node: str,
    release: str,
    actor: str,
    tell: Tell,
    access: DatabaseAccess | None = None,
    keys: Path | None = None,
    keys_beside: bool = False,
    keep: int = 0,
    rereads: bool = False,
) -> Backup:
    """Back the node up into `folder`, as a new generation; may run while the node works and takes packets in.

    `access`: the node's database where it is on a server; None: SQLite.  `keys`: where the seal keys are copied to;
    `keys_beside`: that may be beside the data.  `keep`: how many that can be read are left there, 0: all.  `rereads`:
    packets that lie there are read again, too.  `actor`: who is noted in the event that says so, once it is whole.
    Raises Conflict (another backup runs there, or something else lies there), BadRequest (a folder inside another),
    StoreDamaged, StoreProgram, BackupDamaged where the disk does not keep what it is given, OSError, which of a full
    disk leaves only the packets that were copied; StoreBusy where the database goes away, be it after the backup is
    whole and before the node notes it.  Killed at any moment it leaves nothing that is taken for a backup, and may be
    run again: packets that were copied stay.
    Crash points: backup.database_copied, backup.blobs_copied, backup.keys_named, backup.named,
    backup.noted, backup.outdated_unnamed.
    """  # fmt: skip
    _check_places((data, store.blobs.root), folder, keys, keys_beside=keys_beside)
    target = Destination(folder=folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_folder(folder):
        target.prepare(node)
        _clear(target)
        try:
            manifest, part = _copy_rows(store, data, access, target, node, release, tell)
            copied = copy_blobs(
                store.blobs, target.blobs, read_blobs(part),
                rereads=rereads, step="packets", total=manifest.blobs, tell=tell,
            )  # fmt: skip
            crash_point("backup.blobs_copied")
            kept = None if keys is None else _copy_keys(data, keys, manifest)
            whole = _finish(target, part, manifest, copied, tell)
        except BaseException:
            with suppress(OSError):  # why it failed is what is told
                _clear(target)
            raise
        crash_point("backup.named")
        _note(store, whole, actor)
        removed, unread = _let_go(target, keep) if keep else ((), {})
    return Backup(
        manifest=whole, folder=target.generations / whole.generation, new_blobs=copied.new, new_bytes=copied.new_bytes,
        keys_folder=kept, removed=removed, unread=unread,
    )  # fmt: skip


def _check_places(places: tuple[Path, ...], folder: Path, keys: Path | None, *, keys_beside: bool) -> None:
    """Raises BadRequest: a backup inside what it backs up, keys beside what they sealed."""
    inside = folder.resolve()
    for outside in (place.resolve() for place in places):
        if inside == outside or outside in inside.parents or inside in outside.parents:
            raise BadRequest("backup.inside_data", folder=str(folder))
        if keys is not None and (keys.resolve() == outside or outside in keys.resolve().parents):
            raise BadRequest("backup.inside_data", folder=str(keys))
    if keys is not None and not keys_beside:
        place = keys.resolve()
        if place == inside or inside in place.parents or place in inside.parents:
            raise BadRequest("backup.keys_beside", folder=str(keys))


def _clear(target: Destination) -> None:
    """What backups that were killed have left: under the lock nobody is writing it."""
    target.blobs.clear_spool()
    for path in target.generations.glob(f"*{PART}"):
        shutil.rmtree(path)


# --- the snapshot ------------------------------------------------------------------------------------------------


def _copy_rows(
    store: Store, data: Path, access: DatabaseAccess | None, target: Destination, node: str, release: str, tell: Tell
) -> tuple[Manifest, Path]:
    """The rows as they are at one moment, the list of the packets they speak of, and what is small and beside them."""
    with store.read() as connection:
        rows = count_rows(connection)
        at = store.now(connection)
        name = start_name(target.folder, at)
        part = target.generations / f"{name}{PART}"
        part.mkdir(mode=0o700)
        if access is None:
            copy_database(connection, part / DATABASE, lambda done, total: tell("rows", done, total))
        else:
            tell("rows", 0, 1)
            dump_database(connection, access, part / DUMP)
            tell("rows", 1, 1)
        count, size = write_blobs(part, blobs_by_digest(connection))
    for file_name in (DATABASE if access is None else DUMP, BLOBS):
        (part / file_name).chmod(0o600)
        sync_file(part / file_name)
    crash_point("backup.database_copied")
    for path in _files(data / "trust"):
        (part / "trust" / path).parent.mkdir(parents=True, exist_ok=True)
        copy_file(data / "trust" / path, part / "trust" / path)
    manifest = Manifest(
        format=FORMAT, generation=name, node=node, release=release, schema=HEAD, at=at, at_local=local_iso(at),
        rows=rows, blobs=count, blob_bytes=size, lacking=(), keys=_key_digests(data / "keys"),
        database="sqlite" if access is None else SERVER,
    )  # fmt: skip
    return manifest, part


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, relative to it; nothing where it is absent."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield path.relative_to(folder)


def _key_digests(keys: Path) -> dict[str, str]:
    return {path.name: digest_of(path) for path in sorted(keys.glob("seal*")) if path.suffix in (".key", ".crt")}


# --- its end -----------------------------------------------------------------------------------------------------


def _copy_keys(data: Path, keys: Path, manifest: Manifest) -> Path:
    """The seal keys into a folder of that generation's name, readable by this user alone."""
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in keys.glob(f"*{PART}"):
        shutil.rmtree(left)
    part, whole = keys / f"{manifest.generation}{PART}", keys / manifest.generation
    if whole.exists():  # of a backup that was killed after it had named them
        shutil.rmtree(whole)
    part.mkdir(mode=0o700)
    digests = {name: copy_file(data / "keys" / name, part / name) for name in manifest.keys}
    write_file(part / KEYS_WARNING, _WARNING.encode())
    write_sums(part, {**digests, KEYS_WARNING: digest_of(part / KEYS_WARNING)})
    sync_folder(part)
    check_sums(part)
    part.rename(whole)
    sync_folder(keys)
    crash_point("backup.keys_named")
    return whole


def _finish(target: Destination, part: Path, manifest: Manifest, copied: Copied, tell: Tell) -> Manifest:
    """Manifest and digests, everything read once more, then the name: from here on it is a backup."""
    whole = replace(manifest, lacking=tuple(copied.lacking))
    write_file(part / MANIFEST, whole.as_bytes())
    tell("checks", 0, 1)
    write_sums(part, {str(path): digest_of(part / path, from_disk=True) for path in _files(part)})
    for folder in [part, *(path for path in part.rglob("*") if path.is_dir())]:
        sync_folder(folder)
    check_sums(part)
    tell("checks", 1, 1)
    part.rename(target.generations / whole.generation)
    sync_folder(target.generations)
    return whole


def _note(store: Store, whole: Manifest, actor: str) -> None:
    """The node knows of it, by an event."""
    with store.write() as connection:
        now = store.now(connection)
        backups.note(connection, name=whole.generation, at=whole.at, now=now, actor=actor)
    crash_point("backup.noted")


def _let_go(target: Destination, keep: int) -> tuple[tuple[str, ...], Mapping[str, BackupDamaged | Conflict]]:
    """Keep the newest generations, and the packets that any of these needs. A generation loses its name first.

    One that cannot be read does not count: it takes nobody's place.  As long as it lies between others no packet is
    removed, because nobody knows which of them it needs.
    """
    needed: set[str] = set()
    left: list[Path] = []
    unread: dict[str, BackupDamaged | Conflict] = {}
    for path in reversed(target.whole()):
        if len(left) == keep:
            break
        try:
            needed |= _needed(path)
            left.append(path)
        except (BackupDamaged, Conflict) as why:
            unread[path.name] = why
    old = [path for path in target.whole() if path < left[-1]] if len(left) == keep else []
    for path in old:
        unnamed = path.with_name(f"{path.name}{PART}")
        path.rename(unnamed)
        sync_folder(target.generations)
        crash_point("backup.outdated_unnamed")
        shutil.rmtree(unnamed)
    for digest in list(target.blobs.names()) if old and not unread else ():
        if digest not in needed:
            os.unlink(target.blobs.path(digest))
    return tuple(path.name for path in old), unread


def _needed(folder: Path) -> set[str]:
    """The packets that a generation needs. Raises BackupDamaged, also where its list is not all that it was; Conflict
    where a later program made it."""
    found = {digest for digest, _ in read_blobs(folder)}
    if len(found) != read_manifest(folder).blobs:
        raise BackupDamaged(file=str(folder / BLOBS))
    return found
