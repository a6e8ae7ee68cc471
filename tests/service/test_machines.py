"""Several machines of one node: a data folder each, one folder of packets, one PostgreSQL."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from gateway.cli.lock import take_lock
from gateway.compose import build_node
from gateway.exchange.resting import Drains, begin_drain, finish_drains
from gateway.keys import KeysElsewhere, make_keys
from gateway.model.errors import BlobsElsewhere, DataShared, DiskReserve, StoreForeign, StoreUnsafe
from gateway.node import Node
from gateway.settings import read_settings
from gateway.store import Store, open_store
from gateway.store.blob_probe import check_semantics
from gateway.store.blobs import BlobFolder
from gateway.store.homes import MARK
from gateway.workers.leases import give_back_jobs, may_do
from tests.support.nodes import Database, build_house
from tests.support.postgres import cluster
from tests.support.processes import SmallDisk


class Machines:
    """Machines of one node: a data folder each, a database and a folder of packets for all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "goi-tin"
        self.blobs.mkdir()
        self.database = cluster().create()

    def data(self, name: str) -> Path:
        return self.folder / name

    def store(self, name: str, *, node: str = "thu", blobs: Path | None = None) -> Store:
        where = blobs or self.blobs
        return open_store(self.data(name), node=node, database=self.database, reserve=1, blobs=where)

    @contextmanager
    def node(self, name: str, **more: str) -> Iterator[Node]:
        values = {"data": str(self.data(name)), "node": "thu", "database": self.database, "blobs": str(self.blobs)}
        values |= {"disk_reserve_mib": "1", **more}
        built = build_node(read_settings({f"TRUC_{key.upper()}": value for key, value in values.items()}))
        try:
            yield built
        finally:
            built.transport.close()
            built.store.close()


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


# --- what is shared, and what is not ---------------------------------------------------------------------------------


def test_what_one_machine_puts_the_other_opens(machines: Machines) -> None:
    with closing(machines.store("a")) as one, closing(machines.store("b")) as two:
        spooled = one.blobs.spool()
        spooled.write_bytes(b"goi")
        one.blobs.put(spooled, "ab" * 32)
        with two.blobs.open("ab" * 32) as found:
            assert found.read() == b"goi"
        assert one.blobs.spool_folder != two.blobs.spool_folder
        with closing(machines.store("a")) as again:
            assert one.blobs.spool_folder == again.blobs.spool_folder, "a machine keeps its place"


def test_a_machine_clears_its_own_spool_and_what_is_nobodys_any_more(machines: Machines) -> None:
    with closing(machines.store("a")) as one, closing(machines.store("b")) as two:
        own, other, stray = one.blobs.spool(), two.blobs.spool(), two.blobs.spool()
        for path in (own, other, stray):
            path.write_bytes(b"do dang")
        os.utime(stray, (0, 0))
        assert one.blobs.clear_spool() == 2
        assert [path.exists() for path in (own, other, stray)] == [False, True, False]


@pytest.mark.parametrize("what", ["empty", "another node's", "of another time"])
def test_a_machine_that_sees_another_folder_is_refused_and_writes_nothing(machines: Machines, what: str) -> None:
    """As where the network file system is not mounted: the folder is there, and empty."""
    machines.store("a").close()
    elsewhere = machines.folder / "chua-gan"
    elsewhere.mkdir()
    if what != "empty":
        (elsewhere / MARK).write_text("khac 00\n" if "node" in what else "thu 00\n")
    before = sorted(path.name for path in elsewhere.iterdir())
    with pytest.raises(BlobsElsewhere) as told:
        machines.store("b", blobs=elsewhere)
    assert sorted(path.name for path in elsewhere.iterdir()) == before
    wanted = str(told.value.params["wanted"])
    assert wanted == (machines.blobs / MARK).read_text().strip()
    (elsewhere / MARK).write_text(wanted + "\n")  # as the sentence says to somebody who moved the packets
    machines.store("b", blobs=elsewhere).close()


