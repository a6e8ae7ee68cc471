"""How often one hand-over goes to PostgreSQL and waits there: every trip is a wait of an urgent document."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from sqlalchemy import Select

from gateway.channels import Channels
from gateway.exchange.deliver import deliver
from gateway.exchange.rehearse import rehearse_hand_over
from gateway.node import Node
from gateway.store import Store, statements
from tests.support.nodes import Database, House
from tests.support.recipients import memory_kind
from tests.support.wires import Wire

_TRIPS: Final = [
    ["BEGIN", "UPDATE", "SELECT"],  # the claim, and the time
    ["WITH", "COMMIT"],  # its members and their roll-ups
    ["BEGIN", *["SELECT"] * 5, "COMMIT"],  # its members, packet, attempts, the configuration's version, the time
    ["BEGIN", "SELECT", "SELECT", "SELECT"],  # the transfer's row is locked, its members, and the time
    ["WITH", "COMMIT"],  # the attempt
    ["BEGIN", *["SELECT"] * 5],  # the chain's lock, its links, their attempts, the channel's health, the time
    ["UPDATE", "WITH", "COMMIT"],  # the transfer's counts; delivery, transfer, attempt, event, roll-ups
]


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
    assert gone == _TRIPS
    house.assert_books_close()


def test_the_first_hand_over_of_a_rehearsed_process_goes_as_often_and_compiles_what_it_writes(
    house: House, worker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_remembered", {})  # as in a process that has done nothing yet
    sent = house.send(["check"])
    tickets = house.due()
    with Wire(worker.store) as wire:
        rehearse_hand_over(worker)
        before, known = len(wire.trips()), set(statements._remembered)
        deliver(worker, tickets)
        gone = wire.trips()[before:]
    assert house.state(sent, "check") == "delivered"
    assert [trip for trip in gone if trip] == _TRIPS, "and some that only prepare what is written"
    assert not [asked for _, asked, *_ in statements._remembered.keys() - known if isinstance(asked, Select)]
    house.assert_books_close()


def _rows(house: House) -> dict[str, list[str]]:
    """All that the database holds, by table."""
    tables = house.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()")
    return {table["name"]: sorted(map(repr, house.rows(f"SELECT * FROM {table['name']}"))) for table in tables}


def test_a_rehearsal_leaves_no_trace(house: House, worker: Node) -> None:
    house.send(["check"])
    tickets, before = house.due(), _rows(house)
    rehearse_hand_over(worker)
    assert _rows(house) == before
    deliver(worker, tickets)
    assert _rows(house) != before
