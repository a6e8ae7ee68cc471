"""What goes to PostgreSQL in one trip: prepared statements, what fails on the way, and what is too much for one go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from gateway.model.errors import StoreBusy, StoreConflict, StoreUndone, StoreUnsure
from gateway.model.instants import boot_now
from gateway.store import Store, open_store
from gateway.store.dialect import among
from gateway.store.statements import Asked, execute_one, execute_rows, select_rows
from gateway.store.together import Together, TooFew
from gateway.store.trips import Lost, Traveller
from tests.support.nodes import Database, build_house

_words = Table("thu_words", MetaData(), Column("id", Text, primary_key=True), Column("bytes", LargeBinary))
_ONE = select(_words.c.id).where(_words.c.id == bindparam("id"))
_SOME = select(_words.c.id).where(among(_words.c.id, "ids"))
_INSERT = insert(_words)
_CHANGE = update(_words).where(_words.c.id == bindparam("b_id")).values(bytes=bindparam("bytes"))
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


def test_nothing_is_forgotten_that_the_server_keeps(store: Store) -> None:
    """It would lie there for ever: the driver lets the server forget only where it has prepared something itself."""
    with store.write() as connection:
        before = _kept(connection)
        for number in range(4):
            assert session_of(connection).traveller.go([_asked("a")]) == [[("a",)]]
            connection.exec_driver_sql(f"SAVEPOINT x{number}")
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT x{number}")
            assert len(_kept(connection) - before) <= 1


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
        assert traveller.travel([_divided(0)]).why is not None
        connection.rollback()  # what is undone is undone, though much is to be let go
        assert _status(connection) is TransactionStatus.IDLE
    with store.read() as connection:  # BEGIN is prepared anew, and is the first of its transaction
        assert session_of(connection).traveller is traveller
        statements = set(connection.scalars(text("SELECT statement FROM pg_prepared_statements WHERE not from_sql")))
        assert len(statements) in range(95, 106)
        assert {"SELECT 149", "SELECT 70"} <= statements
        assert "SELECT 40" not in statements
        assert sum("thu_words" in statement for statement in statements) == 1


def test_one_that_the_server_does_not_know_any_more_keeps_no_other_there(store: Store) -> None:
    with store.write() as connection:
        traveller = session_of(connection).traveller
        traveller.go([Asked("SELECT -1", {}, tuple)])
        name = connection.scalar(text("SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT -1'"))
        connection.exec_driver_sql(f'DEALLOCATE "{name}"')
        traveller.go([Asked(f"SELECT {-number}", {}, tuple) for number in range(2, 150)])
    with store.read() as connection:
        assert session_of(connection).traveller is traveller
        statements = set(connection.scalars(text("SELECT statement FROM pg_prepared_statements WHERE not from_sql")))
        assert "SELECT -149" in statements
        assert not statements & {f"SELECT {-number}" for number in range(1, 40)}


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


# --- a transaction that begins with its first statement ----------------------------------------------------------


def _status(connection: Connection) -> TransactionStatus:
    return TransactionStatus(session_of(connection).pgconn.transaction_status)


@pytest.fixture(scope="module")
def other(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Another process's, which goes by the database's clock."""
    address = store.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    opened = open_store(store.blobs.root.parent, node="thu", database=address, reserve=1)
    yield opened
    opened.close()


def test_it_begins_in_one_trip_with_what_it_asks_first_and_the_clock_is_told_after_that(other: Store) -> None:
    for taking in (other.write, other.read):
        with taking(asks_first=True) as connection:
            assert _status(connection) is TransactionStatus.IDLE
            before = boot_now()
            assert [row.id for row in select_rows(connection, _ONE, {"id": "a"})] == ["a"]
            assert _status(connection) is TransactionStatus.INTRANS
            looked = session_of(connection).clock
            assert looked is not None
            assert before <= looked.before <= looked.after
            assert other.now(connection) == looked.told
            select_rows(connection, _ONE, {"id": "a"})
            assert other.now(connection) > looked.told, "the time is asked for anew"


