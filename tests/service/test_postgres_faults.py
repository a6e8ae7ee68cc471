"""A PostgreSQL server that is away, full, read-only, weak, somebody else's, or asks for a password."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError

from gateway.model.errors import StoreBusy, StoreConflict, StoreForeign, StoreOutdated, StoreUnsafe
from gateway.store import Store, has_database, open_store
from gateway.store.events import append
from gateway.store.migrate import HEAD
from tests.support.postgres import PASSWORD, Cluster, cluster, start_cluster
from tests.support.stores import kinds_of_events, tell


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of these tests' own, to be taken away."""
    made = start_cluster()
    yield made
    made.stop()


def opened(
    folder: Path, url: str, *, node: str = "thu", wait: float = 5.0, password_file: str = "", blobs: Path | None = None
) -> Store:
    return open_store(
        folder, node=node, database=url, password_file=password_file, reserve=1, wait_seconds=wait, blobs=blobs
    )


def count_nodes(store: Store) -> int:
    with store.read() as connection:
        return int(tell(connection, "SELECT count(*) FROM node").scalar_one())


# --- whose it is -------------------------------------------------------------------------------------------------


def test_a_database_belongs_to_one_node(tmp_path: Path) -> None:
    url = cluster().create()
    opened(tmp_path, url).close()
    opened(tmp_path / "again", url, blobs=tmp_path / "blobs").close()  # from another machine: the node is the same
    with pytest.raises(StoreForeign) as told:
        opened(tmp_path / "other", url, node="khac")
    assert told.value.params["owner"] == "thu"
    assert told.value.params["folder"] == url


def test_of_nodes_that_open_an_empty_database_at_once_one_has_it(tmp_path: Path) -> None:
    url = cluster().create()
    gate, outcomes = threading.Barrier(4), []

    def begin(number: int) -> None:
        gate.wait()
        try:
            opened(tmp_path / str(number), url, node=f"nut-{number % 2}", wait=20, blobs=tmp_path / "goi").close()
            outcomes.append(f"nut-{number % 2}")
        except StoreForeign as why:
            outcomes.append(str(why.params["owner"]))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert len(set(outcomes)) == 1


