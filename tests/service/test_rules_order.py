"""Rule 6 of the protocol: order, recalls, the row lock, orphans. Each test is named for the rule."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from edxml import Dialect
from gateway.exchange import sweep
from gateway.exchange.accept import accept
from gateway.exchange.claims import claim_group
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer
from gateway.model.errors import Conflict
from gateway.model.instants import MINUTE, SECOND
from gateway.store.chains import load_chains
from tests.support.nodes import Does, House, WorkerDied, organ
from tests.support.stores import tell


def die(house: House) -> None:
    with pytest.raises(WorkerDied):
        house.work()


# --- recalls -------------------------------------------------------------------------------------------------------


def test_rule_6_recall_withdraws_every_earlier_untouched_packet(house: House) -> None:
    """Trace §14: document ready, update waiting; the recall withdraws the update and ends; the document arrives."""
    document = house.send(["check"])
    update = house.update(["check"])
    assert house.state(update, "check") == "waiting"
    recall = house.recall(["check"])
    assert [house.state(one, "check") for one in (document, update, recall)] == ["withdrawn"] * 3
    assert house.reason(recall, "check") == "nothing_to_recall"
    assert house.notices(document, "check") == ["delivery.recalled"]
    assert recall.recipients[0]["reason"] == "nothing_to_recall"  # the answer tells the sender
    house.run()
    assert house.recipient("check").arrivals == []
    house.assert_books_close()


def test_rule_6_recall_waits_for_what_is_claimed(house: House) -> None:
    document = house.send(["check"])
    recalls: list[Answer] = []
    house.recipient("check").during = lambda _item: recalls.append(house.recall(["check"])) if not recalls else None
    house.work()
    assert house.state(document, "check") == "delivered"
    assert house.state(recalls[0], "check") == "ready"
    house.run()
    assert house.recipient("check").kinds() == ["new", "recall"]


@pytest.mark.parametrize("channel", ["idem", "check"])
def test_rule_6_recall_waits_for_an_open_or_unsure_attempt(house: House, channel: str) -> None:
    """Trace §14: an attempt, the lease runs out, the sweep; the recall withdraws it; the hand-over lands."""
    document = house.send([channel])
    house.recipient(channel).next(Does.DIE_AFTER)
    die(house)
    house.pass_time(61 * SECOND)
    house.sweep()
    assert house.state(document, channel) == "ready"
    recall = house.recall([channel])
    assert house.state(document, channel) == "ready"
    assert house.state(recall, channel) == "waiting"
    house.run()
    assert house.state(document, channel) == "delivered"
    assert house.recipient(channel).kinds() == ["new", "recall"]
    house.assert_books_close()


def test_rule_6_with_a_recall_waiting_an_attempt_that_surely_did_not_arrive_withdraws(house: House) -> None:
    document = house.send(["check"])
    recalls: list[Answer] = []
    house.recipient("check").during = lambda _item: recalls.append(house.recall(["check"]))
    house.recipient("check").next(Does.REFUSE)
    house.work()
    assert (house.state(document, "check"), house.state(recalls[0], "check")) == ("withdrawn", "withdrawn")
    house.run()
    assert house.recipient("check").arrivals == []
    house.assert_books_close()


def test_rule_6_with_a_recall_waiting_a_counting_no_of_find_withdraws(house: House) -> None:
    document = house.send(["check"])
    house.recipient("check").next(Does.LOSE)
    house.work()
    recall = house.recall(["check"])
    house.run()
    assert (house.state(document, "check"), house.state(recall, "check")) == ("withdrawn", "withdrawn")
    assert house.recipient("check").arrivals == []


def test_rule_6_who_shares_a_transfer_with_a_recalled_one_goes_on_alone(house: House) -> None:
    """Whoever hands over names those that are left, and not whose document was taken back meanwhile."""
    document = house.send(["pair-a", "pair-b"])
    house.recipient("pair").next(Does.LOSE)
    house.work()
    house.recall(["pair-a"])
    house.run()
    assert house.states(document) == {"pair-a": "withdrawn", "pair-b": "delivered"}
    assert [landed.recipients for landed in house.recipient("pair").arrivals] == [(organ("pair-b"),)]


def test_rule_6_a_no_of_find_moves_nothing_that_was_taken_away_meanwhile(house: House) -> None:
    """Its worker was slow to hear it: the claim went back, and whoever claims next asks again."""
    document = house.send(["check"])
    house.recipient("check").next(Does.LOSE)
    house.work()
    recall = house.recall(["check"])
    house.pass_time(MINUTE)

    def lose_it() -> None:
        house.recipient("check").after_no = lambda: None
        house.pass_time(2 * MINUTE)
        house.sweep()

    house.recipient("check").after_no = lose_it
    house.work()
    assert (house.state(document, "check"), house.state(recall, "check")) == ("ready", "waiting")
    house.run()
    assert (house.state(document, "check"), house.state(recall, "check")) == ("withdrawn", "withdrawn")


def test_rule_6_a_document_parked_unsure_is_frozen_and_the_recall_goes_on_with_a_finding(house: House) -> None:
    """Trace §14: blind and "may have arrived"; a release erases the doubt; a recall withdraws what arrived."""
    document = house.send(["blind"])
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    house.work()
    recall = house.recall(["blind"])
    assert house.state(recall, "blind") == "waiting"  # until nothing can land any more
    with pytest.raises(Conflict):
        house.release(document, "blind")
    house.pass_time(MINUTE)
    house.sweep()
    assert (house.state(recall, "blind"), house.reason(recall, "blind")) == ("ready", "recall_doubtful")
    house.work()
    with pytest.raises(Conflict):
        house.release(document, "blind")
    assert house.state(document, "blind") == "parked"
    assert house.recipient("blind").kinds() == ["new", "recall"]
    house.assert_books_close()


def test_rule_6_a_recall_passes_a_parked_document_that_surely_did_not_arrive(house: House) -> None:
    document = house.send(["blind"])
    house.recipient("blind").next(Does.PARK)
    house.work()
    recall = house.recall(["blind"])
    assert (house.state(document, "blind"), house.state(recall, "blind")) == ("withdrawn", "withdrawn")


def test_rule_6_after_a_refusal_or_a_delivery_the_recall_goes_on(house: House) -> None:
    document = house.send(["check", "idem"])
    house.work()
    house.tell("idem", "02")
    recall = house.recall(["check", "idem"])
    assert house.states(recall) == {"check": "ready", "idem": "ready"}
    assert house.state(document, "idem") == "delivered"  # 02 after delivered is a business status


def test_rule_6_a_recall_binds_only_the_recipients_it_names(house: House) -> None:
    house.send(["check", "idem"])
    house.work()
    house.recall(["check"])
    house.work()
    update = house.update(["idem"])
    house.work()
    assert house.state(update, "idem") == "delivered"
    elsewhere = house.send(["inbox-a"])  # the document, rightly addressed this time
    assert house.state(elsewhere, "inbox-a") == "available"


def test_rule_6_new_after_a_recall_is_refused(house: House) -> None:
    house.send(["check"])
    house.work()
    house.recall(["check"])
    for body in (house.packet(["check"], subject="Một bản khác"), house.packet(["check"], dialect=Dialect.B)):
        outcome = house.submit(body)
        assert isinstance(outcome, Conflict)
        assert outcome.reason == "document.recalled"
    house.run()
    assert house.recipient("check").kinds() == ["new", "recall"]


def test_rule_6_an_update_after_a_recall_or_status_13_is_refused(house: House) -> None:
    house.send(["check", "idem"])
    house.work()
    house.recall(["check"])
    house.take_back("idem")
    for agency in ("check", "idem"):
        with pytest.raises(AssertionError, match=r"document\.recalled"):
            house.update([agency])


def test_rule_6_status_13_is_a_recall_for_the_recipient_it_names(house: House) -> None:
    document = house.send(["check", "idem"])
    house.take_back("check")
    assert house.states(document) == {"check": "withdrawn", "idem": "ready"}
    assert house.take_back("idem", number="99").reason == "status.unmatched"  # type: ignore[union-attr]


def test_rule_6_a_second_recall_does_not_end_the_first_orphan(house: House) -> None:
    """Both wait for the document; one of them goes on after 15 minutes, none says "nothing to recall" before."""
    first = house.recall(["check"])
    second = house.recall(["check"], business_reason="Thu hồi lần hai")
    assert house.state(second, "check") == "waiting"
    house.pass_time(16 * MINUTE)
    house.run()
    assert {house.state(first, "check"), house.state(second, "check")} == {"withdrawn", "delivered"}


def test_rule_6_recalls_that_wait_hide_none_behind_them(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the sweep may move nothing: what comes after it is looked at all the same."""
    monkeypatch.setattr(sweep, "_BATCH", 2)
    for number in ("1", "2"):
        house.send(["check"], number)
    tickets = house.due()
    assert claim_group(house.node, tickets)
    for number in ("1", "2"):
        house.recall(["check"], number)  # wait for as long as the claims stand
    orphan = house.recall(["idem"], "3")
    with house.node.store.write() as connection:
        tell(connection, "UPDATE transfers SET lease_until = lease_until + ?", 20 * MINUTE)
    house.pass_time(16 * MINUTE)
    assert house.sweep()
    assert house.state(orphan, "idem") == "ready"


