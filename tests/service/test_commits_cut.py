"""The connection to PostgreSQL breaks at a hop's commit: done or undone, a document is never there or sent twice.

Nobody can tell which it was: the hop says that the store is busy, and whoever called comes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.exchange import collect
from gateway.exchange.claims import claim_group
from gateway.exchange.deliver import deliver
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer
from gateway.exchange.sweep import sweep_once
from gateway.exchange.take_in import Unprepared, take_in
from gateway.model.errors import Conflict, StoreUnsure
from gateway.model.instants import HOUR, MINUTE
from gateway.store import open_store
from tests.support.cut_commits import Cut, CutCommits
from tests.support.nodes import Database, Does, House, accepted, document_id, organ
from tests.support.packets import build_status

CUTS = [pytest.param(Cut.COMMIT, marks=pytest.mark.long), Cut.ANSWER]
SPREAD = {("check", 1, Cut.ANSWER), ("blind", 2, Cut.ANSWER), ("idem", 3, Cut.ANSWER), ("blind", 3, Cut.COMMIT)}
"""Of the hand-overs below: the others run with the long tests."""
HAND_OVERS = [
    pytest.param(
        channel, nth, cut, id=f"{channel}-{what}-{cut.name.lower()}",
        marks=() if (channel, nth, cut) in SPREAD else pytest.mark.long,
    )
    for channel in ("idem", "check", "blind")
    for nth, what in ((1, "claim"), (2, "attempt"), (3, "conclusion"))
    for cut in Cut
]  # fmt: skip


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.fixture
def cable(house: House) -> Iterator[CutCommits]:
    with CutCommits(house.database) as made:
        yield made


@pytest.fixture
def far(house: House, cable: CutCommits) -> Iterator[House]:
    """The same node, as a process whose connections go by the cable."""
    store = open_store(house.root.parent / "data", node="thu", database=cable.url, clock=house.clock, reserve=1)
    yield replace(house, node=replace(house.node, store=store, worker="thu/far/2"))
    store.close()


def count(house: House, table: str) -> int:
    return int(house.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def told_unsure(why: object) -> bool:
    """Nobody may say that it was certainly undone: it was done."""
    return isinstance(why, StoreUnsure) and why.code == "store.unsure"


@pytest.mark.parametrize("cut", CUTS)
def test_a_packet_whose_acceptance_was_cut_is_there_once(house: House, far: House, cable: CutCommits, cut: Cut) -> None:
    body = house.packet(["inbox-a", "check"])
    cable.cut(cut)
    first = far.submit(body)
    assert cable.cuts == 1
    assert told_unsure(first)
    again = accepted(far.submit(body))
    assert again.is_repeat == (cut is Cut.ANSWER)
    assert (count(house, "packets"), count(house, "deliveries"), count(house, "documents")) == (1, 2, 1)
    house.run()
    assert house.recipient("check").seen(again.packet_id) == 1
    house.assert_books_close()


@pytest.mark.parametrize("cut", CUTS)
def test_of_a_group_whoever_was_accepted_before_the_cut_is_told_so(
    house: House, far: House, cable: CutCommits, cut: Cut
) -> None:
    """Two packets of one document are two commits: the second one's cut is nothing to the first."""
    recall = house.recall_packet(["check"])
    group = [prepare(far.node, far.submission(body)) for body in (house.packet(["check"]), recall)]
    cable.cut(cut, 2)
    first, second = take_in(far.node, group)
    assert cable.cuts == 1
    assert isinstance(first, Answer)
    assert isinstance(second, Unprepared)
    assert told_unsure(second.why)
    assert accepted(far.submit(recall)).is_repeat == (cut is Cut.ANSWER)
    assert count(house, "packets") == 2
    house.assert_books_close()


@pytest.mark.parametrize("cut", CUTS)
def test_a_status_whose_acceptance_was_cut_is_there_once(house: House, far: House, cable: CutCommits, cut: Cut) -> None:
    sent = house.send(["inbox-a"])
    house.collect("inbox-a", house.delivery(sent, "inbox-a"))
    body = build_status(
        sender=organ("inbox-a"), issuer=organ("sender"), code="03", number="1", document_id=document_id("1", "sender")
    )
    cable.cut(cut)
    first = far.submit(body, "inbox-a")
    assert told_unsure(first)
    assert accepted(far.submit(body, "inbox-a")).is_repeat == (cut is Cut.ANSWER)
    assert count(house, "statuses") == 1
    house.assert_books_close()


@pytest.mark.parametrize(("channel", "nth", "cut"), HAND_OVERS)
def test_a_hand_over_that_was_cut_is_seen_once(
    house: House, far: House, cable: CutCommits, channel: str, nth: int, cut: Cut
) -> None:
    """A claim that nobody was told of runs out by itself; of an attempt the worker says that nothing was sent; a
    conclusion stands."""
    sent = house.send([channel])
    recipient = house.recipient(channel)
    tickets = house.due()
    cable.cut(cut, nth)
    with pytest.raises(StoreUnsure) as told:
        deliver(far.node, tickets)
    assert told_unsure(told.value)
    assert cable.cuts == 1
    house.run()
    if channel == "blind" and (nth, cut) == (3, Cut.COMMIT):
        assert house.state(sent, channel) == "parked"  # an attempt stands, and nobody can be asked: a person's turn
        assert recipient.seen(sent.packet_id) == 1
    else:
        assert house.state(sent, channel) == "delivered"
        assert recipient.seen(sent.packet_id) == 1
    house.assert_books_close()


