"""How often one hand-over goes to PostgreSQL and waits there: every trip is a wait of an urgent document."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.channels import Channels
from gateway.exchange.deliver import deliver
from gateway.node import Node
from gateway.store import Store
from tests.support.nodes import Database, House
from tests.support.recipients import memory_kind
from tests.support.wires import Wire


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.fixture
def seconds() -> list[float]:
    """What the other process's looks at the configuration go by."""
    return [0.0]


@pytest.fixture
def worker(house: House, far_store: Store, seconds: list[float]) -> Node:
    """Another process's node, with channels of its own."""
    channels = Channels(far_store, kinds={"memory": memory_kind(house.recipients)}, clock=lambda: seconds[0])
    return replace(house.node, store=far_store, channels=channels, worker="thu/far/2")


def test_a_hand_over_takes_no_trip_more_than_its_promises_need(
    house: House, worker: Node, seconds: list[float]
) -> None:
    sent = [house.send(["check"], str(number)) for number in range(3)]
    tickets = house.due()
    with Wire(worker.store) as wire:
        deliver(worker, tickets[:2])  # statements are prepared
        before, seconds[0] = len(wire.trips()), 100.0  # what is known of the configuration is too old by far
        deliver(worker, tickets[2:])
        gone = wire.trips()[before:]
    assert [house.state(one, "check") for one in sent] == ["delivered"] * 3
    assert gone == [
        ["BEGIN", "UPDATE", "SELECT"],  # the claim, and the time
        ["WITH", "COMMIT"],  # its members and their roll-ups
        ["BEGIN", *["SELECT"] * 5, "COMMIT"],  # its members, packet, attempts, the configuration's version, the time
        ["BEGIN", "SELECT", "SELECT", "SELECT"],  # the transfer's row is locked, its members, and the time
        ["WITH", "COMMIT"],  # the attempt
        ["BEGIN", *["SELECT"] * 5],  # the chain's lock, its links, their attempts, the channel's health, the time
        ["UPDATE", "WITH", "COMMIT"],  # the transfer's counts; delivery, transfer, attempt, event, roll-ups
    ]
    house.assert_books_close()
