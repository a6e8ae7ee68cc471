"""`truc store move`: a node's rows from SQLite to PostgreSQL, the same to the figure; killed, resumed, taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.account import Account, close_books
from gateway.cli.lock import take_lock
from gateway.model.errors import StoreError, StoreLeft, StoreMoved
from gateway.model.events import Event, EventKind
from gateway.model.instants import as_instant, id_floor, wall_now
from gateway.store import events, open_store
from gateway.store.carrying import moving
from gateway.store.engines import open_postgres
from tests.support.nodes import Does, House, build_house
from tests.support.postgres import cluster
from tests.support.restores import silent
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A node on SQLite with a little of everything: delivered, fetched, parked, open, withdrawn, refused."""
    made = build_house(tmp_path)
    sent = made.send(["check", "blind", "inbox-a"])
    made.work()
    made.collect("inbox-a", made.delivery(sent, "inbox-a"))
    made.recipient("check").next(Does.REFUSE)
    made.send(["check", "idem"], "2")
    made.work()
    made.recall(["inbox-a"])
    made.send(["inbox-b", "idem"], "3")
    return made


def books_of(data: Path, database: str = "") -> Account:
    store = open_store(data, node="thu", database=database, reserve=1)
    try:
        return close_books(store, 0, wall_now() + 1)
    finally:
        store.close()


def same(one: Account, other: Account) -> bool:
    return (one.books, one.gaps, one.packets, one.events) == (other.books, other.gaps, other.packets, other.events)


