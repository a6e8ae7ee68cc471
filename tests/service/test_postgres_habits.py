"""What an administrator has set for a database or a role, and other programs live with, changes nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from gateway.model.errors import StoreBusy, StoreRefused, StoreUnsafe
from gateway.store.dialect import check_durability
from gateway.store.engines import open_postgres
from tests.support.nodes import Database, House
from tests.support.postgres import cluster

_HABITS = {
    "client_encoding": "latin1",
    "array_nulls": "off",
    "synchronous_commit": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1",
    "statement_timeout": "1",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "datestyle": "sql, dmy",
    "timezone": "Asia/Ho_Chi_Minh",
    "transform_null_equals": "on",
}
_SUBJECT = "Về việc “nghỉ tết” – phần \\ thứ nhất, NULL"


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@contextmanager
def setting(house: House, values: dict[str, str]) -> Iterator[None]:
    """Of the database, for every connection that is made meanwhile: the node's are made anew before and after."""
    name = sql.Identifier(house.database.rpartition("/")[2])
    with psycopg.connect(house.database, autocommit=True) as owner:
        for key, value in values.items():
            owner.execute(sql.SQL("ALTER DATABASE {} SET {} TO {}").format(name, sql.Identifier(key), value))
        house.node.store.engine.dispose()
        yield
        owner.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))
        house.node.store.engine.dispose()


def test_what_a_database_has_set_for_others_changes_no_document(house: House) -> None:
    with setting(house, _HABITS):
        sent = house.send(["check", "inbox-a"], subject=_SUBJECT)
        house.work()
        house.collect("inbox-a", house.delivery(sent, "inbox-a"))
        assert house.states(sent) == {"check": "delivered", "inbox-a": "delivered"}
        assert [row["subject"] for row in house.rows("SELECT subject FROM packets")] == [_SUBJECT]
        with house.node.store.write() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    house.assert_books_close()


@pytest.mark.parametrize(
    ("habit", "told"),
    [
        (("role", "nguoi_la"), StoreRefused),
        pytest.param(("search_path", "noi_khac"), StoreBusy, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_tables_that_are_out_of_reach_are_no_documents_fault(
    house: House, habit: tuple[str, str], told: type[StoreBusy]
) -> None:
    """Somebody took a right away, or names another schema: senders come again, and nothing is parked."""
    with psycopg.connect(house.database, autocommit=True) as owner:
        owner.execute("DO $$ BEGIN CREATE ROLE nguoi_la; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    sent = house.send(["check"])
    tickets = house.due()
    with setting(house, dict([habit])):
        refused = house.submit(house.packet(["check"], "2"))
        assert isinstance(refused, told)
        with pytest.raises(told):
            house.work(tickets)
    house.send(["check"], "2")
    house.work(tickets)
    assert house.row(sent, "check")["unreported"] == 0
    assert house.state(sent, "check") == "delivered"


def test_a_database_that_cannot_hold_every_letter_is_unsafe() -> None:
    with psycopg.connect(cluster().admin_url, autocommit=True) as owner:
        owner.execute("CREATE DATABASE chu_cu TEMPLATE template0 ENCODING 'LATIN1'")
    engine = open_postgres(cluster().url("chu_cu"), node="thu")
    try:
        with engine.connect() as connection, pytest.raises(StoreUnsafe) as told:
            check_durability(connection)
    finally:
        engine.dispose()
    assert told.value.params["setting"] == "server_encoding"
