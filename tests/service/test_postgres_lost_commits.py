"""A server without the last commits takes the other's place while the node runs: nothing goes on before it is said."""

from __future__ import annotations

import io
import json
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from gateway.backup import begin_recovery
from gateway.exchange.deliver import deliver
from gateway.exchange.recover import recover_once
from gateway.model.errors import StorePutBack
from gateway.model.events import Event, EventKind
from gateway.model.instants import MINUTE
from gateway.store import Store, open_store
from gateway.store.events import append
from gateway.store.months.partitions import letting_go
from gateway.store.remembered import remember
from tests.support.nodes import Database, House
from tests.support.postgres import own, start_cluster
from tests.support.stores import kinds_of_events, tell


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def lose(house: House, table: str) -> None:
    """The last rows that the node wrote there are gone, and so are its connections."""
    with house.node.store.write() as connection, letting_go(connection):
        tell(connection, f"DELETE FROM {table}")
    house.node.store.engine.dispose()


def write(store: Store, reason: str) -> None:
    with store.write() as connection:
        now = store.now(connection)
        append(connection, [Event(kind=EventKind.CHANNEL_PAUSED, at=now, actor="test", reason=reason)], now)


def reasons(store: Store) -> list[str]:
    return [reason for _, _, reason in kinds_of_events(store)]


def test_a_running_node_notices_that_what_it_accepted_is_gone(house: House, lines: io.StringIO) -> None:
    """Until a recovery is begun, whose doubts keep it from sending twice; then it goes on by itself."""
    sent = house.send(["check"])
    lose(house, "events")
    refused = house.submit(house.packet(["check"], "2"))
    assert isinstance(refused, StorePutBack)
    assert refused.retryable
    assert [sent.packet_id in line for line in lines.getvalue().splitlines() if "store.commit_lost" in line] == [True]
    with pytest.raises(StorePutBack):
        house.due()
    operator = house.another_store()  # a command's process, which knows of nothing
    begin_recovery(operator, backup="", backup_at=house.now(), actor="test", kinds={})
    operator.close()
    assert house.due() == []
    house.pass_time(3 * MINUTE)
    house.sweep()
    recover_once(house.node)
    house.work()
    assert house.state(sent, "check") == "delivered"


@pytest.mark.long
def test_an_attempt_that_is_gone_is_noticed_too(house: House) -> None:
    """What the recipient got meanwhile is found by asking him."""
    sent = house.send(["check"])
    house.recipient("check").during = lambda _item: lose(house, "attempts")
    with pytest.raises(StorePutBack):
        house.work()
    operator = house.another_store()
    begin_recovery(operator, backup="", backup_at=house.now(), actor="test", kinds={})
    operator.close()
    house.pass_time(3 * MINUTE)
    house.sweep()
    recover_once(house.node)
    assert house.state(sent, "check") == "delivered"
    assert house.recipient("check").seen(sent.packet_id) == 1


def test_what_was_archived_and_let_go_is_no_loss(house: House) -> None:
    house.send(["check"])
    with house.node.store.write() as connection:
        tell(connection, "INSERT INTO periods VALUES ('2999-01', 'tệp', '', 0, 0, 0, 'test', NULL)")
    lose(house, "events")
    house.send(["check"], "2")


def test_what_the_folder_remembers_is_not_forgotten_for_a_server_that_knows_less(house: House, tmp_path: Path) -> None:
    """By a process that itself wrote nothing which is lost."""
    data = tmp_path / "data"
    house.send(["check"])
    remember(house.node.store, data)
    known = (data / "newest").read_bytes()
    lose(house, "events")
    other = house.another_store()
    with pytest.raises(StorePutBack):
        remember(other, data)
    assert (data / "newest").read_bytes() == known
    begin_recovery(other, backup="", backup_at=house.now(), actor="test", kinds={})
    remember(other, data)
    assert json.loads((data / "newest").read_bytes())["position"] > 0
    other.close()


def test_what_the_database_knows_nothing_of_any_more_hinders_no_other_report(house: House, lines: io.StringIO) -> None:
    """Of a group that was handed over, one was accepted in the lost time."""
    gone, sent = house.send(["check"], "1"), house.send(["idem"], "2")

    def forget(_item: object) -> None:
        with house.node.store.write() as connection:
            tell(connection, "DELETE FROM deliveries WHERE packet_id = ?", gone.packet_id)

    house.recipient("check").after = forget
    deliver(house.node, house.due())
    assert house.state(sent, "idem") == "delivered"
    assert gone.packet_id in lines.getvalue()
    assert "delivery.lost" in lines.getvalue()


@pytest.mark.long
def test_a_standby_that_came_after_the_last_commits_is_noticed_when_it_is_promoted(tmp_path: Path) -> None:
    """Until then it is read from: it may still come to know more."""
    server = start_cluster()
    store = open_store(tmp_path / "nut", node="thu", database=server.create(), reserve=1, wait_seconds=5)
    write(store, "before")
    server.stop()
    data, kept = server.folder / "data", server.folder / "standby"
    shutil.copytree(data, kept)
    server.start()
    write(store, "lost")
    server.stop(signal.SIGKILL)
    shutil.rmtree(data)
    kept.rename(data)
    (data / "standby.signal").touch()
    for path in (data, *data.rglob("*")):
        own(path)
    server.start()
    try:
        assert reasons(store) == ["before"]
        with psycopg.connect(server.admin_url) as owner:
            owner.execute("SELECT pg_promote()")
        with pytest.raises(StorePutBack):
            write(store, "after")
    finally:
        store.close()
        server.stop()
