"""Rule 13 of the protocol: whatever is done to the store's clock, a no of `find` counts only when nothing can land any
more; and no doubt lasts longer than its hand-over could, where this machine's own clock tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from gateway.exchange.submission import Answer
from gateway.model.instants import DAY, HOUR, MINUTE, SECOND, Instant
from gateway.store import open_store
from gateway.store.reckoning import LOOKS_APART
from tests.support.late import land_late
from tests.support.nodes import Does, House, WorkerDied
from tests.support.stores import HandClock

_LOOK = LOOKS_APART - SECOND
_LASTS = 30 * SECOND
"""Sending limit and settle time of the checkable recipient."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The clocks of another machine, which was started on another day."""

    here: HandClock
    boot: str = "another machine"

    def now(self) -> Instant:
        return self.here.now()

    def boot_now(self) -> int:
        return self.here.boot_now() + DAY


@pytest.fixture
def elsewhere(house: House) -> Iterator[House]:
    """The same node as a process on another machine sees it."""
    store = open_store(
        house.root.parent / "data", node="thu", database=house.database, clock=Elsewhere(house.clock), reserve=1
    )
    yield replace(house, node=replace(house.node, store=store))
    store.close()


def begin_and_die(house: House) -> Answer:
    """A worker commits an attempt, and dies before the first byte is out; whatever it sent may land later."""
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    return sent


def let_time_pass(house: House, micros: int) -> None:
    """As a process sees it that looks at the store's clock all the time."""
    for _ in range(-(-micros // _LOOK)):
        house.pass_time(_LOOK)
        with house.node.store.read() as connection:
            house.node.store.now(connection)


def ask(house: House) -> None:
    """The next worker takes it and asks the recipient."""
    let_time_pass(house, house.node.pace.lease)
    with house.node.store.write() as connection:  # a lease of whatever clock is over
        connection.exec_driver_sql("UPDATE transfers SET lease_until = 0 WHERE state = 'claimed'")
    house.sweep()
    house.work(house.ready())


def assert_it_is_waited_for(house: House, sent: Answer) -> None:
    """A no does not count; then it lands, and is found."""
    house.work(house.ready())
    assert house.state(sent, "check") == "ready"
    assert house.recipient("check").arrivals == []
    land_late(house, "check")
    house.run(until=HOUR, patience=60)
    assert house.recipient("check").seen(sent.packet_id) == 1
    assert house.state(sent, "check") == "delivered"
    house.assert_books_close()


@pytest.fixture
def slow(house: House) -> House:
    """Its checkable recipient may take longer than a lease: a worker's successor asks while the first is at it."""
    house.recipient("check").sending_limit *= 60
    return house


def test_rule_13_a_clock_that_was_an_hour_behind_makes_nothing_look_over(slow: House) -> None:
    """The database's clock is behind when the attempt is committed and is set right: `over_by` is long past."""
    slow.clock.jump(-HOUR)
    sent = begin_and_die(slow)
    slow.clock.jump(HOUR)
    ask(slow)
    assert_it_is_waited_for(slow, sent)


def test_rule_13_a_clock_that_jumps_ahead_makes_nothing_look_over(slow: House) -> None:
    sent = begin_and_die(slow)
    slow.clock.jump(HOUR)
    ask(slow)
    assert_it_is_waited_for(slow, sent)


def test_rule_13_a_doubt_of_the_wrong_hour_lasts_no_longer_than_any_other(house: House) -> None:
    house.clock.jump(HOUR)
    sent = begin_and_die(house)
    house.clock.jump(-HOUR)
    house.run(until=5 * MINUTE)
    assert house.recipient("check").kinds() == ["new"]
    assert house.state(sent, "check") == "delivered"
    house.assert_books_close()


def test_rule_13_what_another_machine_sends_counts_from_when_the_clock_was_set_right(
    slow: House, elsewhere: House
) -> None:
    let_time_pass(elsewhere, 2 * HOUR)
    slow.clock.jump(-HOUR)
    let_time_pass(elsewhere, SECOND)
    sent = begin_and_die(slow)
    slow.clock.jump(HOUR)
    ask(elsewhere)
    assert_it_is_waited_for(elsewhere, sent)


def test_rule_13_what_another_machine_sends_counts_from_when_somebody_looked_again(
    slow: House, elsewhere: House
) -> None:
    """This process stood still while the clock was wrong: it cannot know that it was."""
    let_time_pass(elsewhere, 2 * HOUR)
    slow.clock.jump(-HOUR)
    sent = begin_and_die(slow)
    slow.pass_time(LOOKS_APART + SECOND)
    slow.clock.jump(HOUR)
    ask(elsewhere)
    assert_it_is_waited_for(elsewhere, sent)


def test_rule_13_what_another_machine_sent_is_over_by_a_clock_that_ran_evenly(house: House, elsewhere: House) -> None:
    let_time_pass(elsewhere, MINUTE)
    sent = begin_and_die(house)
    let_time_pass(elsewhere, house.node.pace.lease + _LASTS)
    elsewhere.sweep()
    elsewhere.work()
    assert elsewhere.state(sent, "check") == "delivered"


def test_rule_13_what_another_machine_sends_is_over_once_its_time_was_waited_out(
    house: House, elsewhere: House
) -> None:
    house.clock.jump(-HOUR)
    sent = begin_and_die(house)
    house.clock.jump(HOUR)
    ask(elsewhere)
    assert elsewhere.state(sent, "check") == "ready"
    elsewhere.run(until=2 * MINUTE)
    assert elsewhere.state(sent, "check") == "delivered"
    assert elsewhere.recipient("check").kinds() == ["new"]


def test_rule_5_a_no_that_was_said_while_an_attempt_was_open_does_not_count_after_it(house: House) -> None:
    """Asked before the end, heard after it: in between the old bytes landed."""
    recipient = house.recipient("check")
    sent = house.send(["check"])
    recipient.next(Does.LOSE)
    house.work()
    house.pass_time(_LASTS - SECOND)

    def lands_and_ends() -> None:
        land_late(house, "check")
        house.pass_time(2 * SECOND)

    recipient.after_no = lands_and_ends
    house.work(house.ready())
    assert house.state(sent, "check") == "ready"
    assert recipient.seen(sent.packet_id) == 1
    house.run(until=5 * MINUTE)
    assert recipient.seen(sent.packet_id) == 1
    assert house.state(sent, "check") == "delivered"


def test_rule_7_expiry_spares_what_a_jump_ahead_makes_look_over(slow: House) -> None:
    """A jump of a month: nothing that may still land is closed as one that did not."""
    sent = begin_and_die(slow)
    slow.clock.jump(31 * DAY)
    ask(slow)
    slow.sweep()
    assert slow.state(sent, "check") == "ready"
    slow.pass_time(60 * _LASTS)
    slow.sweep()
    assert slow.state(sent, "check") == "expired"
