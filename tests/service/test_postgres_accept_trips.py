"""How often an acceptance goes to PostgreSQL and waits there: every trip is a wait of the sender's."""

from __future__ import annotations

import pytest

from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer
from tests.support.nodes import Database, House
from tests.support.wires import Wire

_KEYS = ["BEGIN", "INSERT", "SELECT", "SELECT", "SELECT"]  # submissions, documents, channels, the time
_WRITTEN = [["WITH"], ["INSERT", "COMMIT"]]  # all rows; the roll-ups, which everybody waits for, with the commit


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.mark.parametrize("count", [1, 3])
def test_new_documents_are_accepted_in_three_trips(house: House, far: House, count: int) -> None:
    with Wire(far.node.store) as wire:
        for round_ in range(2):  # the first one prepares
            bodies = [far.packet(["check", "inbox-a"], f"{round_}{number}") for number in range(count)]
            group = [prepare(far.node, far.submission(body)) for body in bodies]
            before = len(wire.trips())
            outcomes = accept(far.node, group)
        gone = wire.trips()[before:]
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert gone == [_KEYS, *_WRITTEN]
    house.assert_books_close()


def test_what_is_about_a_known_document_costs_two_trips_more(house: House, far: House) -> None:
    """Its chains are made where they are missing, then locked and read with their attempts."""
    with Wire(far.node.store) as wire:
        for number in ("0", "1"):
            far.send(["check"], number)
            prepared = prepare(far.node, far.submission(far.recall_packet(["check"], number)))
            before = len(wire.trips())
            (outcome,) = accept(far.node, [prepared])
        gone = wire.trips()[before:]
    assert isinstance(outcome, Answer)
    assert gone[:4] == [_KEYS, ["INSERT", "SELECT"], ["SELECT", "SELECT", "SELECT"], ["WITH"]]
    house.assert_books_close()


def test_a_key_of_the_senders_costs_one_trip_more_and_the_time_another(house: House, far: House) -> None:
    with Wire(far.node.store) as wire:
        for number in ("0", "1", "2"):  # the last one prepares nothing
            submission = far.submission(far.packet(["check"], number), idempotency_key=f"khoa-{number}")
            prepared = prepare(far.node, submission)
            before = len(wire.trips())
            (outcome,) = accept(far.node, [prepared])
        gone = wire.trips()[before:]
    assert isinstance(outcome, Answer)
    assert gone == [["BEGIN", "INSERT", "SELECT"], ["INSERT", "SELECT", "SELECT"], ["SELECT"], *_WRITTEN]
    house.assert_books_close()
