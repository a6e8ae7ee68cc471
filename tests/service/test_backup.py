"""`truc backup` and `truc restore`: what is copied, what is refused, and that nothing wrong is ever put back."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.account import Account, close_books
from gateway.backup import is_unfinished
from gateway.model.instants import wall_now
from gateway.store import open_store
from tests.support.nodes import House, build_house
from tests.support.restores import back_up
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A node that has done a little of everything."""
    house = build_house(tmp_path)
    sent = house.send(["check", "blind", "inbox-a"])
    house.work()
    house.collect("inbox-a", house.delivery(sent, "inbox-a"))
    house.send(["inbox-b", "idem"], "2")
    return house


def account_of(data: Path) -> Account:
    """The books of a data folder, as of always."""
    store = open_store(data, node="thu", reserve=1)
    try:
        return close_books(store, 0, wall_now() + 1)
    finally:
        store.close()


def blobs_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """Where the backups go, and where the keys."""
    return str(tmp_path / "sao-luu"), str(tmp_path / "khoa")


def restored(truc: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> Path:
    """Restore into a new data folder, which the terminal stands in front of from now on."""
    data = tmp_path / "moi"
    monkeypatch.setenv("TRUC_DATA", str(data))
    truc("restore", *arguments, code=code)
    return data


def test_a_restored_node_has_the_same_account_and_the_same_bytes(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = account_of(tmp_path / "data")
    made = truc.json("backup", places[0], "--keys", places[1])
    assert made["rows"]["packets"] == made["packets"] == made["new_packets"] == 2
    house.close()
    data = restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1])
    after = account_of(data)
    assert after.closes
    assert after.books == before.books
    assert (after.packets, after.gaps) == (before.packets, ())
    assert after.events == before.events + 1, "that it was restored"
    assert blobs_in(data) == blobs_in(tmp_path / "data")
    for name in ("seal.key", "seal.crt"):
        assert (data / "keys" / name).read_bytes() == (tmp_path / "data" / "keys" / name).read_bytes()
        assert mode(data / "keys" / name) == 0o600
    assert (mode(data / "keys"), mode(data / "truc.db")) == (0o700, 0o600)
    assert truc.json("recover", code=1)["is_recovering"]
    assert "doctor.recovering" in {check["code"] for check in truc.json("doctor", code=1)}
    assert not truc.json("recover", "--done")["is_recovering"]
    assert not (data / "restoring").exists()


def test_keys_lie_apart_and_closed(house: House, truc: Terminal, places: tuple[str, str], tmp_path: Path) -> None:
    Path(places[0]).mkdir(mode=0o755)
    made = truc.json("backup", places[0], "--keys", places[1])
    assert {mode(Path(places[0]) / name) for name in ("blobs", "generations")} == {0o700}
    folder = Path(made["keys_folder"])
    assert folder.parent == Path(places[1])
    assert mode(folder) == 0o700
    names = {path.name for path in folder.iterdir()}
    assert names == {"seal.key", "seal.crt", "SHA256SUMS", "DOC-TRUOC.txt"}
    assert {mode(folder / name) for name in names} == {0o600}
    assert "khóa kín" in (folder / "DOC-TRUOC.txt").read_text("utf-8")
    assert not [path for path in Path(places[0]).rglob("*") if path.suffix == ".key"]
    truc("backup", places[0], "--keys", f"{places[0]}/khoa", code=2)
    assert "[backup.keys_beside]" in truc.err
    beside = truc.json("backup", places[0], "--keys", f"{tmp_path}/sao-luu/khoa", "--keys-beside")
    assert beside["keys_folder"].startswith(places[0])


def test_a_second_backup_copies_only_what_is_new(house: House, truc: Terminal, places: tuple[str, str]) -> None:
    first = truc.json("backup", places[0])
    inodes = {path.name: path.stat().st_ino for path in Path(places[0], "blobs").rglob("*") if path.is_file()}
    house.send(["inbox-a"], "3")
    second = truc.json("backup", places[0])
    assert (second["packets"], second["new_packets"]) == (3, 1)
    assert second["generation"] > first["generation"]
    kept = {path.name: path.stat().st_ino for path in Path(places[0], "blobs").rglob("*") if path.is_file()}
    assert inodes.items() <= kept.items()
    listed = truc.json("backup", places[0], "--list")
    assert [line["generation"] for line in listed] == [first["generation"], second["generation"]]
    assert truc.json("restore", places[0], "--check")["generation"] == second["generation"], "where no keys lie"
    truc("restore", places[0], "--check", "--keys", "/proc/nowhere", "--generation", first["generation"], code=6)
    damaged = newest(Path(places[0])) / "manifest.json"
    damaged.write_bytes(b"{")
    listed = truc.json("backup", places[0], "--list", code=1)
    assert [line["generation"] for line in listed] == [first["generation"]], "one may be chosen all the same"
    assert str(damaged) in truc.err


