"""How often a fetch and a confirmation go to PostgreSQL and wait there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.exchange.collect import Confirm, Fetch, Known, Served, confirm, fetch
from gateway.identity import Caller
from gateway.model.errors import NotFound
from gateway.model.instants import new_id
from gateway.model.states import DeliveryState
from tests.support.nodes import Database, House
from tests.support.wires import Wire

_BEGUN = [["BEGIN", "SELECT", "SELECT", "SELECT"], ["WITH", "COMMIT"]]  # locked, the items, the time; all changes
_KNOWN = [["BEGIN", "SELECT", "SELECT", "SELECT", "SELECT"], ["WITH", "COMMIT"]]  # …, links and attempts, …
_ASKED = [["BEGIN", "SELECT", "SELECT"], ["SELECT", "SELECT"], ["WITH", "COMMIT"]]  # who they are, before


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def _served(house: House, far: House, known: Known, caller: Caller, round_: int, count: int) -> list[Served]:
    numbers = [f"{round_}{number}" for number in range(count)]
    items = [house.delivery(house.send(["inbox-a"], number), "inbox-a") for number in numbers]
    served = fetch(far.node, [Fetch(caller=caller, delivery_id=item) for item in items], known)
    return [one for one in served if isinstance(one, Served)]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("is_known", [True, False], ids=["fetched here", "fetched elsewhere"])
def test_a_fetch_takes_two_trips_and_so_does_its_confirmation(
    house: House, far: House, count: int, is_known: bool
) -> None:
    known, caller = Known(), house.caller("inbox-a")
    with Wire(far.node.store) as wire:
        for round_ in range(2):  # the first one prepares
            before = len(wire.trips())
            served = _served(house, far, known, caller, round_, count)
            between = len(wire.trips())
            said = [Confirm(caller=caller, delivery_id=one.item.delivery_id) for one in served]
            states = confirm(far.node, said, known if is_known else Known())
        gone = wire.trips()
    assert states == (DeliveryState.DELIVERED,) * count
    assert gone[before:between] == _BEGUN
    assert gone[between:] == (_KNOWN if is_known else _ASKED)
    house.assert_books_close()


@pytest.mark.parametrize("database", list(Database))
def test_what_was_known_and_is_not_there_any_more_is_unknown_to_its_confirmation(house: House) -> None:
    """As when its month was put away between the two."""
    known, caller = Known(), house.caller("inbox-a")
    item = house.delivery(house.send(["inbox-a"]), "inbox-a")
    (served,) = fetch(house.node, [Fetch(caller=caller, delivery_id=item)], known)
    assert isinstance(served, Served)
    gone = replace(served.item, delivery_id=new_id(), chain_id=new_id())
    elsewhere = replace(served.item, delivery_id=new_id())
    known.note([gone, elsewhere])
    named = [item, gone.delivery_id, elsewhere.delivery_id]
    said = [Confirm(caller=caller, delivery_id=one) for one in named]
    state, *refused = confirm(house.node, said, known)
    assert state is DeliveryState.DELIVERED
    assert [getattr(why, "reason", None) for why in refused] == ["inbox.unknown_item"] * 2
    assert all(isinstance(why, NotFound) for why in refused)


def test_of_many_that_were_fetched_the_earliest_are_forgotten(house: House) -> None:
    known, caller = Known(most=2), house.caller("inbox-a")
    items = [house.delivery(house.send(["inbox-a"], str(number)), "inbox-a") for number in range(3)]
    for item in items:
        fetch(house.node, [Fetch(caller=caller, delivery_id=item)], known)
    assert known.of(items[:1]) is None
    assert known.of(items) is None
    assert set(known.of(items[1:]) or ()) == set(items[1:])
    said = [Confirm(caller=caller, delivery_id=item) for item in items]
    assert confirm(house.node, said, known) == (DeliveryState.DELIVERED,) * 3