@pytest.mark.parametrize("cut", Cut)
def test_a_worker_that_lives_finds_its_own_claim_of_which_nobody_was_told(
    house: House, far: House, cable: CutCommits, cut: Cut
) -> None:
    """Nobody waits for a lease to run out, nor for a ticket to be announced again; and no death is counted."""
    sent = [house.send([channel], str(number)) for number, channel in enumerate(("check", "check", "blind"))]
    tickets = house.due()
    cable.cut(cut)
    deliver(far.node, tickets, is_ending=lambda: False)
    assert cable.cuts == 1
    for one, channel in zip(sent, ("check", "check", "blind"), strict=True):
        assert (house.state(one, channel), house.row(one, channel)["unreported"]) == ("delivered", 0)
        assert len(house.attempts(one, channel)) == 1
        assert house.recipient(channel).seen(one.packet_id) == 1
    house.assert_books_close()


def test_a_claim_of_which_nobody_was_told_is_not_taken_from_who_has_it_since(
    house: House, far: House, cable: CutCommits
) -> None:
    """It was undone, and another worker of the same process has claimed the ticket before the first one looks again."""
    sent = house.send(["check"])
    (ticket,) = house.due()
    cable.cut(Cut.COMMIT)
    looked: list[int] = []

    def meanwhile() -> bool:
        if not looked:  # between the first try and the second one
            looked.append(len(claim_group(far.node, [ticket])))
        return False

    assert claim_group(far.node, [ticket], is_ending=meanwhile) == []
    assert (cable.cuts, looked) == (1, [1])
    assert house.row(sent, "check")["unreported"] == 1


def test_a_conclusion_of_which_nobody_was_told_counts_once_though_it_is_written_again(
    house: House, far: House, cable: CutCommits
) -> None:
    """The worker lives and tries again: the channel's one fault stays one, and the document goes back once."""
    sent = house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    tickets = house.due()
    cable.cut(Cut.ANSWER, 3)
    deliver(far.node, tickets, is_ending=lambda: False)
    assert cable.cuts == 1
    row = house.row(sent, "check")
    assert (row["state"], row["unreported"], row["turn"]) == ("ready", 0, tickets[0].turn + 1)
    assert house.rows("SELECT faults FROM channels WHERE id = 'check'") == [{"faults": 1}]
    house.run()
    assert house.recipient("check").seen(sent.packet_id) == 1
    house.assert_books_close()


@pytest.mark.parametrize("cut", CUTS)
def test_an_item_whose_fetch_or_confirmation_was_cut_is_delivered_once(
    house: House, far: House, cable: CutCommits, cut: Cut
) -> None:
    sent = house.send(["inbox-a"])
    delivery = house.delivery(sent, "inbox-a")
    cable.cut(cut)
    with pytest.raises(StoreUnsure):
        far.fetch("inbox-a", delivery)
    house.pass_time(HOUR)  # the response that nobody got counts as over
    assert isinstance(far.fetch("inbox-a", delivery), collect.Served)
    far.end_response(delivery)
    cable.cut(cut)
    with pytest.raises(StoreUnsure):
        far.confirm("inbox-a", delivery)
    assert far.confirm("inbox-a", delivery) == "delivered"
    assert cable.cuts == 2
    house.assert_books_close()


@pytest.mark.parametrize("cut", CUTS)
def test_what_time_does_is_done_once_though_it_was_cut(house: House, far: House, cable: CutCommits, cut: Cut) -> None:
    """A dead worker's claim goes back."""
    sent = house.send(["check"])
    house.recipient("check").during_stage = stop_here
    with pytest.raises(ZeroDivisionError):
        house.work()
    house.recipient("check").during_stage = lambda _item: None
    house.pass_time(10 * MINUTE)
    cable.cut(cut)
    with pytest.raises(StoreUnsure):
        sweep_once(far.node)
    assert cable.cuts == 1
    assert sweep_once(far.node) == (cut is Cut.COMMIT)
    house.run()
    assert house.recipient("check").seen(sent.packet_id) == 1
    house.assert_books_close()


def stop_here(_item: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("cut", CUTS)
def test_a_release_that_was_cut_moves_it_once(house: House, far: House, cable: CutCommits, cut: Cut) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.PARK)
    house.run()
    assert house.state(sent, "check") == "parked"
    cable.cut(cut)
    with pytest.raises(StoreUnsure):
        far.release(sent, "check")
    if cut is Cut.ANSWER:
        with pytest.raises(Conflict):  # it was done: there is nothing to release
            far.release(sent, "check")
    else:
        assert far.release(sent, "check") == "ready"
    assert cable.cuts == 1
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert house.recipient("check").seen(sent.packet_id) == 1
    house.assert_books_close()
