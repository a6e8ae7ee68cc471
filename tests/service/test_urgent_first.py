"""Ordinary work waits, between two steps, for what is urgent, and never longer than its share of the time.

The clock by which that share is counted stands still unless a test moves it, so nothing here depends on how fast
anything is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from adapters.contract import HandOver
from edxml.codes import Priority
from gateway.exchange.deliver import deliver
from gateway.exchange.examine import prepare
from gateway.exchange.urgency import URGENT_COMES
from gateway.store.blobs import BlobFolder, Put
from gateway.workers.delivery import Delivery
from gateway.workers.precedence import Precedence
from gateway.workers.relay import Relay, relay_once
from tests.support.nodes import Database, House, build_house
from tests.support.patience import PATIENCE, until


@dataclass
class _Standing:
    """Seconds, on a clock that stands."""

    told: float = 1024.0

    def __call__(self) -> float:
        return self.told

    def pass_on(self) -> float:
        """A second passes."""
        self.told += 1.0
        return self.told


@contextmanager
def _knowing(house: House, clock: _Standing) -> Iterator[Precedence]:
    with closing(Precedence(house.node.transport, places=1, now=clock)) as precedence:
        yield precedence


@contextmanager
def _having_known(house: House, clock: _Standing) -> Iterator[Precedence]:
    """Something urgent came lately, and has gone."""
    with _knowing(house, clock) as precedence:
        with precedence.urgent():
            pass
        yield precedence


def _giving_way(precedence: Precedence) -> threading.Thread:
    """A thread that gives way, already waiting."""
    thread = threading.Thread(target=precedence.give_way)
    thread.start()
    until(lambda: precedence.waiting == 1)
    return thread


def _has_gone_on(thread: threading.Thread) -> bool:
    thread.join(PATIENCE)
    return not thread.is_alive()


def test_ordinary_work_waits_until_what_is_urgent_is_done(house: House) -> None:
    with _knowing(house, _Standing()) as precedence:
        precedence.give_way()  # nothing is urgent
        with precedence.urgent():
            waiting = _giving_way(precedence)
        assert _has_gone_on(waiting)
        assert precedence.waiting == 0


def test_it_waits_from_the_word_of_an_acceptance_on_for_a_moment(house: House) -> None:
    clock = _Standing()
    with _knowing(house, clock) as precedence:
        assert precedence.pause <= 0
        house.send(to=["idem"], priority=Priority.URGENT)
        until(lambda: precedence.pause > 0)
        with precedence.urgent():
            assert precedence.pause > 0
        assert precedence.pause <= 0, "it came here: the next one is told of by a word of its own"
        house.send(to=["idem"], number="2", priority=Priority.URGENT)
        until(lambda: precedence.pause > 0)
        clock.told += 0.125
        assert precedence.pause <= 0, "it went to another process"


def test_an_ordinary_document_says_no_such_word(house: House) -> None:
    heard: list[str] = []
    with closing(house.node.transport.on_wake([URGENT_COMES, "relay"], heard.append)):
        house.send(to=["idem"])
        until(lambda: "relay" in heard)
        assert heard == ["relay"]
        house.send(to=["idem"], number="2", priority=Priority.URGENT)
        until(lambda: heard.count("relay") == 2)
        assert [word for word in heard if word != URGENT_COMES] == ["relay", "relay"]
        assert heard[:2] == ["relay", URGENT_COMES], "before anything is there"


class _Waiting(BlobFolder):
    """Writes nothing before the word was heard."""

    heard: ClassVar[threading.Event]

    def put_many(self, puts: Sequence[Put]) -> None:
        assert self.heard.wait(PATIENCE), "the word comes after the bytes"
        super().put_many(puts)


def test_the_word_is_said_before_the_bytes_are_on_disk(house: House) -> None:
    _Waiting.heard = threading.Event()
    blobs = house.node.store.blobs
    waiting = _Waiting(blobs.root, reserve=blobs.reserve, place=blobs.place)
    node = replace(house.node, store=replace(house.node.store, blobs=waiting))
    with closing(node.transport.on_wake([URGENT_COMES], lambda _topic: _Waiting.heard.set())):
        prepared = prepare(node, house.submission(house.packet(["idem"], priority=Priority.URGENT)))
    blobs.check(prepared.digest)


def test_it_waits_for_no_more_than_its_share_of_the_time(house: House) -> None:
    clock = _Standing()
    with _knowing(house, clock) as precedence, precedence.urgent():
        assert precedence.pause == pytest.approx(0.3)
        waiting = _giving_way(precedence)
        clock.told += 0.5
        assert _has_gone_on(waiting), "though the urgent one is still under way"
        assert precedence.pause <= 0
        precedence.give_way()
        clock.told += 0.25
        assert precedence.pause == pytest.approx(0.175), "0.2 s too much, and 0.375 s more for 0.25 s of work"
        clock.told += 60.0
        assert precedence.pause == pytest.approx(0.3)


def test_who_waits_goes_on_when_the_process_ends(house: House) -> None:
    with _knowing(house, _Standing()) as precedence, precedence.urgent():
        waiting = _giving_way(precedence)
        precedence.close()
        assert _has_gone_on(waiting)
        precedence.give_way()


class _Steps:
    """Threads that take an ordinary step each and stay in it until the test lets them go."""

    def __init__(self, precedence: Precedence) -> None:
        self._precedence = precedence
        self._goes_on = threading.Event()
        self._inside = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        thread = threading.Thread(target=self._run)
        thread.start()
        self._threads.append(thread)

    def comes_in(self) -> bool:
        """Wait until one more is in its step."""
        return self._inside.acquire(timeout=PATIENCE)

    def end(self) -> None:
        self._goes_on.set()
        for thread in self._threads:
            assert _has_gone_on(thread)

    def _run(self) -> None:
        with self._precedence.step():
            self._inside.release()
            self._goes_on.wait(2 * PATIENCE)  # longer than whoever waits for `comes_in`


@contextmanager
def _steps(precedence: Precedence) -> Iterator[_Steps]:
    steps = _Steps(precedence)
    try:
        yield steps
    finally:
        steps.end()


def test_few_ordinary_steps_are_under_way_at_once_when_something_urgent_came_lately(house: House) -> None:
    clock = _Standing()
    with _having_known(house, clock) as precedence:
        with _steps(precedence) as steps:
            steps.begin()
            assert steps.comes_in()
            steps.begin()
            until(lambda: precedence.queued == 1)
            assert precedence.waiting == 0, "whoever waits for a place does not use up the share"
        assert steps.comes_in(), "the place was free again"
        clock.told += 10.0
        with _steps(precedence) as steps:
            steps.begin()
            steps.begin()
            assert steps.comes_in()
            assert steps.comes_in(), "nothing urgent came for long"
            assert precedence.queued == 0


def test_nobody_waits_longer_for_a_place_than_a_second(house: House) -> None:
    clock = _Standing()
    with _having_known(house, clock) as precedence, _steps(precedence) as steps:
        steps.begin()
        assert steps.comes_in()
        steps.begin()
        until(lambda: precedence.queued == 1)
        clock.pass_on()
        assert steps.comes_in(), "the one before it is still in its step"


def test_who_has_a_place_at_last_gives_way_before_the_step(house: House) -> None:
    with _having_known(house, _Standing()) as precedence, _steps(precedence) as before, _steps(precedence) as after:
        before.begin()
        assert before.comes_in()
        after.begin()
        until(lambda: precedence.queued == 1)
        with precedence.urgent():
            before.end()
            until(lambda: precedence.waiting == 1)
        assert after.comes_in()


def test_who_waits_for_a_place_goes_on_when_the_process_ends(house: House) -> None:
    with _having_known(house, _Standing()) as precedence, _steps(precedence) as steps:
        steps.begin()
        steps.begin()
        until(lambda: precedence.queued == 1)
        precedence.close()
        assert steps.comes_in()
        assert steps.comes_in()


def test_a_delivery_gives_way_between_its_commits_and_in_none_of_them(house: House) -> None:
    sent = house.send(to=["check", "idem"])
    seen: list[tuple[str, int]] = []

    def look() -> None:
        with house.node.store.write():  # nobody else is writing: on SQLite there is one writer
            pass
        seen.append((house.state(sent, "check"), len(house.attempts(sent, "check"))))

    @contextmanager
    def step() -> Iterator[None]:
        look()
        yield
        look()

    deliver(house.node, house.due(), give_way=look, step=step)
    claimed, begun = [("ready", 0), ("claimed", 0)], [("claimed", 0), ("claimed", 1)]
    looked_and_staged = [("claimed", 0)] * 4  # before each of the two
    assert seen == [*claimed, *looked_and_staged, *begun, ("claimed", 1), ("claimed", 1), ("delivered", 1)]
    assert house.states(sent) == {"check": "delivered", "idem": "delivered"}


def test_ordinary_tickets_are_not_claimed_while_an_urgent_one_is_under_way(tmp_path: Path) -> None:
    clock, while_staged = _Standing(), list[float]()
    with closing(build_house(tmp_path)) as house, _knowing(house, clock) as precedence:
        delivery = Delivery(house.node, precedence)
        try:
            with precedence.urgent():
                ordinary = house.send(to=["check"])
                relay_once(house.node)
                until(lambda: precedence.waiting == 1)
                assert house.state(ordinary, "check") == "ready"
                urgent = house.send(to=["idem"], number="2", priority=Priority.URGENT)
                relay_once(house.node)
                until(lambda: house.state(urgent, "idem") == "delivered")
                assert house.state(ordinary, "check") == "ready"
            until(lambda: clock.pass_on() and house.state(ordinary, "check") == "delivered")
            house.recipient("idem").during_stage = lambda _: while_staged.append(clock.pass_on() and precedence.pause)
            house.send(to=["idem"], number="3", priority=Priority.URGENT)
            relay_once(house.node)
            until(lambda: while_staged)
            assert while_staged[0] > 0, "an urgent group says by itself that it is under way"
        finally:
            delivery.close()


def test_between_two_hand_overs_of_a_group_what_is_urgent_is_waited_for(tmp_path: Path) -> None:
    clock, begun = _Standing(), list[str]()
    with closing(build_house(tmp_path)) as house, _knowing(house, clock) as precedence, ExitStack() as urgency:
        delivery = Delivery(house.node, precedence)

        def begin(item: HandOver) -> None:
            if not begun:
                urgency.enter_context(precedence.urgent())
            begun.append(item.key)

        house.recipient("check").during = house.recipient("idem").during = begin
        try:
            sent = house.send(to=["check", "idem"])
            relay_once(house.node)
            until(lambda: precedence.waiting == 2)  # the group, and the one hand that it has
            assert len(begun) == 1
            assert house.states(sent) == {"check": "claimed", "idem": "claimed"}
            urgency.close()
            until(lambda: clock.pass_on() and house.states(sent) == {"check": "delivered", "idem": "delivered"})
            assert len(begun) == 2
        finally:
            delivery.close()


@pytest.mark.parametrize("database", [Database.POSTGRESQL])
def test_an_ordinary_round_of_the_relay_waits_and_an_urgent_one_does_not(house: House) -> None:
    clock = _Standing()
    with _knowing(house, clock) as precedence, ExitStack() as closing_all, ExitStack() as urgency:
        closing_all.callback(Delivery(house.node).close)
        urgency.enter_context(precedence.urgent())  # from the relay's first round on
        closing_all.callback(Relay(house.node, precedence).close)
        ordinary = house.send(to=["check"])
        until(lambda: precedence.waiting == 1)
        urgent = house.send(to=["idem"], number="2", priority=Priority.URGENT)
        until(lambda: house.state(urgent, "idem") == "delivered")
        assert house.state(ordinary, "check") == "ready"
        urgency.close()
        until(lambda: clock.pass_on() and house.state(ordinary, "check") == "delivered")