# --- the row lock --------------------------------------------------------------------------------------------------


def test_rule_6_document_and_recall_accepted_at_once_end_in_order(house: House) -> None:
    """Trace §14: both are accepted together, each sees nothing, and the recall overtakes."""
    for number in map(str, range(1, 9)):
        document = prepare(house.node, house.submission(house.packet(["check"], number)))
        recall = prepare(house.node, house.submission(house.recall_packet(["check"], number)))
        threads = [threading.Thread(target=accept, args=(house.node, [one])) for one in (document, recall)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    house.run()
    assert house.recipient("check").arrivals == []
    left = house.rows("SELECT state, COUNT(*) AS n FROM deliveries GROUP BY state")
    assert left == [{"state": "withdrawn", "n": 16}]


def test_rule_6_what_a_hop_has_read_no_other_process_changes_before_it_writes(house: House) -> None:
    """The row lock; on SQLite a write transaction holds the one writer's place from its beginning."""
    sent = house.send(["check"])
    ticket = house.ticket(sent, "check")
    other = house.another_store()
    claims = threading.Thread(target=claim_group, args=(replace(house.node, store=other), [ticket]))
    with house.node.store.write() as connection:
        load_chains(connection, [house.row(sent, "check")["chain_id"]])
        claims.start()
        claims.join(0.5)
        assert claims.is_alive()
        assert house.state(sent, "check") == "ready"
    claims.join()
    assert house.state(sent, "check") == "claimed"
    other.close()


def test_rule_6_document_and_recall_in_one_group_keep_their_order(house: House) -> None:
    document = prepare(house.node, house.submission(house.packet(["check"])))
    recall = prepare(house.node, house.submission(house.recall_packet(["check"])))
    accept(house.node, [document, recall])
    house.run()
    assert house.recipient("check").arrivals == []


def test_rule_6_completion_finds_the_recall_that_came_meanwhile(house: House) -> None:
    """Trace §14: a recall reads "claimed"; the document completes and finds no successor: waiting for ever."""
    house.send(["inbox-a"])
    listed = house.shown("inbox-a")
    house.fetch("inbox-a", listed[0])
    recall = house.recall(["inbox-a"])
    house.end_response(listed[0])
    assert house.state(recall, "inbox-a") == "waiting"
    house.confirm("inbox-a", listed[0])
    assert house.state(recall, "inbox-a") == "available"


# --- orphans -------------------------------------------------------------------------------------------------------


def test_rule_6_an_orphan_recall_waits_fifteen_minutes_then_goes_on_with_a_finding(house: House) -> None:
    recall = house.recall(["check"])
    assert (house.state(recall, "check"), house.reason(recall, "check")) == ("waiting", "recall_orphan_waits")
    house.pass_time(15 * MINUTE - SECOND)
    house.sweep()
    assert house.state(recall, "check") == "waiting"
    house.pass_time(SECOND)
    house.sweep()
    assert (house.state(recall, "check"), house.reason(recall, "check")) == ("ready", "recall_orphan")


def test_rule_6_a_document_in_minute_sixteen_after_its_recall_never_arrives(house: House) -> None:
    """Trace §14: the recall goes out after 15 minutes; its document is accepted in minute 16 and delivered."""
    recall = house.recall(["check"])
    house.pass_time(15 * MINUTE)
    house.sweep()
    house.pass_time(MINUTE)
    document = house.send(["check"])
    assert (house.state(document, "check"), house.reason(document, "check")) == ("withdrawn", "recalled_before")
    assert house.state(recall, "check") == "withdrawn"  # it was unattempted
    house.run()
    assert house.recipient("check").arrivals == []
    house.assert_books_close()


def test_rule_6_a_document_after_its_recall_went_out_is_withdrawn_alone(house: House) -> None:
    recall = house.recall(["check"])
    house.pass_time(15 * MINUTE)
    house.run()
    document = house.send(["check"])
    house.run()
    assert (house.state(recall, "check"), house.state(document, "check")) == ("delivered", "withdrawn")
    assert house.recipient("check").kinds() == ["recall"]


@pytest.mark.parametrize("kind", ["update", "replacement"])
def test_rule_6_an_update_or_replacement_after_an_orphan_recall_never_arrives(house: House, kind: str) -> None:
    house.recall(["check"])
    late = house.update(["check"]) if kind == "update" else house.replacement(["check"], ["99"], "1")
    assert house.state(late, "check") == "withdrawn"
    house.run()
    assert "update" not in house.recipient("check").kinds()
    assert "replacement" not in house.recipient("check").kinds()


@pytest.mark.parametrize("kind", ["update", "replacement"])
def test_rule_6_an_update_or_replacement_whose_document_never_came_is_parked(house: House, kind: str) -> None:
    sent = house.update(["check"]) if kind == "update" else house.replacement(["check"])
    assert (house.state(sent, "check"), house.reason(sent, "check")) == ("parked", "document_never_came")
    house.run()
    assert house.recipient("check").arrivals == []
    assert house.release(sent, "check") == "ready"
    house.run()
    assert house.state(sent, "check") == "delivered"


def test_rule_6_a_document_after_its_replacement_is_accepted_and_goes_before_it(house: House) -> None:
    replacement = house.replacement(["check"])
    document = house.send(["check"])
    assert (house.state(replacement, "check"), house.state(document, "check")) == ("parked", "ready")
    house.release(replacement, "check")
    house.run()
    assert [landed.packet_id for landed in house.recipient("check").arrivals] == [
        document.packet_id, replacement.packet_id,
    ]  # fmt: skip