def test_old_backups_go_with_what_nobody_needs_any_more(house: House, truc: Terminal, places: tuple[str, str]) -> None:
    first = truc.json("backup", places[0])
    needed = blobs_in(Path(places[0]))
    with house.node.store.write() as connection:  # an erased document keeps its row and loses its bytes
        gone = connection.exec_driver_sql("SELECT id, blob FROM packets ORDER BY id LIMIT 1").one()
        connection.exec_driver_sql("UPDATE packets SET blob = '' WHERE id = ?", (gone[0],))
    second = truc.json("backup", places[0], "--keep", "2")
    assert second["removed"] == []
    assert blobs_in(Path(places[0])) == needed
    third = truc.json("backup", places[0], "--keep", "2")
    assert third["removed"] == [first["generation"]]
    assert blobs_in(Path(places[0])) == needed - {gone[1]}
    assert [line["generation"] for line in truc.json("backup", places[0], "--list")] == [
        second["generation"], third["generation"],
    ]  # fmt: skip


def test_a_backup_that_cannot_be_read_takes_nobodys_place_and_what_it_may_need_stays(
    house: House, truc: Terminal, places: tuple[str, str]
) -> None:
    folder = Path(places[0])
    first, second, third = (truc.json("backup", places[0])["generation"] for _ in range(3))
    needed = blobs_in(folder)
    damaged = folder / "generations" / third / "blobs.txt"
    damaged.write_bytes(damaged.read_bytes().split(b"\n", 1)[1])  # a line is lost
    with house.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE packets SET blob = ''")
    made = truc.json("backup", places[0], "--keep", "2", code=1)
    assert (made["removed"], made["unread"]) == ([first], [third])
    assert str(damaged) in truc.err
    assert blobs_in(folder) == needed
    made = truc.json("backup", places[0], "--keep", "2")
    assert (made["removed"], made["unread"]) == ([second, third], [])
    assert blobs_in(folder) == frozenset() != needed


