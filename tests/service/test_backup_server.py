"""Backup and restore of a node on PostgreSQL: a dump and back, or beside a database that its own tools put back."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from gateway.account import Account, close_books
from gateway.backup import is_unfinished
from gateway.model.errors import StoreUnfinished
from gateway.model.instants import wall_now
from gateway.store import open_store
from gateway.store.carrying.copying import count_rows
from gateway.store.carrying.dumping import DatabaseAccess, dump_database, load_database
from tests.fault.test_restore_drill import AT_SERVER
from tests.support.nodes import Database, House, build_house
from tests.support.postgres import cluster
from tests.support.processes import NodeProcesses
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A node on PostgreSQL that has done a little of everything."""
    made = build_house(tmp_path, database=Database.POSTGRESQL)
    sent = made.send(["check", "blind", "inbox-a"])
    made.work()
    made.collect("inbox-a", made.delivery(sent, "inbox-a"))
    made.send(["inbox-b", "idem"], "2")
    return made


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """Where the backups go, and where the keys."""
    return str(tmp_path / "sao-luu"), str(tmp_path / "khoa")


def account_of(data: Path, database: str, blobs: Path | None = None) -> Account:
    store = open_store(data, node="thu", database=database, reserve=1, blobs=blobs)
    try:
        return close_books(store, 0, wall_now() + 1)
    finally:
        store.close()


def blobs_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").rglob("*") if len(path.name) == 64}


def point_at(monkeypatch: pytest.MonkeyPatch, data: Path, database: str) -> None:
    """The terminal's node is another one from now on."""
    monkeypatch.setenv("TRUC_DATA", str(data))
    monkeypatch.setenv("TRUC_DATABASE", database)


