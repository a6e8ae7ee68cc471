"""The shape of a destination on disk, and the manifest of a generation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gateway.backup.faults import BackupDamaged
from gateway.backup.files import LOCK, write_file
from gateway.model.errors import Conflict, NotFound
from gateway.model.instants import as_datetime, local_iso, wall_now
from gateway.model.room import naming_full_disk
from gateway.store.blobs import BlobFolder, sync_folder
from gateway.store.carrying.copying import BlobSize

__all__ = [
    "BLOBS", "DATABASE", "DUMP", "FORMAT", "MANIFEST", "PART", "SERVER", "Destination", "Manifest", "Tell",
    "generations", "read_blobs", "read_manifest", "start_name", "write_blobs",
]  # fmt: skip

FORMAT: Final = 2
DATABASE: Final = "truc.db"
DUMP: Final = "truc.dump"
SERVER: Final = "postgresql"
MANIFEST: Final = "manifest.json"
BLOBS: Final = "blobs.txt"
PART: Final = ".part"
_MARKER: Final = "truc-backup.json"

Tell = Callable[[str, int, int], object]
"""Told how far a step came: its word (`backup_told.<word>`), how much is done, of how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a generation holds, and from whom. `at`: the moment of the snapshot, microseconds."""

    format: int
    generation: str
    node: str
    release: str
    schema: str
    at: int
    at_local: str
    rows: Mapping[str, int]
    blobs: int
    blob_bytes: int
    lacking: tuple[str, ...]  #: digests of packets that the node itself had lost, or found damaged
    keys: Mapping[str, str]  #: files of the seal keys, and their SHA-256: the files themselves lie elsewhere
    database: str = "sqlite"  #: what the rows were kept in; form 1 knew no other

    @property
    def rows_file(self) -> str:
        """The file of the generation that holds the rows: an SQLite database, or a dump of pg_dump's."""
        return DUMP if self.database == SERVER else DATABASE

    def as_bytes(self) -> bytes:
        """The file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False).encode() + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a generation. Raises BackupDamaged; Conflict `restore.newer_form`: a later program's."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        if found["format"] > FORMAT:
            raise Conflict("restore.newer_form", release=str(found.get("release", "?")))
        return Manifest(**{**found, "lacking": tuple(found["lacking"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError) as why:
        raise BackupDamaged(file=str(folder / MANIFEST)) from why


def write_blobs(folder: Path, blobs: Iterable[BlobSize]) -> tuple[int, int]:
    """Write down which blobs are needed; how many they are, and their bytes. The file is not synced."""
    count = size = 0
    with naming_full_disk(folder / BLOBS), (folder / BLOBS).open("w", encoding="ascii") as file:
        for digest, length in blobs:
            file.write(f"{digest} {length}\n")
            count, size = count + 1, size + length
    return count, size


def read_blobs(folder: Path) -> Iterator[BlobSize]:
    """The blobs that a generation needs. Raises BackupDamaged."""
    try:
        with (folder / BLOBS).open("r", encoding="ascii") as file:
            for line in file:
                digest, size = line.split()
                yield digest, int(size)
    except (FileNotFoundError, ValueError) as why:
        raise BackupDamaged(file=str(folder / BLOBS)) from why


def generations(folder: Path) -> tuple[Path, ...]:
    """The whole generations of a destination, oldest first. Raises NotFound `restore.no_backup` where it is none."""
    if not (folder / _MARKER).is_file():
        raise NotFound("restore.no_backup", folder=str(folder))
    return _whole(folder)


def _whole(folder: Path) -> tuple[Path, ...]:
    found = (folder / "generations").iterdir() if (folder / "generations").is_dir() else ()
    return tuple(sorted(path for path in found if path.is_dir() and path.suffix != PART))


def start_name(folder: Path, at: int) -> str:
    """A name for a generation of that moment which sorts behind all others there."""
    name = f"{as_datetime(at):%Y%m%dT%H%M%S}Z"
    taken = [path.name for path in _whole(folder)]
    if not taken or name > taken[-1]:
        return name
    stem, _, number = taken[-1].partition("-")
    return f"{stem}-{int(number or 1) + 1:03}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A folder that takes the backups of one node."""

    folder: Path

    @property
    def blobs(self) -> BlobFolder:
        """Where the packets of all generations lie."""
        return BlobFolder(self.folder / "blobs", reserve=0)

    @property
    def generations(self) -> Path:
        """Where the generations lie."""
        return self.folder / "generations"

    def whole(self) -> tuple[Path, ...]:
        """The whole generations, oldest first."""
        return _whole(self.folder)

    def prepare(self, node: str) -> None:
        """Make the folder one for this node's backups. Safe to repeat.

        Raises Conflict `backup.strange_folder` where something else lies there, `backup.other_node` where the backups
        of another node do.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self.folder / _MARKER
        strange = [path.name for path in self.folder.iterdir() if path.name not in ("lost+found", LOCK)]
        if marker.is_file():
            try:
                owner = json.loads(marker.read_bytes())["node"]
            except (ValueError, KeyError, TypeError) as why:
                raise BackupDamaged(file=str(marker)) from why
            if owner != node:
                raise Conflict("backup.other_node", folder=str(self.folder), owner=owner, node=node)
        elif set(strange) - {f"{_MARKER}{PART}"}:
            raise Conflict("backup.strange_folder", folder=str(self.folder), name=sorted(strange)[0])
        else:
            made = self.folder / f"{_MARKER}{PART}"
            made.unlink(missing_ok=True)
            content = {"format": FORMAT, "node": node, "made": local_iso(wall_now())}
            write_file(made, json.dumps(content, indent=2).encode() + b"\n")
            made.rename(marker)
        self.generations.mkdir(mode=0o700, exist_ok=True)
        self.blobs.prepare()
        self.blobs.root.chmod(0o700)  # documents are for this node's user alone, whoever made the folder
        sync_folder(self.folder)
