"""PostgreSQL keeps packets, deliveries and events by month: made ahead, made late, and made of what an earlier release
left, while others write."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from gateway.account import close_books
from gateway.model.errors import StoreUnmigrated
from gateway.model.events import Event, EventKind
from gateway.model.instants import DAY, id_floor, new_id, wall_now
from gateway.store import events, open_store, views
from gateway.store.engines import open_postgres, open_sqlite
from gateway.store.migrate import HEAD, alembic_config, found_revision
from gateway.store.months import partitions
from gateway.store.months.partitions import PARTITIONED, Month, month_of
from gateway.store.schema import metadata
from gateway.workers.figures import figures_once
from gateway.workers.months import keep_months
from tests.service.test_metrics import told as metric
from tests.service.test_releases import RELEASES, read_release
from tests.support.nodes import Database, House, build_house
from tests.support.patience import PATIENCE
from tests.support.postgres import cluster

BEFORE_MONTHS = "0006"


def migrate_to(engine: Engine, revision: str) -> None:
    """Bring an empty database to a revision, as the release of that time did."""
    from alembic import command

    config = alembic_config()
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Engine]:
    """A PostgreSQL database of the release before months, with the rows of a released node."""
    old = open_sqlite(tmp_path / "old.db")
    read_release(RELEASES[-1], tmp_path / "old.db")
    migrate_to(old, BEFORE_MONTHS)
    engine = open_postgres(cluster().create(), node="thu")
    migrate_to(engine, BEFORE_MONTHS)
    with old.connect() as source, engine.connect() as target, target.begin():
        there = set(source.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
        for table in metadata.sorted_tables:
            if table.name in there:
                _copy(source, target, table.name)
    old.dispose()
    yield engine
    engine.dispose()


def _copy(source: Any, target: Any, table: str) -> None:
    order = " ORDER BY rowid" if table == "events" else ""
    rows = source.exec_driver_sql(f"SELECT * FROM {table}{order}").mappings().all()
    if rows:
        columns = list(rows[0])
        types = dict(
            target.execute(
                text("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :t"),
                {"t": table},
            ).all()
        )
        told = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + name for name in columns)})"
        plain = [{n: bool(v) if types[n] == "boolean" else v for n, v in row.items()} for row in rows]
        target.execute(text(told), plain)


def address_of(engine: Engine) -> str:
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_database_of_the_earlier_release_is_cut_into_months_and_its_books_close(
    earlier: Engine, tmp_path: Path
) -> None:
    with earlier.connect() as rows:
        before = {table: rows.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in PARTITIONED}
    store = open_store(tmp_path / "data", node="thu", database=address_of(earlier), reserve=1)
    try:
        with store.read() as rows:
            assert partitions.is_partitioned(rows)
            after = {table: rows.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in PARTITIONED}
            first = rows.exec_driver_sql("SELECT id FROM packets ORDER BY id LIMIT 1").scalar()
            seen = views.document(rows, str(first), seen_by=None)
            at = int(rows.exec_driver_sql("SELECT max(recorded_at) FROM events").scalar() or 0)
        assert after == before
        assert before["packets"]
        assert seen is not None
        assert seen.timeline
        account = close_books(store, 0, at + DAY)
        assert account.closes, account.gaps
        later = month_of(wall_now()).later(4)
        with store.write() as rows, partitions.locked_all(rows, "deliveries_rest"):
            assert partitions.make_month(rows, "deliveries", later)
        with store.read() as rows:
            inboxes = dict(rows.exec_driver_sql(_INBOXES).all())
        assert inboxes.keys() > {"deliveries", "deliveries_before", "deliveries_rest", f"deliveries_{later.name}"}
        assert all("WHERE" in told for told in inboxes.values()), "each part lists what waits, and nothing else"
    finally:
        store.close()


_INBOXES = (
    "SELECT regexp_replace(tablename, '_(\\d+)_(\\d+)$', '_\\1-\\2'), indexdef FROM pg_indexes "
    "WHERE schemaname = current_schema() AND strpos(indexdef, 'polled_at') > 0"
)


@pytest.mark.long
def test_who_writes_while_the_index_of_inboxes_is_made_anew_waits_for_nobody_but_it(
    earlier: Engine, tmp_path: Path
) -> None:
    """One who has written a delivery holds the migration up, not those who come after it."""
    migrate_to(earlier, "0012")
    polled = text("UPDATE deliveries SET polled_at = polled_at + 1")
    opened: list[Any] = []
    opening = threading.Thread(
        target=lambda: opened.append(open_store(tmp_path / "data", node="thu", database=address_of(earlier), reserve=1))
    )
    with earlier.connect() as held, held.begin():
        count = held.execute(polled).rowcount
        opening.start()
        for _ in range(3):  # it asks for the table, is refused, and asks again: reading goes on meanwhile
            _until(earlier, "NOT granted AND mode = 'AccessExclusiveLock'")
            with earlier.connect() as other:
                assert other.exec_driver_sql("SELECT count(*) FROM deliveries").scalar() == count
        assert found_revision(earlier) == "0012", "it did not wait for a transaction that had written"
    opening.join(90)
    assert found_revision(earlier) == HEAD
    with opened[0].write() as rows:
        assert rows.execute(polled).rowcount == count
        assert set(rows.exec_driver_sql("SELECT polled_at FROM deliveries").scalars()) == {2}
    opened[0].close()


def _until(engine: Engine, condition: str) -> None:
    told = f"SELECT EXISTS (SELECT FROM pg_locks WHERE relation = to_regclass('deliveries') AND {condition})"

    def is_so() -> bool:
        with engine.connect() as rows:
            return bool(rows.exec_driver_sql(told).scalar())

    Retrying(retry=retry_if_result(lambda so: not so), wait=wait_fixed(0.01), stop=stop_after_delay(PATIENCE))(is_so)


@pytest.mark.long
def test_who_writes_while_it_is_cut_loses_nothing(earlier: Engine, tmp_path: Path) -> None:
    """Writers of the earlier release write through the migration: each commit that was confirmed is there after it."""
    written: list[str] = []
    is_done = threading.Event()

    def write_on() -> None:
        left = 20  # that are written for certain after the migration
        while left:
            left -= is_done.is_set()
            number = f"viết-{new_id()}"
            try:
                with earlier.connect() as connection, connection.begin():
                    told = Event(kind=EventKind.NODE_STARTED, at=wall_now(), actor="thu", reason=number)
                    events.append(connection, [told], wall_now())
            except DBAPIError:
                continue
            written.append(number)

    held = earlier.connect()
    holding = held.begin()
    told = Event(kind=EventKind.NODE_STARTED, at=wall_now(), actor="thu", reason="giữ")
    events.append(held, [told], wall_now())  # the migration must wait for this one
    writers = [threading.Thread(target=write_on) for _ in range(2)]
    opened: list[Any] = []
    opening = threading.Thread(
        target=lambda: opened.append(open_store(tmp_path / "data", node="thu", database=address_of(earlier), reserve=1))
    )
    for thread in (*writers, opening):
        thread.start()
    while len(written) < 5:
        assert any(thread.is_alive() for thread in writers)
        is_done.wait(0.01)
    assert found_revision(earlier) == BEFORE_MONTHS, "it did not wait for a transaction that had written"
    holding.commit()
    held.close()
    opening.join(90)
    is_done.set()
    for thread in writers:
        thread.join(90)
    assert found_revision(earlier) == HEAD
    with opened[0].read() as rows:
        there = set(rows.exec_driver_sql("SELECT reason FROM events WHERE kind = 'node.started'").scalars())
    opened[0].close()
    assert {"giữ", *written} <= there


@pytest.mark.parametrize("database", list(Database), ids=str)
def test_a_migration_that_cannot_be_ended_changes_nothing(database: Database, tmp_path: Path) -> None:
    """A table that somebody made by hand stands in the way of the last step but one."""
    data = tmp_path / "data"
    data.mkdir()
    address = cluster().create() if database is Database.POSTGRESQL else ""
    engine = open_postgres(address, node="thu") if address else open_sqlite(data / "truc.db")
    migrate_to(engine, BEFORE_MONTHS)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE holds (mine TEXT)")
    for _ in range(2):
        with pytest.raises(StoreUnmigrated, match="holds"):
            open_store(data, node="thu", database=address, reserve=1)
        assert found_revision(engine) == BEFORE_MONTHS
        assert not inspect(engine).has_table("periods"), "half of it was left"
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("DROP TABLE holds")
    open_store(data, node="thu", database=address, reserve=1).close()
    assert found_revision(engine) == HEAD
    engine.dispose()


@pytest.fixture
def parted(tmp_path: Path) -> Iterator[House]:
    """A node on PostgreSQL."""
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    yield house
    house.close()


def count(house: House, table: str) -> int:
    with house.node.store.read() as rows:
        return int(rows.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def drop_month(house: House, month: Month) -> None:
    """As where nobody made it."""
    with house.node.store.write() as rows:
        for table in PARTITIONED:
            rows.exec_driver_sql(f"DROP TABLE {table}_{month.year:04}_{month.month:02}")


def test_a_missing_month_never_stops_taking_in_and_its_rows_move_to_it_later(parted: House) -> None:
    month = month_of(wall_now())
    drop_month(parted, month)
    sent = parted.send(["inbox-a"])
    assert count(parted, "packets_rest") == 1
    figures_once(parted.node)
    assert metric(parted, "truc_packets_without_month") == 1
    assert metric(parted, "truc_alert_active", alert="alert.month_missing") == 1
    keep_months(parted.node.store, 3)
    figures_once(parted.node)
    assert metric(parted, "truc_packets_without_month") == 0
    assert metric(parted, "truc_alert_active", alert="alert.month_missing") == 0
    name = f"{month.year:04}_{month.month:02}"
    assert count(parted, "packets_rest") == count(parted, "events_rest") == 0
    assert count(parted, f"packets_{name}") == 1
    assert parted.state(sent, "inbox-a") == "available"
    parted.assert_books_close()
    assert keep_months(parted.node.store, 3) == 0, "the second time there is nothing to do"


def test_months_are_made_ahead(parted: House) -> None:
    long_ago = Month(year=2025, month=3)
    late = f"{id_floor(long_ago.start + DAY)}-7000-8000-000000000000"  # told of a packet of a month that is not there
    told = Event(kind=EventKind.PACKET_REPEATED, at=wall_now(), actor="thu", packet_id=late)
    with parted.node.store.write() as rows:
        events.append(rows, [told], wall_now())
    assert count(parted, "events_rest") == 1
    keep_months(parted.node.store, 5)
    assert (count(parted, "events_rest"), count(parted, "events_2025_03")) == (0, 1)
    with parted.node.store.read() as rows:
        for table in PARTITIONED:
            highest = max(one.high for one in partitions.partitions_of(rows, table))
            assert highest == month_of(wall_now()).later(5).high


def test_no_part_of_the_events_can_be_changed(parted: House) -> None:
    parted.send(["inbox-a"])
    month = month_of(wall_now())
    with psycopg.connect(parted.database, autocommit=True) as connection:
        for name in ("events", f"events_{month.year:04}_{month.month:02}", "events_rest", "events_loose"):
            for told in (f"DELETE FROM {name}", f"UPDATE {name} SET reason = 'khác'"):
                with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                    connection.execute(told)  # type: ignore[call-overload]


HOT = (
    "SELECT * FROM packets WHERE id = '{id}'",
    "SELECT * FROM packets WHERE id = ANY('{{{id}}}')",
    "SELECT * FROM deliveries WHERE id IN ('{id}', '{id}')",
    "UPDATE deliveries SET state = 'ready' WHERE id = '{id}' AND state = 'claimed'",
    "SELECT * FROM events WHERE packet_id = ANY('{{{id}}}')",
)


def test_what_is_asked_by_id_looks_at_one_month(parted: House) -> None:
    keep_months(parted.node.store, 6)
    month = month_of(wall_now())
    for told in HOT:
        with parted.node.store.write() as rows:
            plan = "\n".join(rows.exec_driver_sql("EXPLAIN " + told.format(id=new_id())).scalars().all())
        parts = set(re.findall(r"\b(?:packets|deliveries|events)_(?:\d{4}_\d\d|rest|loose|before)\b", plan))
        table = told.partition("FROM ")[2].split()[0] if "FROM" in told else "deliveries"
        assert parts == {f"{table}_{month.year:04}_{month.month:02}"}, plan


def test_a_month_is_one_of_vietnam() -> None:
    month = Month(year=2026, month=12)
    assert month.later(1) == Month(year=2027, month=1)
    assert month_of(month.start) == month
    assert month_of(month.start - 1) == Month(year=2026, month=11)
    assert month_of(month.end - 1) == month
    assert id_floor(month.start) == month.low < month.high == month.later(1).low
