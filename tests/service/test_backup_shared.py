"""Restoring a node whose machines share the folder of packets: the line that says whose it is, and the database's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.store.homes import MARK
from tests.service.test_backup_server import account_of
from tests.support.nodes import Database, build_house
from tests.support.postgres import cluster
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]


class Lost:
    """A node on PostgreSQL that was backed up and then lost its database; its folder of packets is still there."""

    def __init__(self, folder: Path, truc: Terminal) -> None:
        self.folder, self.truc = folder, truc
        self.backup = str(folder / "sao-luu"), "--keys", str(folder / "khoa")
        house = build_house(folder, database=Database.POSTGRESQL)
        house.send(["blind", "inbox-a"])
        house.work()
        truc.set(database=house.database)
        truc("backup", *self.backup)
        house.close()
        self.before = account_of(folder / "data", house.database)
        self.packets = folder / "data/blobs"
        self.line = (self.packets / MARK).read_text("utf-8")

    def restore(self, shared: Path, code: int = 0) -> str:
        """Into a fresh database and an empty data folder, the packets into `shared`."""
        database = cluster().create()
        self.truc.set(data=str(self.folder / "moi"), database=database, blobs=str(shared))
        self.truc("restore", *self.backup, code=code)
        return database

    def assert_recovers(self, database: str, shared: Path) -> None:
        assert self.truc.json("recover", code=1)["is_recovering"]
        self.truc("recover", "--done")
        after = account_of(self.folder / "moi", database, shared)
        assert (after.books, after.packets) == (self.before.books, self.before.packets)


@pytest.fixture
def lost(tmp_path: Path, truc: Terminal) -> Lost:
    return Lost(tmp_path, truc)


def test_a_node_that_lost_its_database_takes_its_folder_of_packets_again(lost: Lost) -> None:
    """The folder's line is the former one, and so is the restored database's."""
    lost.assert_recovers(lost.restore(lost.packets), lost.packets)
    assert (lost.packets / MARK).read_text("utf-8") == lost.line


def test_a_node_that_lost_both_begins_a_new_folder_under_its_line(lost: Lost, tmp_path: Path, truc: Terminal) -> None:
    """While it recovers; afterwards a folder without the line is one that is not mounted."""
    (tmp_path / "chung").mkdir()
    lost.assert_recovers(lost.restore(tmp_path / "chung"), tmp_path / "chung")
    assert (tmp_path / "chung" / MARK).read_text("utf-8") == lost.line
    (tmp_path / "chung" / MARK).unlink()
    truc("recover", code=3)
    assert "[store.blobs_elsewhere]" in truc.err


def test_a_folder_with_another_line_is_refused_until_the_named_line_is_written(lost: Lost, truc: Terminal) -> None:
    """One of this node's other lives, as after a restore that was begun anew."""
    (lost.packets / MARK).write_text("thu 0123456789abcdef\n", "utf-8")
    database = lost.restore(lost.packets)
    truc("recover", code=3)
    assert "[store.blobs_elsewhere]" in truc.err
    named = re.findall(r"“(thu \w+)”", truc.err)
    assert set(named) == {"thu 0123456789abcdef", lost.line.strip()}, "what stands there, and what to write"
    (lost.packets / MARK).write_text(lost.line, "utf-8")
    lost.assert_recovers(database, lost.packets)


def test_another_nodes_folder_is_refused_before_a_packet_is_copied(lost: Lost, tmp_path: Path, truc: Terminal) -> None:
    other = tmp_path / "cua-nut-khac"
    other.mkdir()
    (other / MARK).write_text("khac 0123456789abcdef\n", "utf-8")
    lost.restore(other, code=3)
    assert "[store.blobs_elsewhere]" in truc.err
    assert [path.name for path in other.iterdir()] == [MARK]
