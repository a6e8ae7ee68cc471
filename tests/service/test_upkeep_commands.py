"""`truc db check`, `truc hold` and `truc archive` at a terminal, on either database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from gateway.exchange.submission import Answer
from gateway.model.instants import wall_now
from gateway.store.migrate import HEAD
from gateway.store.months.partitions import month_of
from gateway.store.upkeep import Ailment, DatabaseFinding, look_at_database
from gateway.workers.months import keep_months
from tests.support.archives import archive, month_of_house, pass_month
from tests.support.nodes import Database, House, build_house
from tests.support.patience import until
from tests.support.postgres import cluster, start_cluster
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]


@pytest.fixture(params=list(Database), ids=str)
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A node on each database, with its months made ahead."""
    made = build_house(tmp_path, database=request.param)
    keep_months(made.node.store, 3)
    yield made
    made.close()


def kinds(found: object) -> set[tuple[str, str]]:
    assert isinstance(found, dict)
    return {(one["kind"], one["what"]) for one in found["findings"]}


def test_the_database_is_well_and_what_ails_it_is_named(house: House, truc: Terminal) -> None:
    well = truc.json("db", "check")
    assert well["findings"] == []
    assert (well["schema"], well["database"]) == (HEAD, "postgresql" if house.database else "sqlite")
    assert HEAD in truc("db", "check")
    with house.node.store.write() as rows:
        rows.exec_driver_sql("DROP INDEX transfers_due")
        rows.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    wanted = {("index_missing", "transfers.transfers_due"), ("schema_older", "0001")}
    assert kinds(truc.json("db", "check", code=1)) == wanted
    with house.node.store.write() as rows:
        rows.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert ("schema_newer", "9999") in kinds(truc.json("db", "check", code=1))
    truc("db", "check", code=1)
    assert "transfers_due" in truc.err
    assert "9999" in truc.err
    truc("hold", "list", code=5)
    assert "9999" in truc.err, "a program that is older than its database says so, and touches nothing"


def test_a_new_node_has_its_months_and_is_told_of_an_order_that_is_not_its_own(truc: Terminal) -> None:
    """The months ahead are there before `truc periodic` ran; whatever day it is, some are of next year."""
    truc.set(database=cluster().create(order="vi"), months_ahead="13")
    for _ in range(2):
        truc("init")
        assert kinds(truc.json("db", "check", code=1)) == {("order_foreign", "vi")}
    [told] = [one for one in truc.json("doctor") if one["name"] == "order"]
    assert (told["level"], told["code"]) == ("warn", "doctor.order_foreign")
    assert "LOCALE 'C'" in told["vi"]


def test_what_only_postgresql_can_ail_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truc: Terminal) -> None:
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    keep_months(house.node.store, 3)
    monkeypatch.setenv("TRUC_DATABASE", house.database)
    month = month_of(wall_now())
    now, last = (f"{each.year:04}_{each.month:02}" for each in (month, month.later(3)))
    with house.node.store.write() as rows:
        for told in (
            f"DROP TABLE packets_{now}",
            f"DROP TABLE deliveries_{last}",
            "ALTER TABLE transfers SET (autovacuum_enabled = false)",
            "CREATE SEQUENCE het_so MAXVALUE 10 START 9",
            "SELECT nextval('het_so')",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'transfers_due'::regclass",
        ):
            rows.exec_driver_sql(told)
    house.send(["inbox-a"])
    assert kinds(truc.json("db", "check", code=1)) == {
        ("rows_without_month", f"packets {month.name}"),
        ("month_missing", f"deliveries {month.later(3).name}"),
        ("autovacuum_off", "transfers"),
        ("sequence_near_end", "het_so"),
        ("index_invalid", "transfers_due"),
    }
    truc("db", "check", code=1)
    house.close()


def look_until(folder: Path, address: str, kind: Ailment) -> tuple[DatabaseFinding, frozenset[Ailment]]:
    """The first finding of this kind, and which kinds there were then."""
    seen: list[DatabaseFinding] = []

    def is_there() -> bool:
        seen[:] = look_at_database(folder, database=address, ahead=3).findings
        return any(one.kind is kind for one in seen)

    until(is_there, lambda: seen)
    return next(one for one in seen if one.kind is kind), frozenset(one.kind for one in seen)