def test_whether_a_node_was_ever_opened_with_a_database(tmp_path: Path) -> None:
    url = cluster().create()
    assert not has_database(tmp_path, database=url)
    opened(tmp_path, url).close()
    assert has_database(tmp_path, database=url)
    with pytest.raises(StoreBusy):
        has_database(tmp_path, database=cluster().url("không-có"))


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    url = cluster().create()
    store = opened(tmp_path, url)
    with store.write() as connection:
        tell(connection, "UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(StoreOutdated) as told:
        opened(tmp_path, url)
    assert told.value.params == {"found": "9999", "wanted": HEAD}


def test_events_refuse_to_be_changed(tmp_path: Path) -> None:
    store = opened(tmp_path, cluster().create())
    for statement in ("UPDATE events SET reason = ''", "DELETE FROM events"):
        with pytest.raises(DatabaseError, match="append-only"), store.write() as connection:
            tell(connection, statement)
    with store.write() as connection:
        append(connection, [], 0)
    assert kinds_of_events(store) == []
    store.close()


def test_the_database_tells_the_time(tmp_path: Path) -> None:
    """Two machines whose clocks differ agree on what is due (protocol §13)."""
    store = opened(tmp_path, cluster().create())
    with store.read() as connection:
        told = int(tell(connection, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").scalar_one())
        assert 0 <= store.now(connection) - told < 5_000_000
        assert store.now(connection) > told
    store.close()


# --- password ----------------------------------------------------------------------------------------------------


def test_the_password_is_read_from_its_file_whenever_a_connection_is_made(tmp_path: Path) -> None:
    secret = tmp_path / "mat-khau"
    url = cluster().url(cluster().create().rpartition("/")[2], user="khoa")
    secret.write_text("sai\n", "utf-8")
    with pytest.raises(StoreBusy, match="password"):
        opened(tmp_path / "data", url, password_file=str(secret))
    secret.write_text(PASSWORD + "\n", "utf-8")
    store = opened(tmp_path / "data", url, password_file=str(secret))
    assert count_nodes(store) == 1
    store.close()
    secret.unlink()
    with pytest.raises(StoreBusy, match="mat-khau"):
        opened(tmp_path / "data", url, password_file=str(secret))


# --- away ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_server_that_went_away_is_said_and_found_again(tmp_path: Path, server: Cluster, how: signal.Signals) -> None:
    store = opened(tmp_path, server.create())
    assert count_nodes(store) == 1
    server.stop(how)
    with pytest.raises(StoreBusy), store.read():
        pass
    with pytest.raises(StoreBusy), store.write():
        pass
    server.start()
    assert count_nodes(store) == 1
    with store.write() as connection:
        tell(connection, "UPDATE node SET created_at = 1")
    store.close()


def test_a_server_that_ends_during_a_transaction_undoes_it(tmp_path: Path, server: Cluster) -> None:
    store = opened(tmp_path, server.create())

    def lose_the_server() -> None:
        with store.write() as connection:
            tell(connection, "UPDATE node SET created_at = 7")
            server.stop(signal.SIGKILL)

    with pytest.raises(StoreBusy):
        lose_the_server()
    server.start()
    with store.read() as connection:
        assert tell(connection, "SELECT created_at FROM node").scalar_one() != 7
    store.close()


def test_a_standby_is_busy_until_it_is_promoted(tmp_path: Path, server: Cluster) -> None:
    """After a failover the old name may lead to a server that only reads."""
    store = opened(tmp_path, server.create())
    server.stop()
    standby = server.folder / "data" / "standby.signal"
    standby.touch()
    server.start()
    try:
        assert count_nodes(store) == 1
        with pytest.raises(StoreBusy, match="read-only"), store.write() as connection:
            tell(connection, "UPDATE node SET created_at = 1")
    finally:
        server.stop()
        standby.unlink()
        server.start()
    with store.write() as connection:
        tell(connection, "UPDATE node SET created_at = 1")
    store.close()


def test_no_free_connection_is_busy(tmp_path: Path, server: Cluster) -> None:
    url = server.create()
    store = opened(tmp_path, url)
    store.close()
    server.stop()
    server.start("max_connections=4", "superuser_reserved_connections=0")
    try:
        holders = [psycopg.connect(url) for _ in range(4)]
        with pytest.raises(StoreBusy), store.read():
            pass
        for holder in holders:
            holder.close()
    finally:
        server.stop()
        server.start()


def test_a_weak_server_is_refused(tmp_path: Path, server: Cluster) -> None:
    """At the start, and by a process that runs: another server, or another setting, may have taken its place."""
    url = server.create()
    store = opened(tmp_path, url)
    server.stop()
    server.start("fsync=off")
    try:
        for open_or_use in (lambda: opened(tmp_path, url), lambda: count_nodes(store)):
            with pytest.raises(StoreUnsafe) as told:
                open_or_use()
            assert told.value.params["setting"] == "fsync"
    finally:
        server.stop()
        server.start()
    assert count_nodes(store) == 1
    store.close()


def test_a_table_that_a_crash_would_empty_is_refused(tmp_path: Path) -> None:
    """Somebody filled it quickly and forgot it."""
    url = cluster().create()
    store = opened(tmp_path, url)
    with store.write() as connection:
        tell(connection, "ALTER TABLE jobs SET UNLOGGED")
    store.close()
    with pytest.raises(StoreUnsafe) as told:
        opened(tmp_path, url)
    assert told.value.params["setting"] == "jobs"


# --- others in the way ---------------------------------------------------------------------------------------------


def test_a_lock_that_somebody_keeps_is_waited_for_so_long(tmp_path: Path) -> None:
    url = cluster().create()
    store, other = opened(tmp_path, url, wait=0.3), opened(tmp_path, url)
    with other.write() as connection:
        tell(connection, "UPDATE node SET created_at = 1")
        with pytest.raises(StoreBusy, match="lock"), store.write() as mine:
            tell(mine, "UPDATE node SET created_at = 2")
    store.close()
    other.close()


def test_who_waits_for_each_other_is_told_to_come_again(tmp_path: Path) -> None:
    """Locks are taken in one order; should two ever not, one of them is undone and may run again."""
    store = opened(tmp_path, cluster().create())
    with store.write() as connection:
        tell(connection, "INSERT INTO intake_faults VALUES ('a', 0), ('b', 0)")
    gate, told = threading.Barrier(2), []

    def cross(first: str, then: str) -> None:
        try:
            with store.write() as connection:
                tell(connection, "UPDATE intake_faults SET count = count + 1 WHERE key = ?", first)
                gate.wait()
                tell(connection, "UPDATE intake_faults SET count = count + 1 WHERE key = ?", then)
        except StoreBusy as why:
            told.append(why)

    threads = [threading.Thread(target=cross, args=order) for order in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    with store.read() as connection:
        assert tell(connection, "SELECT sum(count) AS n FROM intake_faults").scalar_one() == 2
    store.close()


def test_who_is_second_with_a_key_is_told_of_a_conflict(tmp_path: Path) -> None:
    store = opened(tmp_path, cluster().create())
    for is_first in (True, False):
        try:
            with store.write() as connection:
                tell(connection, "INSERT INTO intake_faults VALUES ('a', 0)")
        except StoreConflict:
            assert not is_first
        else:
            assert is_first
    store.close()