def test_a_restored_node_has_the_same_account_and_the_same_bytes(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = account_of(tmp_path / "data", house.database)
    made = truc.json("backup", places[0], "--keys", places[1], "--keep", "2")
    assert made["rows"]["packets"] == made["packets"] == 2
    house.send(["inbox-a"], "3")  # of the time after the backup
    house.close()
    data, database = tmp_path / "moi", cluster().create()
    point_at(monkeypatch, data, database)
    done = truc.json("restore", places[0], "--keys", places[1])
    assert done["in_doubt"] == 2, "what was open: blind's and idem's; inboxes are shown again"
    assert truc.json("recover", code=1)["is_recovering"]
    after = account_of(data, database)
    assert after.closes
    assert (after.books, after.packets) == (before.books, before.packets)
    assert after.events == before.events + 1, "that it was restored"
    assert blobs_in(data) == blobs_in(Path(places[0]))
    assert not (data / "restoring").exists()
    assert not truc.json("recover", "--done")["is_recovering"]
    again = truc.json("backup", places[0], "--keys", places[1])
    assert again["generation"] > made["generation"], "a restored node is backed up where it was before"


def test_a_restore_that_is_killed_lets_nobody_work_and_goes_on(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = account_of(tmp_path / "data", house.database)
    truc("backup", places[0], "--keys", places[1])
    house.close()
    data, database = tmp_path / "moi", cluster().create()
    node = NodeProcesses(data, {"node": "thu", "disk_reserve_mib": "1", "database": database})
    for point in (*AT_SERVER, "restore.named", "restore.done"):
        died = node.run("restore", places[0], "--keys", places[1], crash_at=point)
        assert died.returncode == -9, died.stderr
        assert is_unfinished(data)
        if point != "restore.done":
            with pytest.raises(StoreUnfinished):
                open_store(tmp_path / "khac", node="thu", database=database, reserve=1)
    point_at(monkeypatch, data, database)
    truc("account", code=6)
    assert "[restore.unfinished]" in truc.err
    assert truc.json("restore", places[0], "--keys", places[1])["in_doubt"] == 2
    assert truc.json("recover", code=1)["is_recovering"]
    after = account_of(data, database)
    assert (after.books, after.packets) == (before.books, before.packets)


def test_rows_go_only_where_they_belong(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("backup", places[0], "--keys", places[1])
    house.close()
    point_at(monkeypatch, tmp_path / "moi", "")
    truc("restore", places[0], "--keys", places[1], code=2)
    assert "[restore.needs_server]" in truc.err
    truc("restore", places[0], "--keys", places[1], "--beside", code=2)
    assert "[restore.beside_what]" in truc.err
    point_at(monkeypatch, tmp_path / "moi", house.database)
    truc("restore", places[0], "--keys", places[1], code=1)
    assert "[restore.database_not_empty]" in truc.err
    assert not (tmp_path / "moi" / "restoring").exists(), "nothing was begun that other commands had to wait for"
    point_at(monkeypatch, tmp_path / "moi", cluster().create())
    truc("restore", places[0], "--keys", places[1], "--beside", code=6)
    assert "[restore.no_rows]" in truc.err
    assert not (tmp_path / "moi" / "restoring").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    truc("restore", places[0], "--keys", places[1], code=5)
    assert "[store.program]" in truc.err
    assert "pg_restore" in truc.err


def test_beside_a_database_that_was_put_back_packets_and_keys_are_restored(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows know more than the last backup: a packet that no backup has is told, all others are there."""
    truc("backup", places[0], "--keys", places[1])
    later = house.send(["inbox-a"], "3")
    before = account_of(tmp_path / "data", house.database)
    house.close()
    data = tmp_path / "moi"
    point_at(monkeypatch, data, house.database)
    done = truc.json("restore", places[0], "--keys", places[1], "--beside", code=1)
    with psycopg.connect(house.database) as connection:
        blob = connection.execute("SELECT blob FROM packets WHERE id = %s", (later.packet_id,)).fetchone()
    assert blob is not None
    assert done["lacking"] == [blob[0]]
    assert done["lacking_packets"] == {blob[0]: [later.packet_id]}
    assert blobs_in(data) == blobs_in(Path(places[0]))
    after = account_of(data, house.database)
    assert (after.books, after.packets) == (before.books, before.packets)
    assert truc.json("recover", code=1)["is_recovering"]


def test_of_many_packets_that_no_backup_has_ten_are_named_and_the_moment_where_no_backup_was_restored(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("backup", places[0], "--keys", places[1])
    later = [house.send(["inbox-a"], str(number)).packet_id for number in range(3, 15)]
    house.close()
    point_at(monkeypatch, tmp_path / "moi", house.database)
    truc("restore", places[0], "--keys", places[1], "--beside", code=1)
    assert sum(packet in truc.err for packet in later) == 10
    assert "và 2 gói tin nữa" in truc.err
    truc("recover", code=1)
    assert "đã được đưa về thời điểm" in truc.out
    truc("doctor", code=1)
    assert "được đưa về thời điểm 20" in truc.out
    truc("recover", "--begin", "2026-01-01 00:00", code=1)
    assert "đang phục hồi từ thời điểm" in truc.err
    truc("recover", "--done")
    assert "đã được đưa về thời điểm" in truc.out
    truc("recover", "--begin", "2126-01-01 00:00", code=2)
    assert "[cli.future_moment]" in truc.err, "a year that was mistyped: nothing would have been in doubt"
    truc("recover")
    assert "–" not in truc.out


def test_a_dump_holds_what_its_transaction_saw(house: House, tmp_path: Path) -> None:
    """The rows that a backup counts, and the packets that it copies, are the dump's, whatever comes meanwhile."""
    with house.node.store.read() as connection:
        seen = count_rows(connection)["packets"]
        house.send(["inbox-a"], "3")
        dump_database(connection, DatabaseAccess(address=house.database, node="thu"), tmp_path / "dump")
    house.close()
    database = cluster().create()
    load_database(DatabaseAccess(address=database, node="thu"), tmp_path / "dump")
    with psycopg.connect(database) as connection_there:
        assert connection_there.execute("SELECT count(*) FROM packets").fetchone() == (seen,)


def test_a_dump_says_nothing_of_passwords(house: House, truc: Terminal, places: tuple[str, str]) -> None:
    made = truc.json("backup", places[0])
    dump = Path(made["folder"]) / "truc.dump"
    assert dump.stat().st_mode & 0o777 == 0o600
    assert make_url(house.database).database not in (Path(made["folder"]) / "manifest.json").read_text()
