"""How often a round of the relay goes to PostgreSQL and waits there: every trip is a wait of an urgent document."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edxml.codes import Priority
from gateway.workers.relay import relay_once
from tests.support.nodes import Database, House
from tests.support.voices import Voice
from tests.support.wires import Wire


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.mark.parametrize("urgent_alone", [False, True])
def test_a_relay_looks_in_one_trip_and_picks_in_two_more(far: House, urgent_alone: bool) -> None:
    relay = replace(far.node, transport=Voice())  # type: ignore[arg-type]
    with Wire(far.node.store) as wire:
        for number in ("prepares", "1"):
            far.send(["check", "idem"], number, priority=Priority.URGENT)
            before = len(wire.trips())
            assert relay_once(relay, urgent_alone=urgent_alone) == 2
            assert relay_once(relay, urgent_alone=urgent_alone) == 0
        gone = wire.trips()[before:]
    look = [
        "BEGIN",
        *(["SELECT"] if urgent_alone else ["WITH", "SELECT"]),  # what may go; and when something is due next
        "SELECT",  # what is under way
        "SELECT",  # the time
        "COMMIT",
    ]
    lock = ["BEGIN", "SELECT", "SELECT", "SELECT"]  # channels, what is under way there, the time
    assert gone == [look, lock, ["WITH", "COMMIT"], look]
