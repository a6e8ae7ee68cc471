"""How transactions begin on PostgreSQL: the clock comes along, and whether a connection lives is seldom asked."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from gateway.model.errors import StoreBusy
from gateway.store import Connection, Store, schema
from gateway.store.statements import select_rows
from tests.support.nodes import Database, House
from tests.support.patience import until
from tests.support.stores import tell


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.fixture
def store(far_store: Store) -> Store:
    """Another process's."""
    return far_store


_NODE = select(schema.node.c.name)


def session_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def server_says(connection: Connection, setting: str) -> str:
    return str(tell(connection, f"SHOW {setting}").scalar_one())


def test_who_reads_has_one_view_and_may_not_write_and_who_writes_sees_what_was_committed(store: Store) -> None:
    for _ in range(10):  # often enough for the driver to prepare what comes again
        with store.read() as connection:
            assert server_says(connection, "transaction_isolation") == "repeatable read"
            with pytest.raises(DBAPIError, match="read-only"):
                tell(connection, "DELETE FROM jobs")
            connection.rollback()
        with store.write() as connection:
            assert server_says(connection, "transaction_isolation") == "read committed"
            tell(connection, "INSERT INTO jobs (name, holder, lease_until, done_at) VALUES ('x', '', 0, 0)")
            connection.rollback()
        with store.read() as connection:
            assert tell(connection, "SELECT count(*) FROM jobs WHERE name = 'x'").scalar_one() == 0


@pytest.mark.parametrize("is_hop", [False, True])
def test_a_connection_that_was_read_from_writes_when_it_is_lent_again(store: Store, is_hop: bool) -> None:
    with store.read(is_hop=is_hop) as connection:
        session = session_of(connection)
        assert server_says(connection, "transaction_read_only") == "on"
    with ExitStack() as held:
        lent = held.enter_context(store.engine.connect())
        while session_of(lent) is not session:
            lent = held.enter_context(store.engine.connect())
        assert server_says(lent, "transaction_read_only") == "off"


def test_the_clock_is_that_of_the_beginning_until_a_statement_is_executed(store: Store) -> None:
    for taking in (store.write, store.read):
        with taking() as connection:
            began = int(tell(connection, "SELECT extract(epoch FROM transaction_timestamp()) * 1000000").scalar_one())
        with taking() as connection:
            first = store.now(connection)
            looked = session_of(connection).clock
            assert looked is not None
            assert first == looked.told == store.now(connection)
            assert looked.before <= looked.after
            assert first > began
            tell(connection, "SELECT pg_sleep(0.01)")
            assert session_of(connection).clock is None
            assert store.now(connection) >= first + 10_000
            assert store.now(connection) > first
        with taking() as connection:
            assert session_of(connection).clock is not None
            select_rows(connection, _NODE, {})
            assert session_of(connection).clock is None


def test_a_connection_that_the_server_closed_is_seen_without_asking(house: House, store: Store) -> None:
    with store.read() as connection:
        session, pid = session_of(connection), int(tell(connection, "SELECT pg_backend_pid()").scalar_one())
    with house.node.store.write() as other:
        tell(other, "SELECT pg_terminate_backend(?)", pid)
    until(lambda: not house.rows(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"))
    assert time.monotonic() - session.used_at < 300
    with store.read() as connection:
        assert session_of(connection) is not session


def test_one_that_was_used_a_moment_ago_is_not_asked_and_one_that_was_not_is(house: House, store: Store) -> None:
    asked = "SELECT query FROM pg_stat_activity WHERE pid = {}"

    def last_of(pid: int) -> str:
        """What the connection did last, taken from the pool and given back."""
        with store.engine.connect() as connection:
            session = session_of(connection)
            assert session.info.backend_pid == pid
            (row,) = house.rows(asked.format(pid))
            return str(row["query"])

    with store.read() as connection:
        session, pid = session_of(connection), session_of(connection).info.backend_pid
    session.used_at = time.monotonic() + 3_600
    assert last_of(pid) == "COMMIT"
    session.used_at = time.monotonic() - 31
    assert last_of(pid) != "COMMIT"


_KEPT = "SELECT count(*) FROM pg_prepared_statements WHERE left(statement, 12) = 'SELECT node.'"
_VERSION = select(schema.node.c.directory_version)


def test_few_connections_do_the_work_and_each_soon_has_its_plans(store: Store) -> None:
    """Each has plans of its own: who is lent the one that was used last finds them there."""
    with ExitStack() as held:
        first, last = (session_of(held.enter_context(store.engine.connect())) for _ in range(2))
        assert first is not last
    found = []
    for _ in range(3):
        with store.write() as connection:
            found.append(session_of(connection))
            select_rows(connection, _VERSION, {})
            kept = int(connection.exec_driver_sql(_KEPT).scalar_one())
            assert kept == 1, "it is prepared once, and stays so"
    assert len(set(map(id, found))) == 1


def test_long_values_are_packed_with_lz4_where_the_server_can(store: Store) -> None:
    with store.read() as connection:
        ways = tell(
            connection, "SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'"
        ).scalar_one()
        assert server_says(connection, "default_toast_compression") == ("lz4" if "lz4" in ways else "pglz")
    with store.write() as connection:
        tell(connection, "INSERT INTO jobs (name, holder, lease_until, done_at) VALUES ('y', repeat('x', 9000), 0, 0)")
        packed = tell(connection, "SELECT pg_column_compression(holder) FROM jobs WHERE name = 'y'").scalar_one()
        assert packed == ("lz4" if "lz4" in ways else "pglz")
        connection.rollback()


_ASKING = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
)
"""In seconds, but for the last, which is in milliseconds and ends the asking."""


def test_a_server_that_vanished_while_it_had_to_answer_is_given_up(store: Store) -> None:
    """The system asks after a minute of silence, and once more: with its usual pauses it took two and a half."""
    with store.read() as connection, socket.socket(fileno=os.dup(session_of(connection).fileno())) as line:
        told = [line.getsockopt(*which) for which in _ASKING]
    assert told == [1, 60, 10, 20_000]


def test_what_a_failed_statement_spoilt_is_not_called_committed(store: Store) -> None:
    """The server undoes it at the COMMIT and says nothing."""

    def go_on() -> None:
        with store.write() as connection:
            tell(connection, "UPDATE node SET created_at = 7")
            with suppress(DBAPIError):
                tell(connection, "SELECT 1 / 0")

    with pytest.raises(StoreBusy, match="nothing of this transaction is kept"):
        go_on()
    with store.write() as connection:
        assert tell(connection, "SELECT created_at FROM node").scalar_one() != 7
