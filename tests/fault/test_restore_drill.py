"""The drill: a working node is backed up, goes on, loses its disk, is restored; and backups and restores are killed.

What the users know lies outside the product: which letters they were told were accepted, and what lies in the folders.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway.account import Account, close_books
from gateway.backup import BackupDamaged, check_backup, check_empty, generations, is_unfinished
from gateway.cli.opening import check_not_lost
from gateway.model.errors import NotFound
from gateway.model.instants import wall_now
from gateway.settings import read_settings
from gateway.store import open_store, recoveries
from gateway.trial.ledger import digest
from gateway.trial.letters import Letter
from tests.support.clients import FAST, NODE, Home, Users, make_home
from tests.support.nodes import build_house
from tests.support.patience import PATIENCE
from tests.support.processes import NodeProcesses
from tests.support.restores import back_up, keys_of, put_back, silent

pytestmark = [pytest.mark.fault]

AT_BACKUP = (
    "backup.database_copied", "backup.blobs_copied", "backup.keys_named", "backup.named", "backup.noted",
    "backup.outdated_unnamed",
)  # fmt: skip
"""Points of `truc backup`, beside a node that may run."""
AT_RESTORE = ("restore.begun", "restore.copied", "restore.prepared", "restore.named", "restore.done")
"""Points of `truc restore`, which works alone."""
AT_SERVER = ("restore.database_claimed", "restore.database_loaded")
"""Points of a restore onto PostgreSQL besides; killed at in tests/service/test_backup_server.py."""
AT_RECOVERY = ("recover.answers_kept", "recover.ended")
"""Points that a restored node passes when it asks its recipients."""


def account_of(data: Path) -> Account:
    store = open_store(data, node=NODE, reserve=1)
    try:
        return close_books(store, 0, wall_now() + 1)
    finally:
        store.close()


def account_of_copy(database: Path, scratch: Path) -> Account:
    """The books of a backup's rows, which stay untouched."""
    scratch.mkdir()
    shutil.copyfile(database, scratch / "truc.db")
    return account_of(scratch)


