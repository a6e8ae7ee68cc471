"""A PostgreSQL that says nothing: its process stands still, and its system keeps the connection alive."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from sqlalchemy import Column, Connection, MetaData, Table, Text, insert, select, text

from gateway.model.errors import StoreUndone, StoreUnsure
from gateway.store import Store, trips
from gateway.store.statements import execute_one, select_rows
from tests.support.nodes import Database, build_house

_words = Table("thu_silent", MetaData(), Column("id", Text, primary_key=True))
_ALL = select(_words.c.id).order_by(_words.c.id)
_INSERT = insert(_words)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    house = build_house(tmp_path_factory.mktemp("silent"), database=Database.POSTGRESQL)
    with house.node.store.write() as connection:
        _words.create(connection)
    monkeypatch.setattr(trips, "_SILENT_SECONDS", 0.3)
    yield house.node.store
    house.close()


def _session_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _server_of(connection: Connection) -> int:
    """The number of the server's process for this connection."""
    return int(_session_of(connection).info.backend_pid)


@dataclass
class _Frozen:
    """Processes of the server that stand still until the end of the block; `last` is one of them."""

    last: int = 0
    _closing: ExitStack = field(default_factory=ExitStack)

    def freeze(self, server: int) -> None:
        self.last = server
        os.kill(self.last, signal.SIGSTOP)
        self._closing.callback(os.kill, self.last, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        self._closing.close()


def _there(store: Store, *, without: int) -> list[str]:
    """The words in the store, once that process of the server has done what it was told, and ended."""
    lives = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with store.read() as connection:
            if not connection.scalar(lives, {"pid": without}):
                break
        time.sleep(0.02)
    else:
        pytest.fail(f"the server's process {without} did not end")
    with store.read() as connection:
        return [row.id for row in select_rows(connection, _ALL, {})]


def test_it_is_given_up_within_a_transaction_and_nothing_of_that_is_kept(store: Store) -> None:
    def work() -> None:
        with store.write() as connection:
            execute_one(connection, _INSERT, {"id": "in the middle"})
            frozen.freeze(_server_of(connection))
            select_rows(connection, _ALL, {})

    with _Frozen() as frozen, pytest.raises(StoreUndone, match="said nothing"):
        work()
    assert _there(store, without=frozen.last) == []


def test_of_a_commit_that_it_does_not_answer_nobody_knows_and_others_are_served(store: Store) -> None:
    def work() -> None:
        with store.write() as connection:
            execute_one(connection, _INSERT, {"id": "at the end"})
            frozen.freeze(_server_of(connection))
            with store.write() as other:
                execute_one(other, _INSERT, {"id": "beside it"})

    with _Frozen() as frozen, pytest.raises(StoreUnsure, match="said nothing"):
        work()
    assert _there(store, without=frozen.last) == ["at the end", "beside it"], "it had been told to commit"


def test_a_connection_that_rested_is_given_up_and_whoever_wanted_it_is_served(store: Store) -> None:
    """It is asked whether it lives: the driver would wait for the answer without an end."""
    with _Frozen() as frozen:
        with store.write() as connection:
            rested, server = _session_of(connection), _server_of(connection)
        rested.used_at = float("-inf")
        frozen.freeze(server)
        with store.write() as connection:
            execute_one(connection, _INSERT, {"id": "afterwards"})
        assert rested.closed
    assert _there(store, without=server) == ["afterwards"]


def test_no_statement_that_the_server_allows_is_given_up_before_it_ends() -> None:
    assert trips._SILENT_SECONDS > trips.STATEMENT_SECONDS
