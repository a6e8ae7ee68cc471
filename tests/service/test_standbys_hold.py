"""What a standby may do to the node's database, and `truc db check` names: keep its log, keep its dead rows."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.pq import ExecStatus, PGconn

from gateway.store.upkeep import Ailment, DatabaseFinding, look_at_database
from tests.support.patience import until
from tests.support.postgres import Cluster, as_owner, start_cluster

_AGED = 2_097_152
"""Transactions, to the first of a page: the server finds no page of older ones missing."""


@pytest.fixture(scope="module")
def aged() -> Iterator[Cluster]:
    """A server that has seen millions of transactions, and gigabytes of its log."""
    server = start_cluster(more_settings=["wal_level=logical"])
    with (server.folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host replication all 127.0.0.1/32 trust\n")
    server.stop()
    reset = [str(server.programs / "pg_resetwal"), "-x", str(_AGED), "-l", "0000000100000001000000A0"]
    subprocess.run([*as_owner(), *reset, "-D", str(server.folder / "data")], check=True, cwd="/", capture_output=True)
    server.start()
    yield server
    server.stop()


@contextmanager
def standby(server: Cluster, slot: str = "") -> Iterator[PGconn]:
    """What a standby sends a server that it follows, from where that is now."""
    wire = PGconn.connect(f"{server.admin_url}?replication=true&application_name=du-phong".encode())
    try:
        (place,) = [wire.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2)]
        assert place is not None
        told = wire.exec_(f"START_REPLICATION {f'SLOT {slot} ' if slot else ''}PHYSICAL {place.decode()}".encode())
        assert told.status == ExecStatus.COPY_BOTH, wire.error_message
        yield wire
    finally:
        wire.finish()


def has(wire: PGconn, position: int) -> None:
    """It has the log up to there."""
    wire.put_copy_data(struct.pack(">cQQQQ?", b"r", position, position, position, 0, False))
    wire.flush()


def wants(wire: PGconn, transaction: int) -> None:
    """It still wants to see what lived then (`hot_standby_feedback`)."""
    wire.put_copy_data(struct.pack(">cQIIII", b"h", 0, transaction, 0, 0, 0))
    wire.flush()


def found(folder: Path, address: str, *wanted: Ailment) -> list[DatabaseFinding]:
    """What is found of these kinds, once there is something of each."""
    seen: list[DatabaseFinding] = []

    def is_there() -> bool:
        report = look_at_database(folder, database=address, ahead=3)
        seen[:] = [one for one in report.findings if one.kind in wanted]
        return {one.kind for one in seen} == set(wanted)

    until(is_there, lambda: seen)
    return seen


def test_a_standby_that_keeps_log_and_dead_rows_is_named(aged: Cluster, tmp_path: Path) -> None:
    address = aged.create()
    with psycopg.connect(aged.admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('theo')")
        with standby(aged, "theo") as wire:
            has(wire, 16 << 20)
            wants(wire, 1_000)
            behind, held = found(tmp_path, address, Ailment.SLOT_BEHIND, Ailment.VACUUM_HELD)
            assert (behind.what, held.what) == ("theo", "slot theo")
            assert 4_096 < int(behind.figure.removesuffix(" MiB")) < 1 << 14
            assert _AGED - 1_000 <= int(held.figure) < _AGED
        (idle,) = found(tmp_path, address, Ailment.SLOT_IDLE)
        assert idle.what == "theo"
        assert idle.figure.startswith("physical, ")
        assert int(idle.figure.removeprefix("physical, ").removesuffix(" MiB")) > 4_096
        admin.execute("SELECT pg_drop_replication_slot('theo')")


def test_so_is_one_without_a_slot_and_one_that_keeps_up_is_not(aged: Cluster, tmp_path: Path) -> None:
    address = aged.create()
    with psycopg.connect(aged.admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('kip', true)")
        with standby(aged, "kip"), standby(aged) as wire:
            wants(wire, 1_000)
            (held,) = found(tmp_path, address, Ailment.VACUUM_HELD)
            assert held.what.endswith(" du-phong")
            kinds = {one.kind for one in look_at_database(tmp_path, database=address, ahead=3).findings}
            assert not kinds & {Ailment.SLOT_BEHIND, Ailment.SLOT_IDLE}
        until(lambda: not admin.execute("SELECT active FROM pg_replication_slots").fetchone()[0])  # type: ignore[index]
        admin.execute("SELECT pg_drop_replication_slot('kip')")