def test_another_node_gets_neither_the_database_nor_the_folder(machines: Machines) -> None:
    machines.store("a").close()
    with pytest.raises(StoreForeign):
        machines.store("b", node="khac")
    with pytest.raises(BlobsElsewhere):
        open_store(machines.data("c"), node="khac", database=cluster().create(), reserve=1, blobs=machines.blobs)


def test_machines_that_begin_at_once_agree(machines: Machines) -> None:
    gate, faults = threading.Barrier(4), []

    def begin(number: int) -> None:
        gate.wait()
        try:
            machines.store(str(number % 2)).close()
        except Exception as why:  # noqa: BLE001 - the thread's outcome
            faults.append(why)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(list((machines.blobs / "spool").iterdir())) == 2


def test_a_data_folder_is_one_machines(machines: Machines) -> None:
    with closing(take_lock(machines.data("a"), "thu", machine="may-1")) as held:
        held.share()
        with pytest.raises(DataShared):
            take_lock(machines.data("a"), "thu", machine="may-2")
        with pytest.raises(StoreForeign):
            take_lock(machines.data("a"), "khac", machine="may-1")
        take_lock(machines.data("a"), "thu", machine="may-1").close()


def test_every_machine_seals_with_the_nodes_keys(machines: Machines) -> None:
    with machines.node("a"):
        pass
    with pytest.raises(KeysElsewhere), machines.node("b"):
        pass
    assert not (machines.data("b") / "keys").exists(), "none are made beside those that seal"
    shutil.copytree(machines.data("a") / "keys", machines.data("b") / "keys", dirs_exist_ok=True)
    with machines.node("b"):
        pass
    make_keys(machines.data("c") / "keys", "thu")  # of its own: made before the database was named to it, say
    with pytest.raises(KeysElsewhere), machines.node("c"):
        pass


# --- what the file system must do ------------------------------------------------------------------------------------


def test_a_folder_on_this_file_system_is_fit_and_is_left_as_it_was(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path / "blobs", reserve=1)
    blobs.prepare()
    check_semantics(blobs)
    assert list(blobs.spool_folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path / "blobs", reserve=1)
    with pytest.raises(StoreUnsafe) as told:
        check_semantics(blobs)
    assert str(told.value.params["setting"]).endswith(": write")


def test_a_full_disk_says_nothing_of_what_the_file_system_does(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "blobs", mib=1) as disk:
        blobs = BlobFolder(disk.path, reserve=1)
        blobs.prepare()
        with suppress(OSError), (disk.path / "others").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65_536))
        check_semantics(blobs)
        assert list(blobs.spool_folder.iterdir()) == []
        with pytest.raises(DiskReserve):
            blobs.check_reserve()


# --- what must run once, and what may run twice ----------------------------------------------------------------------


def test_of_two_machines_one_does_a_job_and_hands_it_on_when_it_ends(machines: Machines) -> None:
    with machines.node("a") as one:
        shutil.copytree(machines.data("a") / "keys", machines.data("b") / "keys")
        with machines.node("b") as two:
            assert may_do(one, "sweep", 600)
            assert not may_do(two, "sweep", 600)
            give_back_jobs(two)
            assert not may_do(two, "sweep", 600), "nobody gives back what another one holds"
            give_back_jobs(one)
            assert may_do(two, "sweep", 600), "at once, not when the lease ends"


def test_empty_is_not_said_while_somebody_who_found_the_channel_open_has_not_committed(tmp_path: Path) -> None:
    """The claim began before the pause and commits after it: no look in between may count."""
    with closing(build_house(tmp_path, database=Database.POSTGRESQL)) as house:
        sent = house.send(to=["check"])
        known: Drains = {}
        with closing(house.another_store()) as other, other.engine.connect() as claiming:
            claiming.exec_driver_sql("UPDATE transfers SET state = 'claimed' WHERE turn = 0 AND state = 'ready'")
            assert begin_drain(house.node, "check", actor="operator")
            assert finish_drains(house.node, known) == []
            assert finish_drains(house.node, known) == []
            claiming.commit()
        assert finish_drains(house.node, known) == [], "it is seen now: one is held"
        assert house.state(sent, "check") == "ready"
