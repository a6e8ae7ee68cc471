"""Disks without room that backups and archives are written to: one sentence that names them, nothing half-written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.archive import verify
from gateway.model.errors import StoreUnwritable
from gateway.store.remembered import remember
from tests.support.archives import archive, pass_month
from tests.support.nodes import Database, House, build_house
from tests.support.processes import SmallDisk
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]

_LEFT = 100 << 10
"""Bytes that are left on the disk: room for small files, none for a database or an archive."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with a file on it, `day`, that may go."""
    with SmallDisk(tmp_path / "dia", mib=16) as small:
        (small.path / "day").write_bytes(bytes((16 << 20) - _LEFT))
        yield small.path


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "house",
    [Database.SQLITE, pytest.param(Database.POSTGRESQL, marks=pytest.mark.long)],
    ids=str, indirect=True,
)  # fmt: skip
def test_a_backup_says_which_disk_is_full_and_goes_on_when_there_is_room(
    house: House, disk: Path, truc: Terminal
) -> None:
    house.send(["inbox-a"])
    truc("backup", str(disk / "sao-luu"), code=2)
    assert "[cli.full]" in truc.err
    assert str(disk) in truc.err
    assert files_in(disk / "sao-luu") == ["truc-backup.json", "truc-backup.lock"], "the room that was taken is free"
    (disk / "day").unlink()
    truc("backup", str(disk / "sao-luu"))
    truc("restore", str(disk / "sao-luu"), "--check")


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A node on the database that is asked for, SQLite where none is."""
    made = build_house(tmp_path, database=getattr(request, "param", Database.SQLITE))
    yield made
    made.close()


def test_an_archive_says_which_disk_is_full_and_leaves_the_one_that_is_there(house: House, disk: Path) -> None:
    house.send(["inbox-a"])
    pass_month(house)
    whole = archive(house, disk)
    there = os.statvfs(disk)
    (disk / "more").write_bytes(bytes(there.f_bavail * there.f_frsize))
    with pytest.raises(OSError, match=whole.stem) as told:
        archive(house, disk)
    assert told.value.errno == errno.ENOSPC
    assert files_in(disk) == ["day", "more", whole.name]
    verify(whole)


def test_a_note_of_how_far_the_database_came_that_has_no_room_is_no_defect(house: House, disk: Path) -> None:
    """What was remembered stays, and nothing half-written."""
    house.send(["inbox-a"])
    (disk / "newest").write_text('{"position": 1, "at": 1}', "ascii")
    with (disk / "rest").open("wb") as rest, suppress(OSError):
        while rest.write(bytes(4096)):
            rest.flush()
    with pytest.raises(StoreUnwritable) as why:
        remember(house.node.store, disk)
    assert os.strerror(errno.ENOSPC) in str(why.value.params["why"])
    assert files_in(disk) == ["day", "newest", "rest"]
    (disk / "rest").unlink()
    remember(house.node.store, disk)
    assert "position" in (disk / "newest").read_text()
