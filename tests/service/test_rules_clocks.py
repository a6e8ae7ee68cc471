"""Rule 13 of the protocol: the store's clock was an hour ahead, and is right again. What was told meanwhile waits for
nobody. What keeps a hand-over from being made twice: `test_rules_clocks_doubts`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.model.breaker import FAULTS_TO_OPEN
from gateway.model.instants import HOUR, MINUTE, SECOND, wall_now
from gateway.store import jobs
from gateway.workers.periodic import ClockWatch, periodic_once
from tests.support.nodes import Does, House, WorkerDied


@contextmanager
def an_hour_ahead(house: House) -> Iterator[None]:
    house.clock.jump(HOUR)
    yield
    house.clock.jump(-HOUR)


def take(house: House, name: str, worker: str, *, every: float = 0.0) -> bool:
    with house.node.store.write() as connection:
        return jobs.take(connection, name, worker, now=house.now(), seconds=6, every=every)


def test_rule_13_a_job_that_a_dead_worker_took_ahead_is_taken_by_the_next(house: House) -> None:
    with an_hour_ahead(house):
        assert take(house, "sweep", "one")
    assert take(house, "sweep", "two")
    assert not take(house, "sweep", "one"), "a lease of today's clock stands"


def test_rule_13_a_job_done_ahead_is_done_again(house: House) -> None:
    with an_hour_ahead(house):
        assert take(house, "months", "one", every=3600)
    assert take(house, "months", "one", every=3600)
    assert not take(house, "months", "one", every=3600), "it was done just now"


def test_rule_13_what_is_due_at_once_waits_for_no_wrong_time(house: House) -> None:
    with an_hour_ahead(house):
        sent = house.send(["check"])
    assert house.work() == 0
    house.sweep()
    house.work()
    assert house.state(sent, "check") == "delivered"
    house.assert_books_close()


def test_rule_13_a_retry_of_the_wrong_hour_is_due_now(house: House) -> None:
    with an_hour_ahead(house):
        sent = house.send(["check"])
        house.recipient("check").next(Does.REFUSE)
        house.work()
    assert house.work() == 0
    house.sweep()
    house.work()
    assert house.state(sent, "check") == "delivered"


def test_rule_13_a_wait_that_the_right_clock_gave_is_kept(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    house.sweep()
    assert house.work() == 0
    assert house.state(sent, "check") == "ready"


def test_rule_13_a_ticket_announced_ahead_and_lost_is_announced_again(house: House) -> None:
    sent = house.send(["check"])
    with an_hour_ahead(house), house.node.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE transfers SET announced_at = {house.now()}")
    assert house.work() == 0
    house.sweep()
    house.work()
    assert house.state(sent, "check") == "delivered"


def test_rule_13_a_claim_of_the_wrong_hour_returns_after_one_lease(house: House) -> None:
    with an_hour_ahead(house):
        sent = house.send(["check"])
        house.recipient("check").next(Does.DIE_BEFORE)
        with pytest.raises(WorkerDied):
            house.work()
    house.sweep()
    assert house.state(sent, "check") == "claimed", "its worker may live, and renews it within a lease"
    house.pass_time(house.node.pace.lease + SECOND)
    house.sweep()
    assert house.state(sent, "check") == "ready"


def test_rule_13_a_channel_broken_off_ahead_is_tried_again(house: House) -> None:
    with an_hour_ahead(house):
        for number in range(FAULTS_TO_OPEN):
            house.recipient("check").next(Does.REFUSE)
            house.send(["check"], str(number))
        house.work()
    house.sweep()
    house.work()
    assert house.recipient("check").kinds()
    assert all(row["open_until"] <= house.now() for row in house.rows("SELECT open_until FROM channels"))


def test_rule_13_an_item_that_a_response_of_the_wrong_hour_hides_is_shown(house: House) -> None:
    with an_hour_ahead(house):
        sent = house.send(["inbox-a"])
        house.fetch("inbox-a", house.delivery(sent, "inbox-a"))
        assert house.shown("inbox-a") == []
    assert house.shown("inbox-a") == [house.delivery(sent, "inbox-a")]


def test_rule_13_a_recall_waits_for_no_response_that_ended_in_the_wrong_hour(house: House) -> None:
    with an_hour_ahead(house):
        sent = house.send(["inbox-a"])
        item = house.delivery(sent, "inbox-a")
        house.fetch("inbox-a", item)
        house.end_response(item)
    recall = house.recall(["inbox-a"])
    house.sweep()
    assert (house.state(sent, "inbox-a"), house.state(recall, "inbox-a")) == ("expired", "available")
    house.assert_books_close()


def test_rule_13_a_recall_waits_after_a_response_that_was_cut_off_in_the_wrong_hour_as_after_any(house: House) -> None:
    with an_hour_ahead(house):
        sent = house.send(["inbox-a"])
        house.fetch("inbox-a", house.delivery(sent, "inbox-a"))
    house.recall(["inbox-a"])
    house.pass_time(15 * MINUTE)
    house.sweep()
    assert house.state(sent, "inbox-a") == "fetched"
    house.pass_time(2 * MINUTE)
    house.sweep()
    assert house.state(sent, "inbox-a") == "expired"


def test_rule_13_a_recall_accepted_ahead_waits_no_longer_for_its_document(house: House) -> None:
    with an_hour_ahead(house):
        recall = house.recall(["check"])
    house.sweep()
    house.work()
    assert house.state(recall, "check") == "delivered"


def test_rule_13_a_jump_of_the_databases_clock_is_told_and_waited_for_too(house: House) -> None:
    """This machine's clock runs well; the store's is another one."""
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    watch = ClockWatch(wall_now, house.node.store)
    house.clock.jump(HOUR)
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "check") == "claimed"
    assert house.rows("SELECT reason FROM events WHERE kind = 'node.clock_jumped'") == [{"reason": "database +3600 s"}]
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "check") == "ready"


def test_rule_13_a_jump_is_known_until_it_is_written_down(house: House) -> None:
    """The store may be busy just then."""
    watch = ClockWatch(house.node.now)
    house.pass_time(HOUR)
    jump = watch.jumped()
    assert jump is not None
    assert watch.jumped() is jump
    watch.told()
    assert watch.jumped() is None
