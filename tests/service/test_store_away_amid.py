"""A store that is away while a worker has something in hand is no death of the worker (protocol, rule 8)."""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.exchange.deliver import deliver
from gateway.model.errors import StoreBusy
from gateway.model.instants import MINUTE, Instant
from gateway.workers.delivery import Delivery
from gateway.workers.intake_round import Rounds, intake_once
from gateway.workers.relay import Relay, relay_once
from tests.support.held import hold
from tests.support.nodes import House, build_house
from tests.support.patience import PATIENCE, until


class Away:
    """The node's database, which another program may lock: to the node it is away meanwhile."""

    def __init__(self, database: Path, lines: io.StringIO) -> None:
        self._other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._lines, self._seen = lines, 0

    def go(self, _item: object = None) -> None:
        """From now on it is away."""
        self._other.execute("BEGIN IMMEDIATE")

    def come_back(self) -> None:
        """Back, once the worker has found that it is away."""
        until(lambda: self._lines.getvalue().count("delivery.waits_for_store") > self._seen, self._lines.getvalue)
        self._seen += 1
        self._other.execute("ROLLBACK")

    def close(self) -> None:
        """Nobody locks it any more."""
        self._other.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with closing(build_house(tmp_path, database_wait=0.1)) as built:
        yield built


@pytest.fixture
def away(tmp_path: Path, house: House, lines: io.StringIO) -> Iterator[Away]:
    with closing(Away(tmp_path / "data" / "truc.db", lines)) as other:
        yield other


def test_rule_8_what_was_handed_over_is_written_down_once_the_store_is_back(house: House, away: Away) -> None:
    sent = house.send(["idem"])
    house.recipient("idem").during = away.go
    with closing(Delivery(house.node)):
        assert relay_once(house.node) == 1
        away.come_back()
        until(lambda: house.state(sent, "idem") == "delivered")
    assert (house.row(sent, "idem")["unreported"], len(house.attempts(sent, "idem"))) == (0, 1)
    assert house.recipient("idem").seen(sent.packet_id) == 1
    house.assert_books_close()


def test_rule_8_what_ended_late_is_written_down_once_the_store_is_back(house: House, away: Away) -> None:
    sent = house.send(["check"])
    held = hold(house, "check")
    house.recipient("check").after = away.go
    with closing(Delivery(house.node)) as delivery:
        assert relay_once(house.node) == 1
        assert held.has_begun.wait(PATIENCE)
        until(lambda: sum(hands._late_on.total() for hands in delivery._hands.values()))
        held.may_end.set()
        away.come_back()
        until(lambda: house.state(sent, "check") == "delivered")
    assert house.row(sent, "check")["unreported"] == 0
    house.assert_books_close()


def test_rule_8_a_store_that_goes_away_again_and_again_before_anything_is_sent_parks_nothing(
    house: House, away: Away
) -> None:
    sent = house.send(["check"])
    ending = threading.Event()
    with ThreadPoolExecutor(1) as worker:
        for _ in range(3):
            house.recipient("check").during_stage = away.go
            told = worker.submit(deliver, house.node, house.ready(), is_ending=ending.is_set)
            away.come_back()
            with pytest.raises(StoreBusy):
                told.result(PATIENCE)
            row = house.row(sent, "check")
            assert (row["state"], row["unreported"], row["tries"]) == ("ready", 0, 0)
            house.pass_time(2 * MINUTE)
            house.sweep()
    house.recipient("check").during_stage = lambda _item: None
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert house.recipient("check").seen(sent.packet_id) == 1
    house.assert_books_close()


def test_rule_5_what_was_being_sent_as_the_store_went_away_is_in_doubt(house: House) -> None:
    """Something of it may have gone out: it is neither written down as not arrived nor sent again unasked."""

    def fail(_item: object) -> None:
        raise StoreBusy(why="gone while the bytes were read")

    sent = house.send(["check"])
    house.recipient("check").during = fail
    with pytest.raises(StoreBusy):
        house.work()
    assert house.state(sent, "check") == "claimed"
    assert [one["outcome"] for one in house.attempts(sent, "check")] == [None]


class _Counted(threading.Event):
    """Waits for nothing, and keeps for how long it was to."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        return True


def test_a_relay_looks_each_second_while_the_store_is_away(house: House, away: Away) -> None:
    """Documents are due, and nobody else says that it is back."""
    house.send(["check"])
    counted = _Counted()
    away.go()
    listening = house.node.transport.listen("deliver.normal", 1, lambda _group: None)  # else it has nobody to look for
    with closing(listening), closing(Relay(house.node)) as relay:
        (loop,) = relay._loops
        loop._woken = counted
        until(lambda: len(counted.waited) > 8)
        away._other.execute("ROLLBACK")
    assert max(counted.waited[:8]) == 1.0


def test_a_ticket_is_not_given_up_while_the_store_is_away(house: House, away: Away) -> None:
    """It was announced: whoever forgot it would leave its document lying for a minute."""
    sent = house.send(["check"])
    tickets, ending = house.ready(), threading.Event()
    with ThreadPoolExecutor(1) as worker:
        away.go()
        told = worker.submit(deliver, house.node, tickets, is_ending=ending.is_set)
        away.come_back()
        told.result(PATIENCE)
    assert (house.state(sent, "check"), house.row(sent, "check")["unreported"]) == ("delivered", 0)
    assert house.recipient("check").seen(sent.packet_id) == 1
    house.assert_books_close()


def test_rule_8_a_file_that_was_being_taken_in_as_the_store_went_away_is_not_set_aside(tmp_path: Path) -> None:
    with closing(build_house(tmp_path, folders=True, database_wait=0.1)) as house:
        house.node.channels.sink("folder").probe()
        file, goes = house.root / "di" / "van-ban.edxml", threading.Event()
        file.write_bytes(house.packet(["check"], sender="folder-a"))
        other = sqlite3.connect(tmp_path / "data" / "truc.db", isolation_level=None, check_same_thread=False)

        def now() -> Instant:
            """Asked for between the beginning and what comes of it."""
            if goes.is_set() and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
            return house.node.now()

        node, rounds = replace(house.node, now=now), Rounds()
        goes.set()
        for _ in range(4):
            assert intake_once(node, rounds) == 0
            other.execute("ROLLBACK")
        goes.clear()
        assert intake_once(node, rounds) == 1
        assert [row["state"] for row in house.rows("SELECT state FROM deliveries")] == ["ready"]
        assert house.rows("SELECT * FROM intake_faults") == []
        other.close()


def test_rule_8_a_worker_that_ends_waits_for_no_store(house: House, away: Away) -> None:
    """What it could not write down is an open attempt, as after a crash."""
    sent = house.send(["check"])
    ending = threading.Event()
    house.recipient("check").during = away.go
    house.recipient("check").after = lambda _item: ending.set()
    with pytest.raises(StoreBusy):
        deliver(house.node, house.ready(), is_ending=ending.is_set)
    away._other.execute("ROLLBACK")
    assert house.state(sent, "check") == "claimed"
    house.run()
    assert (house.state(sent, "check"), house.recipient("check").seen(sent.packet_id)) == ("delivered", 1)
