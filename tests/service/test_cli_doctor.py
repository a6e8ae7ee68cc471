"""`truc doctor`: what it says, what it leaves alone, and what is to be restored rather than made anew."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.presence import show_presence
from gateway.model.instants import wall_now
from gateway.workers.leases import give_back_jobs
from gateway.workers.periodic import ClockWatch, periodic_once
from tests.support.clients import FAST, make_home
from tests.support.nodes import House, build_house
from tests.support.postgres import cluster
from tests.support.processes import NodeProcesses
from tests.support.stores import HandClock
from tests.support.terminal import Terminal


def _park(house: House, number: str) -> str:
    delivery = str(house.send(["inbox-a"], number).recipients[0]["delivery_id"])
    house.fetch("inbox-a", delivery)
    house.end_response(delivery)
    house.confirm("inbox-a", delivery, arrived=False)
    return delivery


def _levels(checks: list[dict[str, Any]]) -> dict[str, str]:
    return {check["code"]: check["level"] for check in checks}


def test_the_doctor_says_what_to_do(truc: Terminal, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _park(house, "1")
    with house.node.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM channels WHERE kind = 'memory'")
    found = _levels(truc.json("doctor"))
    assert found["doctor.store"] == "ok"
    assert found["doctor.keys"] == "ok"
    assert found["alert.parked"] == "warn"
    assert found["doctor.not_running"] == "warn"
    monkeypatch.setenv("TRUC_DISK_RESERVE_MIB", str(1 << 40))
    assert _levels(truc.json("doctor", code=1))["alert.disk_reserve"] == "fail"
    monkeypatch.setenv("TRUC_DISK_RESERVE_MIB", "1")
    (house.node.store.blobs.root.parent / "keys" / "seal.key").chmod(0o644)
    assert _levels(truc.json("doctor", code=1))["keys.exposed"] == "fail"


@pytest.mark.parametrize(
    ("folders", "others", "told"),
    [
        (False, ("inspect",), "doctor.running"),
        (True, ("inspect",), "doctor.parts_missing"),
        (False, (), "doctor.parts_missing"),
    ],
)
def test_intake_is_missed_where_packets_come_by_a_channel_and_who_inspects_always(
    truc: Terminal, tmp_path: Path, folders: bool, others: tuple[str, ...], told: str
) -> None:
    with ExitStack() as stack:
        stack.enter_context(closing(build_house(tmp_path, folders=folders)))
        for part in ("relay", "deliver", "periodic", "api", *others):
            stack.callback(show_presence(tmp_path / "data", part))
        checks = truc.json("doctor", code=1)  # the terminal knows no kind of its other channels
    [found] = [check for check in checks if check["name"] == "processes"]
    assert found["code"] == told
    assert ("intake" in found["vi"]) is folders
    assert ("inspect" in found["vi"]) is (told == "doctor.running" or not others)


def test_each_part_that_runs_apart_is_seen(tmp_path: Path) -> None:
    parts = ("api", "relay", "deliver", "periodic", "intake", "inspect")
    with NodeProcesses(make_home(tmp_path).data, FAST) as node:
        for part in parts:
            node.start(part)
        [found] = [one for one in json.loads(node.run("doctor", "--json").stdout) if one["name"] == "processes"]
        assert (found["code"], found["en"].count(", ")) == ("doctor.running", len(parts) - 1), found["en"]


def test_processes_of_other_containers_are_seen(truc: Terminal, tmp_path: Path) -> None:
    """They share the data folder, and each is process 1 of its own: its pid means nothing to the doctor."""
    with ExitStack() as stack:
        stack.enter_context(closing(build_house(tmp_path)))
        for part in ("relay", "deliver", "periodic", "inspect", "api"):
            stack.callback(show_presence(tmp_path / "data", part))
            (shown,) = (tmp_path / "data" / "run").glob(f"{part}~*")
            stack.callback(shown.rename(shown.with_name(f"{part}~1~1")).unlink)
        (tmp_path / "data" / "run" / "intake~1~1").touch()
        told = _levels(truc.json("doctor", code=1))
    assert told["doctor.running"] == "ok"
    assert "doctor.process_stopped" not in told


def test_a_sweep_that_nobody_does_is_named(truc: Terminal, tmp_path: Path) -> None:
    """Whoever held it last hangs: his socket is there, and nothing moves that time moves."""
    with closing(build_house(tmp_path, clock=HandClock(wall_now()))) as house:
        periodic_once(house.node, ClockWatch(house.node.now), 5.0)
        assert "doctor.job_lapsed" not in _levels(truc.json("doctor", code=1))
        with house.node.store.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET lease_until = lease_until - 120000000 WHERE name = 'sweep'")
        [found] = [check for check in truc.json("doctor", code=1) if check["code"] == "doctor.job_lapsed"]
        assert house.node.worker in found["en"]
        assert found["level"] == "warn"
        give_back_jobs(house.node)
        assert "doctor.job_lapsed" not in _levels(truc.json("doctor", code=1)), "who ended in order gave it back"


def test_the_doctor_of_nothing(truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _levels(truc.json("doctor", code=1))["doctor.folder_missing"] == "fail"
    monkeypatch.setenv("TRUC_LEASE", "-1")
    assert _levels(truc.json("doctor", code=1)) == {"settings.wrong": "fail"}


def _files(folder: Path) -> dict[str, bytes]:
    """What lies in a data folder, without what the database keeps beside itself while it is open."""
    passing = ("truc.db-wal", "truc.db-shm")
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in passing)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_doctor_changes_nothing_and_makes_no_keys(truc: Terminal, tmp_path: Path) -> None:
    truc("init")
    truc.json("doctor")
    before = _files(tmp_path / "data")
    truc.json("doctor")
    assert _files(tmp_path / "data") == before
    for path in (tmp_path / "data" / "keys").iterdir():
        path.unlink()
    assert _levels(truc.json("doctor", code=1))["keys.missing"] == "fail"
    assert list((tmp_path / "data" / "keys").iterdir()) == []


def test_a_node_without_a_directory_is_told_to_fill_it(truc: Terminal, house: House) -> None:
    """As parts make it that are started before `truc init`; every packet is refused by it."""
    with house.node.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM channels WHERE kind = 'memory'")
    assert "doctor.no_agencies" not in _levels(truc.json("doctor"))
    with house.node.store.write() as connection:
        for table in ("channel_agencies", "system_agencies", "agencies"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    assert _levels(truc.json("doctor"))["doctor.no_agencies"] == "warn"


def test_a_lost_database_is_to_be_restored_never_made_anew(truc: Terminal, tmp_path: Path) -> None:
    truc("init")
    for path in (tmp_path / "data").glob("truc.db*"):
        path.unlink()
    assert _levels(truc.json("doctor", code=1))["doctor.database_gone"] == "fail"
    truc("account", code=6)
    assert "khôi phục truc.db" in truc.err
    for refused in (("init",), ("serve", "--port", "0")):
        truc(*refused, code=6)
        assert "keys/ (2)" in truc.err, "it names what lies there"
    assert not (tmp_path / "data" / "truc.db").exists()
    truc.set(database=cluster().create())
    assert _levels(truc.json("doctor", code=1))["doctor.database_empty"] == "fail"
    for refused in (("init",), ("account",), ("db", "check")):
        truc(*refused, code=6)
        assert "truc.db" not in truc.err, "nothing says that the file was ever the node's"
        assert "TRUC_DATABASE" in truc.err


def test_blobs_without_a_database_are_a_lost_node_too(truc: Terminal, tmp_path: Path) -> None:
    blob = tmp_path / "data" / "blobs" / "ab" / "ab12"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"somebody's document")
    truc("init", code=6)
    assert "blobs/ (1)" in truc.err
    blob.unlink()
    truc("init")
