"""The drill on PostgreSQL: a base backup, an archive of its log, a server lost, and the node put back to a moment
between two backups of ours.

The server's own tools put the rows back (`recovery_target_time`); `truc restore --beside` puts the packets and keys
beside them, and the node asks what arrived since before it pushes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from gateway.account import close_books
from gateway.exchange.recover import recover_once
from gateway.model.instants import HOUR, wall_now
from tests.support.late import let_all_be_over
from tests.support.nodes import build_house
from tests.support.postgres import Cluster, start_cluster
from tests.support.restores import reopen
from tests.support.stores import HandClock
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]

pytestmark = [pytest.mark.fault, pytest.mark.long]

_PATIENCE = 120.0


def as_server(*command: str) -> None:
    """A command as the user whom the server's files belong to."""
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*drop, *command], capture_output=True, text=True, cwd="/", timeout=_PATIENCE, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def archived(server: Cluster, archive: Path) -> None:
    """Until everything that was committed so far lies in the archive."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone() or ("",)
    deadline = time.monotonic() + _PATIENCE
    while not (archive / name).exists():
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.1)


def put_back(server: Cluster, base: Path, archive: Path, moment: str) -> None:
    """The base backup in the place of the lost data, and the log of the archive up to the moment."""
    data = server.folder / "data"
    shutil.rmtree(data)
    as_server("cp", "-a", str(base), str(data))
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f'restore_command = \'cp "{archive}/%f" "%p"\'\n')
        settings.write(f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n")
    as_server("touch", str(data / "recovery.signal"))
    server.start(*_archiving(archive))
    deadline = time.monotonic() + _PATIENCE
    while True:
        with psycopg.connect(server.admin_url) as connection:
            if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                return
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.1)


def _archiving(archive: Path) -> tuple[str, ...]:
    return ("archive_mode=on", f'archive_command=cp "%p" "{archive}/%f"')


def test_a_node_goes_on_from_a_moment_between_two_backups(
    truc: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_cluster()
    archive, base = server.folder / "archive", server.folder / "base"
    archive.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(archive, user.pw_uid, user.pw_gid)
        os.chown(server.folder, user.pw_uid, user.pw_gid)
    with (server.folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host replication all 127.0.0.1/32 trust\n")
    server.stop()
    server.start(*_archiving(archive))
    try:
        _drill(server, base, archive, truc, tmp_path, monkeypatch)
    finally:
        server.stop()


def _drill(
    server: Cluster, base: Path, archive: Path, truc: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build_house(tmp_path, clock=HandClock(wall_now()))  # the restore goes by the server's clock
    house.send(["check"], "1")
    house.close()
    address = server.create()
    monkeypatch.setenv("TRUC_DATABASE", address)
    truc("store", "move")
    reach = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "truc", "-X", "none", "-c", "fast"]
    as_server(str(server.programs / "pg_basebackup"), "-D", str(base), *reach)

    house = reopen(house, tmp_path / "data", address)
    open_then = house.send(["check", "blind"], "2")
    places = (str(tmp_path / "sao-luu"), "--keys", str(tmp_path / "khoa"))
    truc("backup", *places)
    kept = close_books(house.node.store, 0, wall_now() + HOUR)
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        (moment,) = connection.execute("SELECT clock_timestamp()::text").fetchone() or ("",)
    house.work()  # of the lost time: handed over, and accepted
    lost = house.send(["check"], "3")
    assert house.recipient("check").seen(open_then.packet_id) == 1
    archived(server, archive)
    house.close()
    server.stop(signal.SIGKILL)
    shutil.rmtree(tmp_path / "data")

    put_back(server, base, archive, moment)
    monkeypatch.setenv("TRUC_DATA", str(tmp_path / "moi"))
    done = truc.json("restore", *places, "--beside")
    assert (done["lacking"], done["in_doubt"]) == ([], 3)
    again = reopen(house, tmp_path / "moi", address)
    found = close_books(again.node.store, 0, wall_now() + HOUR)
    assert (found.books, found.packets) == (kept.books, kept.packets), "the account of that moment, to the figure"
    assert found.closes
    assert again.rows("SELECT id FROM packets WHERE id = ?", lost.packet_id) == []
    again.pass_time(HOUR)
    again.sweep()
    assert again.work() == 0, "nothing is pushed while the node recovers"
    let_all_be_over(again)  # the restore was a command of this machine's, whose clock no hand sets
    asked = recover_once(again.node)
    assert asked is not None
    assert (asked.arrived, asked.parked, asked.has_ended) == (2, 1, True)
    again.run()
    assert again.recipient("check").seen(open_then.packet_id) == 1
    assert again.recipient("blind").seen(open_then.packet_id) == 1, "whether it came is a person's to say"
    again.assert_books_close()
    again.close()
