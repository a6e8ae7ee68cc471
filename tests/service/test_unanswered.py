"""Recipients who take a packet and do not answer hold up nobody else, and are written down when they do.

They are held by an event until everything else has happened: no verdict here depends on how fast anything is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edxml.codes import Priority
from gateway.exchange.deliver import deliver, open_hands
from gateway.model.instants import MINUTE
from gateway.store import channels
from gateway.transport.contract import Ticket
from gateway.workers.delivery import Delivery
from gateway.workers.relay import relay_once, start_relay
from tests.support.held import Held, hold
from tests.support.nodes import Database, House, build_house
from tests.support.patience import PATIENCE, until
from tests.support.recipients import Does, WorkerDied


@contextmanager
def _delivering(house: House) -> Iterator[Delivery]:
    delivery = Delivery(house.node)
    try:
        yield delivery
    finally:
        delivery.close()


@pytest.mark.parametrize("database", list(Database))
def test_others_of_a_group_are_answered_and_committed_before_one_that_is_held(house: House) -> None:
    sent = house.send(to=["check", "idem", "blind"])
    held = hold(house, "check")
    hands = open_hands(house.node, 8)
    tickets = house.due()
    assert len(tickets) == 3
    told = dict(zip([ticket.transfer_id for ticket in tickets], deliver(house.node, tickets, hands=hands), strict=True))
    assert told[house.ticket(sent, "check").transfer_id] is None
    wanted = {"check": "claimed", "idem": "delivered", "blind": "delivered"}
    until(lambda: house.states(sent) == wanted)
    assert len(house.attempts(sent, "check")) == 1, "its attempt is open"
    held.may_end.set()
    hands.close(PATIENCE)
    assert house.states(sent) == {"check": "delivered", "idem": "delivered", "blind": "delivered"}
    assert len(house.recipient("check").arrivals) == 1
    house.assert_books_close()


@pytest.mark.parametrize("database", list(Database))
def test_others_of_a_group_go_on_while_a_recipient_does_not_say_whether_it_has_one(house: House) -> None:
    doubtful = house.send(to=["check"])
    held, hands = _hold_question(house), open_hands(house.node, 8)
    sent = house.send(to=["idem", "blind"], number="2")
    tickets = house.due()
    assert len(tickets) == 3
    deliver(house.node, tickets, hands=hands)
    assert held.has_begun.is_set()
    assert house.states(sent) == {"idem": "delivered", "blind": "delivered"}
    assert house.state(doubtful, "check") == "claimed"
    assert len(house.attempts(doubtful, "check")) == 1, "nothing is begun before the answer"
    held.may_end.set()
    hands.close(PATIENCE)
    assert house.state(doubtful, "check") == "delivered"
    assert house.recipient("check").seen(doubtful.packet_id) == 1
    house.assert_books_close()


def test_an_answer_that_comes_after_the_claim_went_to_another_changes_nothing(house: House) -> None:
    sent = house.send(to=["check"])
    held, hands = _hold_question(house), open_hands(house.node, 8)
    deliver(house.node, house.due(), hands=hands)
    house.pass_time(2 * house.node.pace.lease)
    house.sweep()
    house.recipient("check").after_no = lambda: None
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        deliver(house.worker("w2").node, house.ready())
    before = house.row(sent, "check")
    assert before["state"] == "claimed"
    held.may_end.set()
    hands.close(PATIENCE)
    assert house.row(sent, "check") == before
    assert house.recipient("check").arrivals == []


def _hold_question(house: House) -> Held:
    """What was sent to `check` is in doubt from now on, and `check` is slow to say that it has not got it."""
    held = Held()
    house.recipient("check").next(Does.LOSE)
    house.work()
    house.recipient("check").after_no = held.wait
    house.pass_time(MINUTE)
    return held


def test_what_comes_of_it_late_is_what_would_have_come_of_it(house: House) -> None:
    wanted = {"check": Does.LOSE, "blind": Does.REFUSE_DOCUMENT, "pair": Does.PARK}
    agencies = [*wanted, "idem"]
    sent = house.send(to=["pair-a" if one == "pair" else one for one in agencies])
    held, hands = [hold(house, channel) for channel in wanted], open_hands(house.node, 8)
    for channel, does in wanted.items():
        house.recipient(channel).next(does, does)
    deliver(house.node, house.due(), hands=hands)
    for one in held:
        one.may_end.set()
    hands.close(PATIENCE)
    same = house.send(to=["pair-a" if one == "pair" else one for one in wanted], number="2")
    deliver(house.node, house.due())
    for agency in ("check", "blind", "pair-a"):
        late, prompt = house.row(sent, agency), house.row(same, agency)
        assert [late[name] for name in ("state", "reason", "detail")] == [
            prompt[name] for name in ("state", "reason", "detail")
        ]
        assert [one["outcome"] for one in house.attempts(sent, agency)] == [
            one["outcome"] for one in house.attempts(same, agency)
        ]
    house.assert_books_close()


def test_a_claim_that_was_taken_away_meanwhile_stays_away_and_its_receipt_is_a_fact(house: House) -> None:
    """As for any worker that is late (protocol §4): the sweep takes the claim, then the answer comes."""
    sent = house.send(to=["check", "idem"])
    held, hands = hold(house, "check"), open_hands(house.node, 8)
    deliver(house.node, house.due(), hands=hands)
    house.pass_time(2 * house.node.pace.lease)
    house.sweep()
    assert house.state(sent, "check") == "ready"
    held.may_end.set()
    hands.close(PATIENCE)
    assert house.state(sent, "check") == "delivered"
    assert len(house.recipient("check").arrivals) == 1
    house.assert_books_close()


def test_urgent_documents_go_while_every_slot_of_theirs_had_one_that_is_held(tmp_path: Path) -> None:
    with closing(build_house(tmp_path, slots=1)) as house:
        held = hold(house, "check")
        with _delivering(house):
            silent = house.send(to=["check"], priority=Priority.URGENT)
            relay_once(house.node)
            assert held.has_begun.wait(PATIENCE)
            sent = house.send(to=["idem"], number="2", priority=Priority.URGENT)
            relay_once(house.node)
            until(lambda: house.state(sent, "idem") == "delivered")
            assert house.state(silent, "check") == "claimed"
            held.may_end.set()
            until(lambda: house.state(silent, "check") == "delivered")


def test_urgent_documents_go_while_all_ordinary_slots_are_held(tmp_path: Path) -> None:
    with closing(build_house(tmp_path, slots=1, group=1)) as house:
        held = hold(house, "check")
        with _delivering(house):
            house.send(to=["check"])
            relay_once(house.node)
            assert held.has_begun.wait(PATIENCE)
            house.send(to=["blind"], number="2")  # the one hand of this process is full: its slot waits
            relay_once(house.node)
            sent = house.send(to=["idem"], number="3", priority=Priority.URGENT)
            relay_once(house.node)
            until(lambda: house.state(sent, "idem") == "delivered")
            held.may_end.set()


def test_a_worker_that_ends_waits_for_who_is_held_and_writes_it_down(house: House) -> None:
    sent = house.send(to=["check", "idem"])
    held = hold(house, "check")
    with _delivering(house) as delivery:
        assert relay_once(house.node) == 2
        until(lambda: house.state(sent, "idem") == "delivered")
        ending = threading.Thread(target=lambda: delivery.close(PATIENCE))
        ending.start()
        until(delivery.is_ending)
        held.may_end.set()
        ending.join(PATIENCE)
        assert not ending.is_alive()
    assert house.state(sent, "check") == "delivered"


@pytest.mark.parametrize("database", list(Database))
def test_a_channel_is_known_to_be_slow_while_it_is_still_silent(house: House) -> None:
    house.send(to=["check", "idem"])
    held, hands = hold(house, "check"), open_hands(house.node, 8, slow_from=0.0)
    deliver(house.node, house.due(), hands=hands)

    def is_slow() -> bool:
        with house.node.store.read() as connection:
            return channels.list_health(connection)["check"].is_slow

    until(is_slow)
    held.may_end.set()
    hands.close(PATIENCE)


class _Stuck:
    """A transport on which ordinary tickets are confirmed when it is told to, urgent ones at once."""

    takes_tickets = True

    def __init__(self, house: House) -> None:
        self._house = house
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.said: list[Ticket] = []

    def announce(self, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
        if any(ticket.queue != "deliver.urgent" for ticket in tickets):
            self.has_begun.set()
            assert self.may_end.wait(PATIENCE)
        self.said += tickets
        return tickets

    def on_wake(self, topics: Sequence[str], callback: object) -> object:
        return self._house.node.transport.on_wake(topics, callback)  # type: ignore[arg-type]


def test_urgent_tickets_are_announced_while_ordinary_ones_are_not_confirmed_yet(tmp_path: Path) -> None:
    with closing(build_house(tmp_path, database=Database.POSTGRESQL)) as house:
        house.send(to=["check", "idem"])
        transport = _Stuck(house)
        relay = start_relay(replace(house.node, transport=transport))  # type: ignore[arg-type]
        try:
            assert transport.has_begun.wait(PATIENCE)
            sent = house.send(to=["blind"], number="2", priority=Priority.URGENT)
            urgent = replace(house.ticket(sent, "blind"), queue="deliver.urgent")
            until(lambda: transport.said == [urgent])
        finally:
            transport.may_end.set()
            relay.close()
        assert len(transport.said) == 3
