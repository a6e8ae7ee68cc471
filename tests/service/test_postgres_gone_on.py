"""Who goes on after a failure: in a transaction that could not begin or end, or on tables that were changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Connection, LargeBinary, MetaData, Table, Text, bindparam, insert, select
from sqlalchemy.exc import DBAPIError

from gateway.model.errors import StoreBusy
from gateway.store import Store
from gateway.store.repeating import repeated_where_undone
from gateway.store.statements import execute_rows, select_rows
from tests.support.nodes import Database, build_house

_words = Table("thu_words", MetaData(), Column("id", Text, primary_key=True), Column("bytes", LargeBinary))
_ALL = select(_words.c.id)
_ONE = select(_words.c.id).where(_words.c.id == bindparam("id"))
_INSERT = insert(_words)
_REFUSES = (
    "CREATE FUNCTION thu_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN IF NEW.id = 'x' THEN RAISE EXCEPTION 'no commit'; END IF; RETURN NEW; END $$",
    "CREATE CONSTRAINT TRIGGER thu_refuse AFTER INSERT ON thu_words DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION thu_refuse()",
)
"""What is wrong with a row is found at the commit."""


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    house = build_house(tmp_path_factory.mktemp("gone_on"), database=Database.POSTGRESQL)
    with house.node.store.write() as connection:
        _words.create(connection)
        for text in _REFUSES:
            connection.exec_driver_sql(text)
    yield house.node.store
    house.close()


def there(store: Store) -> list[str]:
    with store.read() as connection:
        return [row.id for row in select_rows(connection, _ALL, {})]


def write(connection: Connection, word: str, **more: bool) -> None:
    execute_rows(connection, _INSERT, [{"id": word, "bytes": b""}], **more)


def is_not_sent(connection: Connection) -> None:
    select_rows(connection, _ONE, {"id": "a\0b"})


def is_not_begun(connection: Connection) -> None:
    session: Any = connection.connection.dbapi_connection
    session.pgconn.exec_(b"DEALLOCATE ALL")  # BEGIN too
    select_rows(connection, _ONE, {"id": "a"})


@pytest.mark.parametrize("fails", [is_not_sent, is_not_begun])
def test_a_transaction_that_did_not_begin_with_its_first_statement_begins_with_the_next(
    store: Store, fails: Callable[[Connection], None]
) -> None:
    """Else each of the others would be a commit of its own, and what is undone would stay."""
    with store.write() as connection:
        select_rows(connection, _ONE, {"id": "a"})
    with store.write(asks_first=True) as connection:
        with pytest.raises(DBAPIError):
            fails(connection)
        write(connection, "a")
        connection.rollback()
    assert there(store) == []


@pytest.mark.parametrize("asks_first", [False, True])
def test_a_commit_that_went_along_and_failed_is_no_commit_whoever_goes_on(store: Store, asks_first: bool) -> None:
    def swallow(*, then: Callable[[Connection], None]) -> None:
        with store.write(asks_first=asks_first) as connection:
            with pytest.raises(DBAPIError, match="no commit"):
                write(connection, "x", is_last=True)
            then(connection)

    for then in (lambda _: None, lambda connection: write(connection, "a")):
        with pytest.raises(StoreBusy, match="nothing of this transaction is kept"):
            swallow(then=then)
    assert there(store) == []
    with store.write() as connection:
        write(connection, "b", is_last=True)
    assert there(store) == ["b"], "the connection is as good as before"


def test_where_a_table_was_changed_under_what_is_prepared_it_is_prepared_anew(store: Store) -> None:
    """The server refuses such a statement as long as the connection lives, ours and the driver's alike."""
    ways: tuple[Callable[[Connection], Any], ...] = (
        lambda connection: select_rows(connection, _ALL, {}),
        lambda connection: connection.execute(_ALL).all(),
    )

    @repeated_where_undone
    def look(way: Callable[[Connection], Any]) -> Any:
        with store.write() as connection:
            return way(connection)

    def change(to: str) -> None:
        with psycopg.connect(store.engine.url.set(drivername="postgresql").render_as_string()) as other:
            other.execute(f"ALTER TABLE thu_words ALTER COLUMN id TYPE {to}")

    for way in ways:
        for kind in ("varchar(100)", "varchar(200)", "text"):
            for _ in range(3):
                assert look(way) == []
            change(kind)
        with pytest.raises(StoreBusy, match="cached plan"), store.read() as connection:
            way(connection)
        with store.read() as connection:
            assert way(connection) == []
