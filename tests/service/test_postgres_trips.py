"""What goes to PostgreSQL in one trip: prepared statements, what fails on the way, and what is too much for one go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Connection, LargeBinary, MetaData, Table, Text, bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError

from gateway.model.errors import StoreUndone
from gateway.store import Store
from gateway.store.dialect import among
from gateway.store.statements import Asked, execute_one, execute_rows, select_rows
from gateway.store.trips import Lost, Traveller
from tests.support.nodes import Database, build_house

_words = Table("thu_words", MetaData(), Column("id", Text, primary_key=True), Column("bytes", LargeBinary))
_ONE = select(_words.c.id).where(_words.c.id == bindparam("id"))
_SOME = select(_words.c.id).where(among(_words.c.id, "ids"))
_INSERT = insert(_words)
_DELETE = _words.delete().where(_words.c.id == bindparam("b_id"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    house = build_house(tmp_path_factory.mktemp("trips"), database=Database.POSTGRESQL)
    with house.node.store.write() as connection:
        _words.create(connection)
        execute_rows(connection, _INSERT, [{"id": word, "bytes": b""} for word in ("a", "b", "c")])
    yield house.node.store
    house.close()


def session_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _asked(word: str) -> Asked:
    return Asked("SELECT id FROM thu_words WHERE id = %(id)s::text", {"id": word}, tuple)


def _divided(by: int) -> Asked:
    return Asked("SELECT 1 / %(by)s::integer", {"by": by}, tuple)


def _kept(connection: Connection) -> set[str]:
    return set(connection.scalars(text("SELECT name FROM pg_prepared_statements WHERE name LIKE 'truc%'")))


# --- what fails --------------------------------------------------------------------------------------------------


def test_the_first_that_fails_ends_the_trip_and_those_before_it_are_told(store: Store) -> None:
    with store.write() as connection:
        traveller = session_of(connection).traveller
        told = traveller.travel([_asked("a"), _divided(0), _asked("b"), _divided(1)])
        assert told.answers == [[("a",)]]
        assert isinstance(told.why, psycopg.errors.DivisionByZero)
        connection.rollback()
    with store.write() as connection:
        traveller = session_of(connection).traveller
        assert traveller.go([_asked("b"), _divided(1), _asked("z")]) == [[("b",)], [(1,)], []]
        with pytest.raises(psycopg.errors.DivisionByZero):
            traveller.go([_divided(0)])
        connection.rollback()


def test_a_statement_that_could_not_be_prepared_is_prepared_the_next_time(store: Store) -> None:
    later = Asked("SELECT count(*) FROM thu_later", {}, tuple)
    with store.write() as connection:
        traveller = session_of(connection).traveller
        for asked in ([later], [_divided(0), later]):
            connection.exec_driver_sql("SAVEPOINT x")
            assert traveller.travel(asked).why is not None
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT x")
        connection.exec_driver_sql("CREATE TABLE thu_later (id text)")
        assert traveller.go([later, _divided(1)]) == [[(0,)], [(1,)]]
        connection.rollback()


def test_a_text_with_nul_is_refused_before_anything_is_sent(store: Store) -> None:
    with store.write() as connection:
        with pytest.raises(DBAPIError, match="NUL"):
            select_rows(connection, _ONE, {"id": "a\0b"})
        assert [row.id for row in select_rows(connection, _ONE, {"id": "a"})] == ["a"]


def test_a_lost_connection_is_told_on_the_way_and_before_it(store: Store) -> None:
    with store.engine.connect() as connection, store.engine.connect() as other:
        traveller: Traveller = session_of(connection).traveller
        pid = session_of(connection).info.backend_pid
        ends = Asked("SELECT pg_terminate_backend(%(pid)s::integer)", {"pid": pid}, tuple)
        told = traveller.travel([_asked("a"), ends, _asked("b")])
        assert told.answers[:1] == [[("a",)]]
        assert isinstance(told.why, psycopg.OperationalError)
        assert session_of(connection).broken
        with pytest.raises(Lost):
            traveller.go([_asked("a")])
        assert session_of(other).traveller.go([_asked("a")]) == [[("a",)]]
        connection.invalidate()


# --- what is prepared --------------------------------------------------------------------------------------------


def test_what_the_driver_lets_the_server_forget_is_prepared_anew(store: Store) -> None:
    often = "SELECT 1 WHERE 1 = %(one)s"
    with store.write() as connection:
        for _ in range(3):
            connection.exec_driver_sql(often, {"one": 1})  # the driver prepares it too
        assert [row.id for row in select_rows(connection, _ONE, {"id": "a"})] == ["a"]
        assert _kept(connection)
        connection.exec_driver_sql("CREATE TEMPORARY TABLE thu_gone (id text)")
        connection.exec_driver_sql("DROP TABLE thu_gone")
        assert not _kept(connection), "or this test tells nothing"
        assert [row.id for row in select_rows(connection, _ONE, {"id": "a"})] == ["a"]


def test_what_was_undone_stays_prepared(store: Store) -> None:
    with store.write() as connection:
        select_rows(connection, _ONE, {"id": "a"})
        kept, session = _kept(connection), session_of(connection)
        connection.rollback()
    with store.write() as connection:
        assert session_of(connection) is session
        assert kept
        assert kept <= _kept(connection)


def test_where_somebody_else_made_the_server_forget_the_transaction_runs_again(store: Store) -> None:
    with store.write() as connection:
        select_rows(connection, _ONE, {"id": "a"})
        session = session_of(connection)
    session.pgconn.exec_(b"DEALLOCATE ALL")
    lent = []

    def look() -> list[Any]:
        with store.write() as connection:
            lent.append(session_of(connection))
            return select_rows(connection, _ONE, {"id": "a"})

    with pytest.raises(StoreUndone):
        look()
    assert [row.id for row in look()] == ["a"]
    assert lent == [session], "the first of them did not even begin"
    with store.engine.connect() as connection:
        connection.invalidate()  # what the driver had prepared is gone as well


def test_a_hundred_are_kept_and_the_one_that_was_executed_longest_ago_goes(store: Store) -> None:
    with store.write() as connection:
        traveller = session_of(connection).traveller
        for number in range(150):
            assert traveller.go([Asked(f"SELECT {number}", {}, tuple), _asked("a")]) == [[(number,)], [("a",)]]
        statements = set(connection.scalars(text("SELECT statement FROM pg_prepared_statements")))
        assert len(_kept(connection)) == 100
        assert {"SELECT 149", "SELECT 60"} <= statements
        assert "SELECT 40" not in statements
        assert sum("thu_words" in statement for statement in statements) == 1


# --- what is large -----------------------------------------------------------------------------------------------


def test_more_than_a_connection_takes_at_once_goes_both_ways(store: Store) -> None:
    large = "đ" * 1_500_000
    echo = Asked("SELECT %(said)s::text", {"said": large}, tuple)
    with store.write() as connection:
        traveller = session_of(connection).traveller
        for _ in range(2):
            assert traveller.go([echo, echo, echo]) == [[(large,)]] * 3
        row = {"id": "large", "bytes": bytes(range(256)) * 10_000}
        assert execute_one(connection, _INSERT, row) == 1
        (found,) = select_rows(connection, select(_words.c.bytes).where(_words.c.id == "large"), {})
        assert found.bytes == row["bytes"]
        assert execute_one(connection, _DELETE, {"b_id": "large"}) == 1


def test_threads_have_connections_of_their_own(store: Store) -> None:
    wrong: list[Any] = []
    ready = threading.Barrier(4, timeout=60)

    def work(word: str) -> None:
        with store.write() as connection:
            ready.wait()
            for _ in range(20):
                found = [row.id for row in select_rows(connection, _SOME, {"ids": [word]})]
                if found != [word]:
                    wrong.append(found)

    threads = [threading.Thread(target=work, args=(word,)) for word in ("a", "b", "c", "a")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