def flip(path: Path) -> None:
    """One byte is not what it was."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0x01
    path.write_bytes(body)


def newest(folder: Path) -> Path:
    return max((folder / "generations").iterdir())


_WRONG: dict[str, Callable[[Path], Path]] = {
    "database": lambda folder: newest(folder) / "truc.db",
    "list": lambda folder: newest(folder) / "blobs.txt",
    "manifest": lambda folder: newest(folder) / "manifest.json",
    "packet": lambda folder: max(path for path in (folder / "blobs").rglob("*") if path.is_file()),
}


@pytest.mark.parametrize("what", _WRONG)
def test_a_flipped_byte_is_refused_with_the_files_name(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    truc("backup", places[0], "--keys", places[1])
    wrong = _WRONG[what](Path(places[0]))
    flip(wrong)
    data = restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=5)
    assert str(wrong) in truc.err
    assert "[backup.damaged]" in truc.err
    assert not data.exists()
    wrong.unlink()
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=5)
    assert str(wrong) in truc.err


def test_altered_digests_and_keys_are_refused(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = truc.json("backup", places[0], "--keys", places[1])
    sums = newest(Path(places[0])) / "SHA256SUMS"
    right = sums.read_bytes()
    flip(sums)
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=5)
    assert str(sums.parent) in truc.err
    sums.write_bytes(b"")
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=5)
    assert str(sums) in truc.err
    sums.write_bytes(right)
    key = Path(made["keys_folder"]) / "seal.key"
    flip(key)
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=5)
    assert str(key) in truc.err


def test_without_the_keys_nothing_is_restored(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("backup", places[0])
    assert "--keys" in truc.err, "it says that the keys are not in it"
    data = restored(truc, tmp_path, monkeypatch, places[0], code=6)
    assert "[restore.keys_needed]" in truc.err
    Path(places[1]).mkdir()
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=6)
    assert "[restore.keys_missing]" in truc.err
    assert not data.exists()
    shutil.copytree(tmp_path / "data" / "keys", places[1], dirs_exist_ok=True)
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1])
    assert (data / "truc.db").exists()


def test_only_an_empty_folder_is_restored_into(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("backup", places[0], "--keys", places[1])
    truc("restore", places[0], "--keys", places[1], code=1)
    assert "[restore.not_empty]" in truc.err
    (tmp_path / "moi").mkdir()
    (tmp_path / "moi" / "ghi-chu.txt").write_text("của ai?")
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=1)
    assert "ghi-chu.txt" in truc.err


def test_another_nodes_and_a_later_releases_backups_are_refused(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("backup", places[0], "--keys", places[1])
    monkeypatch.setenv("TRUC_NODE", "khac")
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=1)
    assert "[restore.other_node]" in truc.err
    monkeypatch.setenv("TRUC_NODE", "thu")
    folder = newest(Path(places[0]))
    text = (folder / "manifest.json").read_text("utf-8")
    for old, new, code in (
        ('"schema": "', '"schema": "9', "restore.newer_schema"),
        ('"format": 2', '"format": 3', "restore.newer_form"),
    ):
        (folder / "manifest.json").write_text(text.replace(old, new), "utf-8")
        seal_again(folder)
        restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=1)
        assert f"[{code}]" in truc.err


def seal_again(folder: Path) -> None:
    """What somebody does who alters a backup on purpose."""
    names = [line[66:] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_folders_that_are_no_place_for_a_backup(house: House, truc: Terminal, tmp_path: Path) -> None:
    strange = tmp_path / "khac"
    strange.mkdir()
    (strange / "thu.txt").write_text("x")
    truc("backup", str(strange), code=1)
    assert "[backup.strange_folder]" in truc.err
    truc("backup", str(tmp_path / "data" / "sao-luu"), code=2)
    assert "[backup.inside_data]" in truc.err
    truc("backup", str(tmp_path / "sao-luu"), "--keys", str(tmp_path / "data" / "khoa"), code=2)
    truc("restore", str(strange), "--check", code=6)
    assert "[restore.no_backup]" in truc.err
    with (strange / "truc-backup.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        truc("backup", str(strange), code=1)
        assert "[backup.busy]" in truc.err


def test_what_the_node_itself_has_lost_is_said_and_the_rest_is_backed_up(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = max(path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file())
    flip(damaged)
    made = truc.json("backup", places[0], "--keys", places[1], code=1)
    assert made["lacking"] == [damaged.name]
    assert "[backup.lacking]" in truc.err or made["lacking"]
    data = restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1])
    assert blobs_in(data) == blobs_in(tmp_path / "data") - {damaged.name}


def test_a_packet_on_its_way_to_the_trash_is_copied_all_the_same(house: House, tmp_path: Path) -> None:
    blobs = house.node.store.blobs
    digest = sorted(blobs.names())[0]
    os.rename(blobs.path(digest), blobs.root / "trash" / digest)
    made = back_up(house, tmp_path / "backup")
    assert made.manifest.lacking == ()
    assert digest in blobs_in(tmp_path / "backup")


def test_what_lies_there_damaged_is_copied_anew_when_it_is_read_again(
    house: House, truc: Terminal, places: tuple[str, str]
) -> None:
    truc("backup", places[0])
    damaged = max(path for path in (Path(places[0]) / "blobs").rglob("*") if path.is_file())
    flip(damaged)
    assert truc.json("backup", places[0])["new_packets"] == 0
    assert truc.json("backup", places[0], "--reread")["new_packets"] == 1
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == damaged.name


def test_rows_that_are_not_all_there_are_refused_and_the_right_backup_goes_on(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = truc.json("backup", places[0], "--keys", places[1])
    truc("backup", places[0], "--keys", places[1])
    folder = newest(Path(places[0]))
    text = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(text.replace('"packets": 2', '"packets": 3'), "utf-8")
    seal_again(folder)
    data = restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], code=5)
    assert str(folder / "truc.db") in truc.err
    assert is_unfinished(data)
    truc("account", code=6)
    assert "[restore.unfinished]" in truc.err
    assert truc.json("doctor", code=1)[-1]["code"] == "restore.unfinished"
    restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1], "--generation", right["generation"])
    truc("account")


def test_a_backup_of_an_earlier_release_is_migrated(
    house: House, truc: Terminal, tmp_path: Path, places: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("backup", places[0], "--keys", places[1])
    folder = newest(Path(places[0]))
    (folder / "truc.db").unlink()
    dump = Path(__file__).parent.parent / "support" / "releases" / "0.1.0.sql.gz"
    rows = sqlite3.connect(folder / "truc.db")
    rows.executescript(gzip.decompress(dump.read_bytes()).decode())
    counts = {table: rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _COUNTED}
    rows.close()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest |= {"rows": counts, "schema": "0001", "release": "0.1.0", "blobs": 0, "blob_bytes": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "blobs.txt").write_text("")
    seal_again(folder)
    data = restored(truc, tmp_path, monkeypatch, places[0], "--keys", places[1])
    assert account_of(data).closes
    assert truc.json("recover", code=1)["is_recovering"]


_COUNTED = ("packets", "deliveries", "transfers", "events")
