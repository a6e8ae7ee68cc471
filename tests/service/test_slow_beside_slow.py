"""Channels that are known to be slow hold up neither each other nor what else goes to them.

They are held by an event until everything else has happened: no verdict here depends on how fast anything is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edxml.codes import Priority
from gateway.workers.delivery import Delivery
from gateway.workers.relay import Relay
from tests.support.held import Held
from tests.support.nodes import House, build_house
from tests.support.patience import PATIENCE, until


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[House]:
    """A house whose every channel is slow, with two slots for each way."""
    with closing(build_house(tmp_path, slots=2)) as house:
        with house.node.store.write() as connection:
            connection.exec_driver_sql("UPDATE channels SET is_slow = 1")
        yield house


def _work(house: House, stack: ExitStack) -> None:
    """Relay and deliver until `stack` ends."""
    stack.callback(Delivery(house.node).close)
    stack.callback(Relay(house.node).close)


def test_all_that_a_silent_channel_may_have_is_in_its_hands_and_others_are_served(slow: House) -> None:
    begun, may_end = threading.Semaphore(0), threading.Event()

    def say_nothing(_item: object) -> None:
        begun.release()
        assert may_end.wait(2 * PATIENCE)

    slow.recipient("check").during = say_nothing
    (row,) = slow.rows("SELECT in_flight FROM channels WHERE id = 'check'")
    in_flight = int(row["in_flight"])
    assert in_flight > 2, "more than there are slots"
    silent = [slow.send(to=["check"], number=str(number)) for number in range(in_flight + 1)]
    with ExitStack() as stack:
        _work(slow, stack)
        stack.callback(may_end.set)
        for _ in range(in_flight):
            assert begun.acquire(timeout=PATIENCE), "beside each other"
        sent = slow.send(to=["idem", "blind"], number="77")
        until(lambda: slow.states(sent) == {"idem": "delivered", "blind": "delivered"})
        states = sorted(slow.state(one, "check") for one in silent)
        assert states == ["claimed"] * in_flight + ["ready"], "never more than its limit"
        may_end.set()
        until(lambda: {slow.state(one, "check") for one in silent} == {"delivered"})
    slow.assert_books_close()


def test_one_that_is_silent_while_its_document_is_staged_leaves_a_slot_to_others(slow: House) -> None:
    held = Held()
    slow.recipient("check").during_stage = held.wait
    silent = slow.send(to=["check"])
    with ExitStack() as stack:
        _work(slow, stack)
        stack.callback(held.may_end.set)
        assert held.has_begun.wait(PATIENCE)
        sent = slow.send(to=["idem"], number="2")
        until(lambda: slow.state(sent, "idem") == "delivered")
        assert slow.state(silent, "check") == "claimed"
        held.may_end.set()
        until(lambda: slow.state(silent, "check") == "delivered")


def test_an_urgent_document_has_the_next_place_of_a_slow_channel(slow: House) -> None:
    """Before all that wait for one, whatever came first (protocol, rule 3)."""
    with slow.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE channels SET in_flight = 1 WHERE id = 'check'")
    slow.node.channels.refresh()
    held, order = Held(), list[str]()

    def note(item: object) -> None:
        order.append("urgent" if item.urgent else "ordinary")
        held.wait()

    slow.recipient("check").during = note
    sent = [slow.send(to=["check"], number=str(number)) for number in range(3)]
    with ExitStack() as stack:
        _work(slow, stack)
        stack.callback(held.may_end.set)
        assert held.has_begun.wait(PATIENCE)
        sent.append(slow.send(to=["check"], number="77", priority=Priority.URGENT))
        held.may_end.set()
        until(lambda: {slow.state(one, "check") for one in sent} == {"delivered"})
    assert order == ["ordinary", "urgent", "ordinary", "ordinary"]
