"""Reading an archive, without a node: what is in it, and whether it is what was written."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from gateway.archive.shape import BYTES, MANIFEST, Manifest, parse_manifest
from gateway.model.errors import StoreError
from gateway.model.events import Event, leaf_digest

__all__ = ["ArchiveDamaged", "digest_of", "read_manifest", "read_rows", "verify"]

_PIECE: Final = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, TypeError, NotImplementedError)
"""What the libraries say of bytes that are no archive of ours, or of a ZIP made in a way that they do not read."""


class ArchiveDamaged(StoreError):
    """A file is no archive, or not what was written. Parameters `file`, `what`: the part that is wrong."""

    code = "archive.damaged"


def digest_of(path: Path) -> str:
    """SHA-256 of the whole file, hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """Raises ArchiveDamaged, also for what reading within it meets; OSError."""
    what = MANIFEST
    try:
        with zipfile.ZipFile(path) as packed:
            manifest = parse_manifest(packed.read(MANIFEST).decode())
            what = "rows"
            yield packed, manifest
    except _UNREADABLE as why:
        raise ArchiveDamaged(file=str(path), what=f"{what}: {why}") from why


def read_manifest(path: Path) -> Manifest:
    """What an archive says of itself. Raises ArchiveDamaged, OSError."""
    with _opened(path) as (_, manifest):
        return manifest


def read_rows(path: Path, table: str) -> Iterator[dict[str, Any]]:
    """The rows of one table as they were stored. Raises ArchiveDamaged, OSError."""
    with _opened(path) as (packed, _), packed.open(f"rows/{table}.jsonl") as lines:
        yield from map(_row, lines)


def _row(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    for name in BYTES & found.keys():
        found[name] = None if found[name] is None else base64.b64decode(found[name], validate=True)
    return found


def verify(path: Path) -> Manifest:
    """Read all of it and hold it against its manifest: every file's digest, every packet's, every event's leaf.

    Raises ArchiveDamaged naming the first part that is wrong, OSError.
    """
    with _opened(path) as (packed, manifest):
        there = set(packed.namelist())
        if there != {*manifest.files, MANIFEST}:
            odd = sorted(there ^ {*manifest.files, MANIFEST})
            raise ArchiveDamaged(file=str(path), what=", ".join(odd[:3]))
        for name, content in manifest.files.items():
            with packed.open(name) as file:
                size, digest = _measure(file)
            named = name.removeprefix("blobs/") if name.startswith("blobs/") else digest
            if (size, digest) != (content.size, content.sha256) or named != digest:
                raise ArchiveDamaged(file=str(path), what=name)
        for table, count in manifest.rows.items():
            with packed.open(f"rows/{table}.jsonl") as lines:
                _check_rows(path, table, count, map(_row, lines), manifest)
        return manifest


def _measure(file: IO[bytes]) -> tuple[int, str]:
    hasher, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        hasher.update(piece)
        size += len(piece)
    return size, hasher.hexdigest()


def _check_rows(path: Path, table: str, count: int, rows: Iterator[dict[str, Any]], manifest: Manifest) -> None:
    found = 0
    for row in rows:
        found += 1
        if table == "packets" and row["blob"] and f"blobs/{row['blob']}" not in manifest.files:
            raise ArchiveDamaged(file=str(path), what=f"packets {row['id']}")
        if table == "events" and not _is_intact(row):
            raise ArchiveDamaged(file=str(path), what=f"events {row['id']}")
    if found != count:
        raise ArchiveDamaged(file=str(path), what=f"{table}: {found} ≠ {count}")


def _is_intact(row: dict[str, Any]) -> bool:
    """Whether an event is what its leaf digest was made of."""
    fields = {name: row[name] for name in Event.__dataclass_fields__}
    made = leaf_digest(Event(**fields), row["id"], row["recorded_at"], row["rule_version"])
    return bool(made == row["leaf"])