def test_who_holds_a_lock_that_others_wait_for_is_named(tmp_path: Path, truc: Terminal) -> None:
    """As `VACUUM FULL`, or a client that somebody left open within a transaction; and not who only waits behind."""
    with closing(build_house(tmp_path, database=Database.POSTGRESQL)) as house:
        keep_months(house.node.store, 3)
        truc.set(database=house.database)
        with psycopg.connect(house.database) as holder, psycopg.connect(house.database) as waiter:
            holder.execute("LOCK TABLE transfers IN ACCESS EXCLUSIVE MODE")
            waiting = threading.Thread(target=waiter.execute, args=("SELECT count(*) FROM transfers",))
            waiting.start()
            found, kinds_then = look_until(tmp_path, house.database, Ailment.LOCK_HELD)
            assert found.what.startswith(f"{holder.info.backend_pid} ")
            assert found.figure.startswith("1 / ")
            assert kinds_then == {Ailment.LOCK_HELD}
            truc("db", "check", code=1)
            assert f"{holder.info.backend_pid} " in truc.err
            holder.rollback()
            waiting.join()
        assert truc.json("db", "check")["findings"] == []


def test_an_archive_of_the_log_that_fails_or_lags_is_named(tmp_path: Path) -> None:
    server = start_cluster(more_settings=("archive_mode=on", "archive_command='false'"))
    try:
        address = server.create()
        with psycopg.connect(address, autocommit=True) as rows:
            rows.execute("CREATE TABLE viet (so int)")
            rows.execute("SELECT pg_switch_wal()")
        _, found = look_until(tmp_path, address, Ailment.ARCHIVE_FAILING)
        assert Ailment.ARCHIVE_LATE in found
    finally:
        server.stop()


def test_a_doctor_whom_a_lock_keeps_waiting_says_where_its_holder_is_named(tmp_path: Path, truc: Terminal) -> None:
    with closing(build_house(tmp_path, database=Database.POSTGRESQL)) as house:
        truc.set(database=house.database, database_wait="0.5")
        with psycopg.connect(house.database) as holder:
            holder.execute("LOCK TABLE node IN ACCESS EXCLUSIVE MODE")
            told = truc.json("doctor", code=1)
        assert [one["code"] for one in told[-2:]] == ["store.busy", "doctor.see_database"]
        assert "truc db check" in told[-1]["vi"]


def test_holds_are_put_on_listed_and_ended(house: House, truc: Terminal) -> None:
    sent = house.send(["inbox-a"])
    truc("hold", "add", "--document", sent.packet_id, "--reason", "vụ 12/2026")
    truc("hold", "add", "--agency", "inbox-a", "--reason", "vụ 13")
    truc("hold", "add", "--period", "2026-07", "--reason", "thanh tra")
    told = house.tell("inbox-a")
    assert isinstance(told, Answer), "a status bears its document's id, and is no document of another agency"
    truc("hold", "add", "--document", sent.document_id, "--reason", "vụ 14")
    found = truc.json("hold", "list")
    assert [(one["kind"], one["reason"]) for one in found] == [
        ("document", "vụ 12/2026"), ("agency", "vụ 13"), ("period", "thanh tra"), ("document", "vụ 14"),
    ]  # fmt: skip
    assert found[3]["value"] == found[0]["value"]
    truc("hold", "remove", found[3]["id"])
    truc("hold", "remove", found[0]["id"])
    truc("hold", "remove", found[0]["id"], code=6)
    assert len(truc.json("hold", "list")) == 2
    assert len(truc.json("hold", "list", "--all")) == 4
    assert "vụ 13" in truc("hold", "list")
    truc("hold", "add", "--document", "không-có", "--reason", "vụ 1", code=6)
    truc("hold", "add", "--agency", "inbox-a", "--period", "2026-07", "--reason", "hai thứ", code=2)
    truc("hold", "add", "--period", "2026-13", "--reason", "tháng lạ", code=2)


def test_an_archive_is_shown_and_verified_without_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truc: Terminal
) -> None:
    house = build_house(tmp_path)
    house.send(["idem"])
    house.work()
    assert truc.json("archive", "list") == [], "this month is not over"
    truc("archive", "write", month_of(wall_now()).name, str(tmp_path), code=1)
    pass_month(house)
    file, month = archive(house, tmp_path), month_of_house(house)
    house.close()
    monkeypatch.setenv("TRUC_DATA", str(tmp_path / "nowhere"))
    shown = truc.json("archive", "show", str(file))
    assert (shown["month"], shown["rows"]["packets"], shown["blobs"]) == (month.name, 1, 1)
    assert truc.json("archive", "verify", str(file)) == shown
    assert month.name in truc("archive", "verify", str(file))
    file.write_bytes(file.read_bytes()[:-9])
    truc("archive", "verify", str(file), code=5)
    truc("archive", "show", str(tmp_path / "none.zip"), code=6)
    assert not (tmp_path / "nowhere").exists()