def wait_until_recovered(home: Home, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while True:
        store = home.open()
        try:
            with store.read() as connection:
                if recoveries.running(connection) is None:
                    return
        finally:
            store.close()
        assert time.monotonic() < deadline, f"still recovering after {seconds:.0f} s"
        time.sleep(0.2)


def wait_for_folders(home: Home, letters: list[Letter], agency: str, seconds: float = PATIENCE) -> None:
    """Until all of them have arrived there; and a moment longer, in which what comes twice would come."""
    folder = home.places[agency].folder
    assert folder is not None
    deadline = time.monotonic() + seconds
    while {digest(one.body) for one in letters} - set(found_in(folder)):
        assert time.monotonic() < deadline, f"not all letters came to {agency} in {seconds:.0f} s"
        time.sleep(0.1)
    time.sleep(1.0)


def found_in(folder: Path) -> Counter[str]:
    """The digests of all packets that ever arrived in an agency's folder, taken away or not."""
    return Counter(
        digest(path.read_bytes()) for name in ("den", "vao-so") for path in sorted((folder / name).glob("*.edxml"))
    )


def test_a_node_that_lost_its_disk_goes_on_where_its_backup_was_made(tmp_path: Path) -> None:
    home, places = make_home(tmp_path), (str(tmp_path / "sao-luu"), "--keys", str(tmp_path / "khoa"))
    with NodeProcesses(home.data, FAST) as node, Users(home) as users:
        node.start("serve")
        users.begin(node.url)
        users.work(rounds=1)
        for agency in ("tm-1", "tm-2"):
            assert node.run("channel", "pause", f"k-{agency}").returncode == 0
        after_pause = [users.send(("hop-1", "tm-1")) for _ in range(3)]
        stuck = [users.send(("hop-2", "tm-2")) for _ in range(3)]
        told = dict(users.answers)
        working = users.in_background(lambda u: u.work(rounds=3, pause=0.1))
        made = node.run("backup", *places, "--json")
        assert made.returncode == 0, made.stderr
        working.result(timeout=60)
        assert node.run("channel", "resume", "k-tm-1").returncode == 0
        wait_for_folders(home, after_pause, "tm-1")  # handed over after the backup: it knows nothing of that
        node.kill("serve")
        backup = json.loads(made.stdout)
        before = account_of_copy(Path(backup["folder"]) / "truc.db", tmp_path / "nhin")
        shutil.rmtree(home.data)

        done = node.run("restore", *places, "--json")
        assert done.returncode == 0, done.stderr
        restored = account_of(home.data)
        assert restored.closes
        assert (restored.books, restored.packets) == (before.books, before.packets)
        assert_accepted_is_there(home, told)

        for point in AT_RECOVERY:
            node.start("serve", crash_at=point)
            node.wait_killed("serve")
        node.start("serve")
        wait_until_recovered(home)
        for agency in ("tm-1", "tm-2"):
            assert node.run("channel", "resume", f"k-{agency}").returncode == 0
        wait_for_folders(home, stuck, "tm-2")
        node.assert_alive()
    for agency in ("tm-1", "tm-2"):
        folder = home.places[agency].folder
        assert folder is not None
        assert {one: n for one, n in found_in(folder).items() if n > 1} == {}, f"{agency} saw packets twice"
    assert account_of(home.data).closes


def assert_accepted_is_there(home: Home, told: dict[str, dict[str, object]]) -> None:
    """Every packet that a sender was told was accepted before the backup began, byte for byte."""
    assert len(told) > 6
    store = home.open()
    try:
        with store.read() as connection:
            rows = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT id, blob FROM packets").all()}
        assert {str(answer["packet_id"]) for answer in told.values()} <= set(rows)
        for blob in set(rows.values()):
            store.blobs.check(blob)
    finally:
        store.close()


@pytest.mark.parametrize("point", AT_BACKUP)
def test_a_backup_that_is_killed_leaves_nothing_that_is_taken_for_one(tmp_path: Path, point: str) -> None:
    house = build_house(tmp_path)
    house.send(["inbox-a"])
    folder = tmp_path / "sao-luu"
    first = back_up(house, folder)
    house.send(["inbox-a"], "2")
    node = NodeProcesses(tmp_path / "data", {"node": "thu", "disk_reserve_mib": "1"})
    died = node.run("backup", str(folder), "--keys", str(keys_of(folder)), "--keep", "1", crash_at=point)
    assert died.returncode == -9, died.stderr
    whole = [path.name for path in generations(folder)]
    assert whole, "there is a backup at every moment"
    assert (first.manifest.generation in whole) == (point != "backup.outdated_unnamed")
    for name in whole:
        check_backup(folder, node="thu", tell=silent, generation=name, keys=keys_of(folder))
    again = back_up(house, folder)
    assert not [*folder.rglob("*.part"), *keys_of(folder).rglob("*.part"), *(folder / "blobs" / "spool").iterdir()]
    check_backup(folder, node="thu", tell=silent, generation=again.manifest.generation, keys=keys_of(folder))


@pytest.mark.parametrize("point", AT_RESTORE)
def test_a_restore_that_is_killed_goes_on_and_lets_nobody_work_meanwhile(tmp_path: Path, point: str) -> None:
    house = build_house(tmp_path)
    sent = house.send(["inbox-a", "check"])
    folder, data = tmp_path / "sao-luu", tmp_path / "moi"
    back_up(house, folder)
    node = NodeProcesses(data, {"node": "thu", "disk_reserve_mib": "1"})
    died = node.run("restore", str(folder), "--keys", str(keys_of(folder)), crash_at=point)
    assert died.returncode == -9, died.stderr
    if point == "restore.done":
        assert not is_unfinished(data)
        assert node.run("recover", "--done").returncode == 0
        return
    assert is_unfinished(data)
    with pytest.raises(NotFound) as refused:
        check_not_lost(read_settings({"TRUC_DATA": str(data), "TRUC_NODE": "thu"}))
    assert refused.value.reason == "restore.unfinished"
    check_empty(data)
    again, _ = put_back(house, folder, data)
    assert again.shown("inbox-a") == [again.delivery(sent, "inbox-a")]
    again.node.store.blobs.check(next(path.name for path in (data / "blobs").rglob("*") if path.is_file()))
    assert not (data / "restoring").exists()
    again.close()


def test_the_drill_sees_a_backup_that_is_wrong(tmp_path: Path) -> None:
    """Were a backup taken without reading it, the drill's own check would say so."""
    house = build_house(tmp_path)
    house.send(["inbox-a"])
    made = back_up(house, tmp_path / "sao-luu")
    (made.folder / "truc.db").write_bytes(b"")
    with pytest.raises(BackupDamaged, match=r"truc\.db"):
        check_backup(tmp_path / "sao-luu", node="thu", tell=silent, keys=keys_of(tmp_path / "sao-luu"))
