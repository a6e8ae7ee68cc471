"""Restoring what lies beside a database that the server's own tools have put back, to whatever moment.

    the database says that nobody may open it ── keys and trust, and every packet that its rows speak of ── its rows are
    made those of a recovering node ── everything gets its name, the database is free, as the last step

How far the database knows is told by its own newest event: what may have happened since is in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edxml.crashpoints import crash_point
from gateway.backup.blobs import copy_blobs
from gateway.backup.doubting import begin_recovery
from gateway.backup.restoring import UNFINISHED, Checked, check_empty, copy_small, give_names, leave_work, take_back
from gateway.backup.serving import Serving
from gateway.backup.shape import Tell, read_blobs, write_blobs
from gateway.channels import KINDS, Kind
from gateway.store import Clock, Store, backups, packets
from gateway.store.blobs import BlobFolder, sync_folder
from gateway.store.carrying.copying import blobs_by_digest
from gateway.store.carrying.dumping import DatabaseAccess

__all__ = ["Beside", "restore_beside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A node that was restored beside its database, as it was at `at`. `lacking`: blobs that no backup has, each with
    the packets that need it."""

    at: int
    doubted: int
    lacking: Mapping[str, tuple[str, ...]]


def restore_beside(
    checked: Checked,
    data: Path,
    access: DatabaseAccess,
    *,
    actor: str,
    tell: Tell,
    kinds: Mapping[str, Kind] = KINDS,
    clock: Clock | None = None,
    shared: Path | None = None,
) -> Beside:
    """Put keys, trust and packets back into the empty folder `data`; the node recovers from what its database knows.

    The packets come from all generations of the backup's destination.  The caller holds the folder's lock alone.
    Raises as `restore`, NotFound where the database holds no rows, StoreForeign where they are another node's.  Killed
    at any moment it leaves a folder and a database that every other command refuses, and may be run again.
    Crash points: restore.begun, restore.copied, restore.prepared, restore.named, restore.done.
    """
    check_empty(data)
    work = data / UNFINISHED
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    serving = Serving.begin(access, work, checked.manifest, is_beside=True)
    if serving.has_ended:
        leave_work(data)
        return Beside(at=serving.ended_at, doubted=serving.doubted, lacking={})
    take_back(data, work)
    crash_point("restore.begun")
    copy_small(checked, work)
    store = serving.open(work, clock)
    try:
        lacking = _copy_packets(store, checked, work, shared, tell)
        crash_point("restore.copied")
        with store.read() as connection:
            at = backups.newest_moment(connection)
        begun = begin_recovery(store, backup="", backup_at=at, actor=actor, kinds=kinds, may_repeat=True)
    finally:
        store.close()
    crash_point("restore.prepared")
    give_names(data, work)
    crash_point("restore.named")
    serving.end(begun.at, begun.doubted)
    crash_point("restore.done")
    leave_work(data)
    return Beside(at=at, doubted=begun.doubted, lacking=lacking)


def _copy_packets(
    store: Store, checked: Checked, work: Path, shared: Path | None, tell: Tell
) -> Mapping[str, tuple[str, ...]]:
    """Every packet that the rows speak of; which of them no backup has, by digest."""
    blobs = BlobFolder(work / "blobs" if shared is None else shared, reserve=0)
    blobs.prepare()
    with store.read() as connection:  # nothing is copied while it is open: the server ends what stands still
        total, _ = write_blobs(work, blobs_by_digest(connection))
    copied = copy_blobs(checked.blobs, blobs, read_blobs(work), rereads=True, step="packets", total=total, tell=tell)
    sync_folder(work)
    with store.read() as connection:
        return {digest: packets.ids_of_blob(connection, digest) for digest in copied.lacking}