@pytest.fixture
def address(house: House, truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, which the terminal's node is to move to; the node itself has stopped."""
    house.close()
    made = cluster().create()
    monkeypatch.setenv("TRUC_DATABASE", made)
    return made


def ask(address: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(address) as connection:
        return connection.execute(question.encode()).fetchall()


def test_the_account_is_the_same_to_the_figure_and_events_keep_their_order(
    house: House, truc: Terminal, address: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    before = books_of(data)
    kept = open_store(data, node="thu", reserve=1)
    with kept.read() as connection:
        order = connection.exec_driver_sql("SELECT id, rowid FROM events ORDER BY rowid").all()
    kept.close()
    told = truc.json("store", "move")
    assert told["is_moved"]
    assert told["account"]["is_same"]
    assert {one["before"]["table"] for one in told["tables"]} >= {"packets", "deliveries", "events", "channels"}
    assert all(one["is_same"] for one in told["tables"])
    after = books_of(data, address)
    assert same(before, after)
    assert after.packets == 4
    assert ask(address, "SELECT id, position FROM events ORDER BY position") == [tuple(row) for row in order]
    truc("db", "check")


def test_new_events_come_after_those_that_were_moved(
    house: House, truc: Terminal, address: str, tmp_path: Path
) -> None:
    old = open_store(tmp_path / "data", node="thu", reserve=1)
    may = id_floor(as_instant(datetime(2026, 5, 10, tzinfo=UTC)))
    with old.write() as connection:
        events.append(connection, [Event(kind=EventKind.NODE_STARTED, at=1, actor="test", packet_id=may)], 1)
    old.close()
    truc("store", "move")
    assert ask(address, "SELECT packet_id FROM events_2026_05") == [(may,)], "its month is there, and so are all since"
    assert (
        ask(address, "SELECT count(*) FROM events_rest") == ask(address, "SELECT count(*) FROM packets_rest") == [(0,)]
    )
    moved = open_store(tmp_path / "data", node="thu", database=address, clock=house.clock, reserve=1)
    with moved.write() as connection:
        last = connection.exec_driver_sql("SELECT max(position) FROM events").scalar_one()
    with moved.write() as connection:
        events.append(connection, [Event(kind=EventKind.NODE_STARTED, at=1, actor="test", reason="moi")], 1)
    with moved.read() as connection:
        newest = connection.exec_driver_sql("SELECT position FROM events WHERE reason = 'moi'").scalar_one()
    moved.close()
    assert newest > last


def test_both_are_never_open_at_once(house: House, truc: Terminal, address: str, tmp_path: Path) -> None:
    held = take_lock(tmp_path / "data", "thu")
    held.share()
    truc("store", "move", code=1)
    assert "[move.running]" in truc.err
    held.close()
    lost = max(path for path in (tmp_path / "data" / "blobs").rglob("*") if len(path.name) == 64)
    lost.unlink()
    told = truc.json("store", "move", code=1)
    assert told["is_moved"]
    assert told["lacking"] == [lost.name]
    with pytest.raises(StoreMoved):
        open_store(tmp_path / "data", node="thu", reserve=1)
    assert truc.json("store", "move") == {"is_moved": True}, "again: nothing happens"
    assert truc.json("store", "back") == {"is_back": True, "is_recovering": False}
    with pytest.raises(StoreLeft):
        open_store(tmp_path / "data", node="thu", database=address, reserve=1)
    truc("store", "move", code=1)
    assert "[move.went_back]" in truc.err
    open_store(tmp_path / "data", node="thu", reserve=1).close()


def test_a_command_on_the_old_file_says_where_the_rows_are(
    house: House, truc: Terminal, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("store", "move")
    monkeypatch.setenv("TRUC_DATABASE", "")
    truc("account", code=5)
    assert "[store.moved]" in truc.err
    assert address in truc.err.replace("\n", "")


def test_what_came_since_is_lost_only_when_it_is_said_and_the_node_recovers_then(
    house: House, truc: Terminal, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("store", "move")
    truc("channel", "pause", "check")
    truc("store", "back", code=1)
    assert "[move.used_since]" in truc.err
    assert truc.json("store", "back", "--lose") == {"is_back": True, "is_recovering": True}
    monkeypatch.setenv("TRUC_DATABASE", "")
    assert truc.json("recover", code=1)["is_recovering"]


def test_an_altered_row_is_found_and_the_node_does_not_go_over(
    house: House, truc: Terminal, address: str, tmp_path: Path
) -> None:
    """Altered behind the move's back, once it is copied: the total of that table alone differs, and the books stand."""
    data = tmp_path / "data"
    source = open_store(data, node="thu", reserve=1)
    target = open_postgres(address, node="thu")
    left = moving.leave_source(source, node="thu", target=target)
    filling = moving.claim_target(target, left, source="x")
    moving.copy_rows(source, target, filling, silent, ahead=0)
    with psycopg.connect(address) as connection:
        connection.execute("UPDATE packets SET subject = subject || ' ' WHERE id = (SELECT min(id) FROM packets)")
    source.close()
    target.dispose()
    told = truc.json("store", "move", code=1)
    assert not told["is_moved"]
    assert [one["before"]["table"] for one in told["tables"] if not one["is_same"]] == ["packets"]
    assert "[move.differs]" in truc.err
    for database in ("", address):
        with pytest.raises(StoreError):
            open_store(data, node="thu", database=database, reserve=1)
    truc("store", "back")
    assert books_of(data).closes


def test_a_database_that_holds_anything_is_refused(
    house: House, truc: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.close()
    strange, foreign = cluster().create(), cluster().create()
    with psycopg.connect(strange) as connection:
        connection.execute("CREATE TABLE luong (id int)")
    open_store(tmp_path / "khac", node="khac", database=foreign, reserve=1).close()
    for address, code, word in ((strange, 1, "move.not_empty"), (foreign, 3, "store.foreign")):
        monkeypatch.setenv("TRUC_DATABASE", address)
        truc("store", "move", code=code)
        assert f"[{word}]" in truc.err
        assert books_of(tmp_path / "data").closes, "what was refused has left the node where it was"
        truc("store", "back", code=6)
        assert "[move.not_moved]" in truc.err
    monkeypatch.setenv("TRUC_DATABASE", "")
    truc("store", "move", code=2)
    assert "[move.no_target]" in truc.err
    assert books_of(tmp_path / "data").closes


def test_a_value_that_postgresql_does_not_take_is_named(
    house: House, truc: Terminal, address: str, tmp_path: Path
) -> None:
    source = open_store(tmp_path / "data", node="thu", reserve=1)
    with source.write() as connection:
        connection.exec_driver_sql("UPDATE packets SET subject = 'a' || char(0) || 'b'")
    source.close()
    truc("store", "move", code=1)
    assert "[move.unfit]" in truc.err
    assert "packets" in truc.err
    truc("store", "back")
