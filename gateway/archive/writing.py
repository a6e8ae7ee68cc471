"""Writing a month out: one snapshot of its rows, then its packets, read again before it has its name."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from edxml.crashpoints import crash_point, declare
from gateway.archive.folding import fold_month
from gateway.archive.reading import ArchiveDamaged, digest_of, read_rows, verify
from gateway.archive.shape import BYTES, FORMAT, MANIFEST, README, Content, Manifest, archive_name
from gateway.model.errors import Conflict
from gateway.model.events import Event, EventKind
from gateway.model.instants import local_iso
from gateway.model.room import naming_full_disk
from gateway.store import Connection, Store, events
from gateway.store.blobs import sync_folder
from gateway.store.months import periods
from gateway.store.months.partitions import Month
from gateway.store.months.periods import KEPT_TABLES, Period

__all__ = ["write_month"]

declare("archive.written", "the archive is on disk under a name that says it is unfinished; no row speaks of it")
declare("archive.named", "the archive has its name; no row speaks of it, and it is written again")

_PIECE: Final = 1 << 20
_README: Final = """\
Tệp lưu trữ của Trục (trục liên thông văn bản): mọi văn bản mà nút {node} tiếp nhận trong tháng {month}, với đường đi
của chúng. manifest.json ghi nội dung và mã băm SHA-256 của từng tệp; rows/*.jsonl là các dòng của cơ sở dữ liệu, mỗi
dòng một đối tượng JSON; blobs/ là các gói tin edXML đúng từng byte như khi tiếp nhận, tên tệp là mã băm SHA-256.

An archive of Trục, a document exchange axis: every document that node {node} accepted in {month}, and what became of
it. manifest.json lists what is in it with the SHA-256 of every file; rows/*.jsonl are rows of the database, one JSON
object a line; blobs/ are the edXML packets, byte for byte as they were accepted, named by their SHA-256.
"""


class _Writer:
    """A zip file under way, and what went into it."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.files: dict[str, Content] = {}

    def add(self, name: str, pieces: Iterable[bytes], *, packs: bool) -> None:
        """One file of it. `packs`: whether it gets smaller by that."""
        hasher, size = hashlib.sha256(), 0
        entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED if packs else zipfile.ZIP_STORED
        entry.external_attr = 0o600 << 16
        with self._file.open(entry, "w", force_zip64=True) as writing:
            for piece in pieces:
                hasher.update(piece)
                size += len(piece)
                writing.write(piece)
        self.files[name] = Content(sha256=hasher.hexdigest(), size=size)


def write_month(
    store: Store, month: Month, folder: Path, *, node: str, release: str, actor: str, tell: Callable[[str], object]
) -> Path:
    """Write a month's archive into `folder` and note it in the store; gives the file.

    May be repeated while all of the month is in the store: what lies in `folder` under its name is replaced by what is
    stored now.  Raises Conflict `archive.not_over`, `archive.gone` where the month or a part of it was let go (what it
    went by is the only copy), `archive.holds_more` where the file that is there holds a packet that is not stored here,
    `archive.gap` where the month's account does not close; ArchiveDamaged where what was written cannot be read back,
    BlobMissing, OSError, StoreBusy.  Nothing half-written stays, and the file that was there does.

    Crash points: `archive.written`, `archive.named`.
    """
    target = folder / archive_name(node, month.name)
    part = target.with_suffix(".part")
    with store.read() as connection:
        now = store.now(connection)
        if month.end > now:
            raise Conflict("archive.not_over", month=month.name)
    part.unlink(missing_ok=True)
    try:
        with naming_full_disk(part):
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w+b") as file:
                manifest = _fill(store, month, file, node=node, release=release, at=now, tell=tell)
                file.flush()
                os.fsync(file.fileno())
        tell("verify")
        verify(part)
        _check_holds_all(part, target, month)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    crash_point("archive.written")
    digest = digest_of(part)
    part.replace(target)
    sync_folder(folder)
    crash_point("archive.named")
    with store.write() as connection:
        now = store.now(connection)
        made = Period(
            month=month.name, file=target.name, digest=digest, packets=manifest.rows["packets"],
            last_position=manifest.last_position, archived_at=now, archived_by=actor, dropped_at=None,
        )  # fmt: skip
        periods.record(connection, made)
        told = Event(kind=EventKind.PERIOD_ARCHIVED, at=now, actor=actor, reason=f"{month.name} {digest}")
        events.append(connection, [told], now)
    return target


def _fill(
    store: Store, month: Month, file: Any, *, node: str, release: str, at: int, tell: Callable[[str], object]
) -> Manifest:
    rows: dict[str, int] = {}
    digests: dict[str, None] = {}
    with zipfile.ZipFile(file, "w", allowZip64=True) as packed:
        writer = _Writer(packed)
        writer.add(README, [_README.format(node=node, month=month.name).encode()], packs=True)
        with store.read() as connection:
            _check_is_here(connection, month)
            last = periods.settled_position(connection, month)
            folded = fold_month(connection, month)
            for table in KEPT_TABLES:
                tell(table)
                counted = _Counted(periods.rows_of(connection, table, month), digests if table == "packets" else {})
                writer.add(f"rows/{table}.jsonl", counted, packs=True)
                rows[table] = counted.count
        tell("blobs")
        for digest in digests:
            writer.add(f"blobs/{digest}", _pieces(store, digest), packs=False)
        carried = tuple((*key, n) for key, n in sorted(folded.carried.items()))
        manifest = Manifest(
            format=FORMAT, node=node, release=release, month=month.name, written_at=local_iso(at), rows=rows,
            files=dict(writer.files), last_position=last, carried=carried,
        )  # fmt: skip
        writer.add(MANIFEST, [manifest.text().encode()], packs=True)
    return manifest


def _check_is_here(connection: Connection, month: Month) -> None:
    """Raises Conflict `archive.gone` where not all of what the month's archive holds is in the store any more."""
    known = periods.read_periods(connection).get(month.name)
    if known is None:
        return
    if known.dropped_at is not None or periods.count_packets(connection, month) < known.packets:
        raise Conflict("archive.gone", month=month.name, file=known.file)


def _check_holds_all(part: Path, target: Path, month: Month) -> None:
    """Raises Conflict `archive.holds_more` where `target` holds a packet that `part` does not.

    A store that was put back knows less than it did. A file that is damaged is replaced.
    """
    if not target.exists():
        return
    ours = (row["id"] for row in read_rows(part, "packets"))  # both in the order of ids
    known = next(ours, None)
    try:
        for row in read_rows(target, "packets"):
            while known is not None and known < row["id"]:
                known = next(ours, None)
            if known != row["id"]:
                raise Conflict("archive.holds_more", month=month.name, file=str(target), packet=row["id"])
    except ArchiveDamaged:
        return


class _Counted:
    """Rows as lines of JSON, counted while they go by; the digests of packets are kept."""

    def __init__(self, rows: Iterator[dict[str, Any]], digests: dict[str, None]) -> None:
        self._rows, self._digests, self.count = rows, digests, 0

    def __iter__(self) -> Iterator[bytes]:
        for row in self._rows:
            self.count += 1
            if row.get("blob"):
                self._digests[row["blob"]] = None
            plain = {k: base64.b64encode(v).decode() if k in BYTES and v is not None else v for k, v in row.items()}
            yield json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _pieces(store: Store, digest: str) -> Iterator[bytes]:
    with store.blobs.open(digest) as file:
        while piece := file.read(_PIECE):
            yield piece