def test_it_begins_however_it_goes_on(other: Store) -> None:
    with other.write(asks_first=True) as connection:
        assert other.now(connection) > 0
        assert _status(connection) is TransactionStatus.INTRANS
    with other.write(asks_first=True) as connection:
        connection.execute(_INSERT, {"id": "x", "bytes": b""})
        assert _status(connection) is TransactionStatus.INTRANS
        connection.rollback()
    with other.write(asks_first=True) as connection:
        execute_rows(connection, _INSERT, [{"id": "y", "bytes": b""}])
        connection.rollback()
    for _ in range(2):
        with other.write(asks_first=True) as connection:
            pass
        with other.write(asks_first=True) as connection:
            connection.rollback()
        with other.write() as connection:
            assert _status(connection) is TransactionStatus.INTRANS, "the next one does as ever"
            assert [row.id for row in select_rows(connection, _SOME, {"ids": ["x", "y"]})] == []


def test_where_its_first_statement_fails_it_is_undone(other: Store) -> None:
    wrong = select(literal_column("nothing_such"))
    with pytest.raises(DBAPIError, match="nothing_such"), other.write(asks_first=True) as connection:
        select_rows(connection, wrong, {})
    with other.write(asks_first=True) as connection:
        assert [row.id for row in select_rows(connection, _ONE, {"id": "a"})] == ["a"]


# --- a commit that goes along ------------------------------------------------------------------------------------


def _there(store: Store) -> list[str]:
    with store.read() as connection:
        return [row.id for row in select_rows(connection, _SOME, {"ids": ["n", "m", "o"]})]


def test_the_commit_goes_along_with_the_last_statement_and_nothing_may_follow(store: Store, other: Store) -> None:
    for asks_first in (False, True):
        with other.write(asks_first=asks_first) as connection:
            execute_rows(connection, _INSERT, [{"id": "n", "bytes": b""}], is_last=True)
            assert _status(connection) is TransactionStatus.IDLE
            assert _there(store) == ["n"]
            for again in (
                lambda: select_rows(connection, _ONE, {"id": "a"}),
                lambda: connection.execute(_ONE, {"id": "a"}),
            ):
                with pytest.raises(DBAPIError, match="committed with its last statement"):
                    again()
        with other.write() as connection:
            assert execute_one(connection, _DELETE, {"b_id": "n"}) == 1


def test_where_the_last_statement_fails_nothing_is_committed(store: Store, other: Store) -> None:
    row = {"id": "m", "bytes": b""}

    def write() -> None:
        with other.write() as connection:
            execute_rows(connection, _INSERT, [row])
            execute_rows(connection, _INSERT, [row], is_last=True)

    with pytest.raises(StoreConflict):
        write()
    assert _there(store) == []


def test_a_change_that_does_not_find_all_its_rows_takes_the_commit_back(store: Store, other: Store) -> None:
    for ids, may in (("a", "b"), True), (("a", "zz"), False):
        together = Together()
        together.add(_INSERT, [{"id": "o", "bytes": b""}])
        place = together.add(_CHANGE, [{"b_id": word, "bytes": b"1"} for word in ids])
        with other.write() as connection:
            if may:
                assert together.execute(connection, last=place) == (1, 2)
                assert _there(store) == ["o"]
            else:
                with pytest.raises(TooFew):
                    together.execute(connection, last=place)
                connection.rollback()
        if may:
            with other.write() as connection:
                execute_one(connection, _DELETE, {"b_id": "o"})
    assert _there(store) == []


_END = select(func.pg_terminate_backend(func.pg_backend_pid()))


@pytest.mark.parametrize("is_last", [False, True])
def test_a_connection_that_is_lost_with_the_commit_is_not_undone_for_certain(other: Store, is_last: bool) -> None:
    """What was certainly undone runs again; what may have been done does not."""

    def end() -> None:
        with other.write() as connection:
            select_rows(connection, _END, {}, is_last=is_last)

    with pytest.raises(StoreBusy) as raised:
        end()
    assert type(raised.value) is (StoreUnsure if is_last else StoreUndone)
