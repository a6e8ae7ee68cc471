"""The connection to PostgreSQL breaks at a commit of the relay: what it picked does not lie for a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from edxml.codes import Priority
from gateway.node import Node
from gateway.store import open_store
from gateway.transport.contract import Ticket
from gateway.workers.relay import Relay, relay_once
from tests.support.cut_commits import Cut, CutCommits
from tests.support.nodes import Database, House
from tests.support.patience import until
from tests.support.voices import Voice


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.fixture
def cable(house: House) -> Iterator[CutCommits]:
    with CutCommits(house.database) as made:
        yield made


@pytest.fixture
def far(house: House, cable: CutCommits) -> Iterator[Node]:
    """The same node, as a process whose connections go by the cable."""
    store = open_store(house.root.parent / "data", node="thu", database=cable.url, clock=house.clock, reserve=1)
    yield replace(house.node, store=store)
    store.close()


@pytest.mark.parametrize("urgent_alone", [False, True])
@pytest.mark.parametrize("cut", Cut)
def test_a_pick_of_which_nobody_was_told_is_announced_at_once(
    house: House, far: Node, cable: CutCommits, cut: Cut, urgent_alone: bool
) -> None:
    """Whether it was committed or not: no ticket of it went out."""
    sent = house.send(["check", "idem"], priority=Priority.URGENT)
    voice = Voice()
    cable.cut(cut)
    assert relay_once(replace(far, transport=voice), urgent_alone=urgent_alone) == 2  # type: ignore[arg-type]
    assert cable.cuts == 1
    tickets = {(ticket.transfer_id, ticket.turn) for ticket in voice.said}
    assert tickets == {(one.transfer_id, one.turn) for one in (house.ticket(sent, "check"), house.ticket(sent, "idem"))}
    assert len(voice.said) == 2
    assert house.rows("SELECT count(announced_at) AS n FROM transfers") == [{"n": 2}]


def test_what_another_relay_announced_meanwhile_is_left_to_it(house: House, far: Node, cable: CutCommits) -> None:
    house.send(["check"], "1")
    assert relay_once(replace(house.node, transport=Voice())) == 1  # type: ignore[arg-type]
    house.pass_time(1)
    house.send(["check"], "2")
    cable.cut(Cut.ANSWER)
    assert relay_once(replace(far, transport=Voice())) == 1  # type: ignore[arg-type]
    assert cable.cuts == 1


def test_what_could_not_be_put_back_is_put_back_later(house: House, far: Node, cable: CutCommits) -> None:
    """Nobody took the ticket, and the store was away when that was to be written down."""
    sent = house.send(["check"])
    heard: list[Ticket] = []
    cable.cut(Cut.COMMIT, 2)  # the first is the pick's
    others = far.transport.listen("deliver.slow", 1, lambda _group: None)  # somebody listens, but to another queue
    with closing(others), closing(Relay(far)):
        until(lambda: cable.cuts)
        with closing(far.transport.listen("deliver.normal", 1, heard.extend)):
            until(lambda: heard)
    assert [ticket.transfer_id for ticket in heard] == [house.ticket(sent, "check").transfer_id]
