"""Rule 10 of the protocol: channels that the recipient's software polls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edxml.codes import Priority
from gateway.exchange.collect import Confirm, Listing, Served, Shown, confirm, list_items
from gateway.exchange.submission import Answer
from gateway.model.errors import Conflict, Gone, NotFound
from gateway.model.instants import DAY, HOUR, MINUTE, SECOND
from tests.support.nodes import Does, House, build_house
from tests.support.stores import tell


def one(house: House) -> tuple[Answer, str]:
    """A document in inbox-a, with its delivery."""
    sent = house.send(["inbox-a"])
    return sent, house.delivery(sent, "inbox-a")


def released(house: House) -> tuple[Answer, str]:
    """The same, of one that was fetched, told as not arrived, and released by an operator."""
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.end_response(item)
    house.confirm("inbox-a", item, arrived=False)
    house.release(sent, "inbox-a")
    return sent, item


def reason(outcome: object) -> str:
    return str(getattr(outcome, "reason", outcome))


def test_rule_10_an_item_is_available_in_the_accept_commit_without_any_ticket(house: House) -> None:
    sent, item = one(house)
    assert house.state(sent, "inbox-a") == "available"
    assert house.due() == []
    assert house.shown("inbox-a") == [item]


def test_rule_10_fetched_is_committed_before_the_first_byte(house: House) -> None:
    """Trace §14: marked after the bytes, a withdrawn item arrives."""
    sent, item = one(house)
    served = house.fetch("inbox-a", item)
    assert isinstance(served, Served)
    assert house.state(sent, "inbox-a") == "fetched"
    assert len(house.attempts(sent, "inbox-a")) == 1
    recall = house.recall(["inbox-a"])
    assert house.state(sent, "inbox-a") == "fetched"
    assert house.state(recall, "inbox-a") == "waiting"  # it would overtake the other poller's response


def test_rule_10_while_served_an_item_is_hidden_from_other_polls(house: House) -> None:
    _, item = one(house)
    house.fetch("inbox-a", item)
    assert house.shown("inbox-a") == []
    house.end_response(item)
    assert house.shown("inbox-a") == [item]


def test_rule_10_a_poller_that_died_gives_its_item_back_after_an_hour(house: House) -> None:
    _, item = one(house)
    house.fetch("inbox-a", item)
    house.pass_time(HOUR)
    assert house.shown("inbox-a") == [item]


def test_rule_10_no_response_runs_for_longer_than_its_item_is_hidden(house: House) -> None:
    """At 16 KiB a second a gigabyte takes eighteen hours: what is hidden for so long, a clock that was ahead hid."""
    _, item = one(house)
    with house.node.store.write() as connection:
        tell(connection, "UPDATE packets SET size = ?", 1 << 30)
    served = house.fetch("inbox-a", item)
    assert isinstance(served, Served)
    assert served.seconds == HOUR / SECOND
    house.pass_time(HOUR - SECOND)
    assert house.shown("inbox-a") == []


def test_rule_10_done_before_any_fetch_is_refused(house: House) -> None:
    sent, item = one(house)
    outcome = house.confirm("inbox-a", item)
    assert isinstance(outcome, Conflict)
    assert outcome.reason == "inbox.not_fetched"
    assert house.state(sent, "inbox-a") == "available"


def test_rule_10_a_confirmation_is_repeatable(house: House) -> None:
    _, item = one(house)
    assert house.collect("inbox-a", item) == "delivered"
    assert house.confirm("inbox-a", item) == "delivered"
    house.assert_books_close()


def test_rule_10_done_items_stay_fetchable_for_thirty_days(house: House) -> None:
    _, item = one(house)
    house.collect("inbox-a", item)
    house.pass_time(30 * DAY - SECOND)
    assert isinstance(house.fetch("inbox-a", item), Served)
    house.pass_time(SECOND)
    assert isinstance(house.fetch("inbox-a", item), Gone)


def test_rule_10_transport_fail_parks_and_tells_the_sender(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.end_response(item)
    assert house.confirm("inbox-a", item, arrived=False) == "parked"
    assert house.notices(sent, "inbox-a") == ["delivery.recipient_failed"]
    assert house.row(sent, "inbox-a")["holder"] == "operator"
    assert [one_["outcome"] for one_ in house.attempts(sent, "inbox-a")] == ["unknown"]  # it had the bytes
    assert reason(house.fetch("inbox-a", item)) == "inbox.parked"


def test_rule_10_a_failure_of_what_was_released_and_not_fetched_again_is_refused(house: House) -> None:
    """Told again by who waited for an answer too long, it would take back what the operator decided."""
    sent, item = released(house)
    assert reason(house.confirm("inbox-a", item, arrived=False)) == "inbox.not_fetched"
    assert house.state(sent, "inbox-a") == "available"


def test_rule_10_two_confirmations_of_one_item_in_a_group_are_one(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    said = Confirm(caller=house.caller("inbox-a"), delivery_id=item)
    assert confirm(house.node, [said, said]) == ("delivered", "delivered")
    assert [kind for kind, _ in house.events(sent, "inbox-a")].count("delivery.delivered") == 1


@pytest.mark.parametrize("done_first", [True, False])
def test_rule_6a_of_a_failure_and_a_receipt_in_one_group_the_receipt_wins(house: House, done_first: bool) -> None:
    """Both are told what is written down."""
    sent, item = one(house)
    house.fetch("inbox-a", item)
    caller = house.caller("inbox-a")
    done, fail = (Confirm(caller=caller, delivery_id=item, arrived=arrived) for arrived in (True, False))
    assert confirm(house.node, [done, fail] if done_first else [fail, done]) == ("delivered", "delivered")
    assert house.state(sent, "inbox-a") == "delivered"
    house.assert_books_close()


def test_rule_6a_a_strangers_receipt_does_not_win_over_the_recipients_failure(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    strange = Confirm(caller=house.caller("inbox-b"), delivery_id=item)
    fail = Confirm(caller=house.caller("inbox-a"), delivery_id=item, arrived=False)
    refused, told = confirm(house.node, [strange, fail])
    assert reason(refused) == "inbox.unknown_item"
    assert told == house.state(sent, "inbox-a") == "parked"


def test_rule_10_a_late_done_of_an_item_that_was_released_is_taken(house: House) -> None:
    sent, item = released(house)
    assert house.state(sent, "inbox-a") == "available"
    assert house.confirm("inbox-a", item) == "delivered"
    assert [one_["outcome"] for one_ in house.attempts(sent, "inbox-a")] == ["arrived"]  # of an earlier turn
    house.assert_books_close()


def test_rule_10_fetching_what_was_withdrawn_or_expired_answers_gone(house: House) -> None:
    _, item = one(house)
    house.recall(["inbox-a"])
    assert isinstance(house.fetch("inbox-a", item), Gone)
    other = house.send(["inbox-b"], "2")
    house.pass_time(31 * DAY)
    house.sweep()
    assert isinstance(house.fetch("inbox-b", house.delivery(other, "inbox-b")), Gone)


def test_rule_10_unknown_and_foreign_items_answer_alike(house: House) -> None:
    _, item = one(house)
    outcomes = [
        house.fetch("inbox-b", item),
        house.fetch("inbox-a", "0"),
        house.confirm("inbox-b", item),
        house.confirm("inbox-a", "0"),
    ]
    assert {type(outcome) for outcome in outcomes} == {NotFound}
    assert {reason(outcome) for outcome in outcomes} == {"inbox.unknown_item"}


def test_rule_10_what_is_pushed_is_neither_fetched_nor_confirmed(house: House) -> None:
    """Of what is pushed the hand-over tells what became of it, not whoever asks by its id."""
    arrived = house.send(["idem"])
    house.work()
    house.recipient("blind").next(Does.LOSE)
    doubtful = house.send(["blind"], "2")
    house.work()
    for sent, agency, state in ((arrived, "idem", "delivered"), (doubtful, "blind", "parked")):
        delivery = house.delivery(sent, agency)
        assert isinstance(house.fetch(agency, delivery), NotFound)
        assert isinstance(house.confirm(agency, delivery), NotFound)
        assert house.state(sent, agency) == state


def test_rule_10_a_recall_waits_for_a_response_that_runs(tmp_path: Path) -> None:
    house = build_house(tmp_path, fetched_wait=10)
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.recall(["inbox-a"])
    house.pass_time(50 * SECOND)  # longer than a recall waits, shorter than a response may run
    house.sweep()
    assert house.state(sent, "inbox-a") == "fetched"
    house.end_response(item)
    house.pass_time(10 * SECOND)
    house.sweep()
    assert house.state(sent, "inbox-a") == "expired"
    house.close()


def test_rule_10_a_recall_waits_fifteen_minutes_after_the_last_response_then_the_item_closes(house: House) -> None:
    sent, item = one(house)
    served = house.fetch("inbox-a", item)
    assert isinstance(served, Served)
    assert 60 < served.seconds < 62, "a lease, and its size at 16 KiB a second"
    recall = house.recall(["inbox-a"])
    house.end_response(item)
    house.pass_time(15 * MINUTE - SECOND)
    house.sweep()
    assert house.state(sent, "inbox-a") == "fetched"
    house.pass_time(SECOND)
    house.sweep()
    assert (house.state(sent, "inbox-a"), house.reason(sent, "inbox-a")) == ("expired", "not_confirmed_in_time")
    assert house.state(recall, "inbox-a") == "available"
    assert isinstance(house.fetch("inbox-a", item), Gone)
    assert [one_["outcome"] for one_ in house.attempts(sent, "inbox-a")] == ["unknown"]  # may have arrived


def test_rule_10_a_response_that_never_ended_counts_from_its_limit(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.recall(["inbox-a"])
    house.pass_time(MINUTE + 15 * MINUTE - SECOND)
    house.sweep()
    assert house.state(sent, "inbox-a") == "fetched"
    house.pass_time(2 * SECOND)
    house.sweep()
    assert house.state(sent, "inbox-a") == "expired"


def test_rule_10_a_late_confirmation_of_a_fetched_item_is_always_taken(house: House) -> None:
    """Trace §14: a confirmation refused after expiry: a true receipt is lost."""
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.end_response(item)
    house.recall(["inbox-a"])
    house.pass_time(16 * MINUTE)
    house.sweep()
    assert house.state(sent, "inbox-a") == "expired"
    assert house.confirm("inbox-a", item) == "delivered"
    assert house.row(sent, "inbox-a")["was"] == "expired"
    assert house.events(sent, "inbox-a")[-1][0] == "delivery.late_receipt"
    house.assert_books_close()


def test_rule_10_without_a_recall_a_fetched_item_waits_for_its_time_limit(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.end_response(item)
    house.pass_time(29 * DAY)
    house.sweep()
    assert house.state(sent, "inbox-a") == "fetched"


def test_rule_10_five_hundred_poison_items_cannot_hide_the_next(house: House) -> None:
    for number in range(501):
        house.send(["inbox-a"], str(number + 1), files=())
    shown = house.shown("inbox-a", 500)
    house.pass_time(SECOND)
    again = house.shown("inbox-a", 500)
    assert len(shown) == len(again) == 500
    assert set(shown) | set(again) == {row["id"] for row in house.rows("SELECT id FROM deliveries")}
    assert again[0] not in shown


def test_rule_10_urgent_poison_hides_no_ordinary_item(house: House) -> None:
    for number in range(5):
        house.send(["inbox-a"], str(number + 1), priority=Priority.URGENT)
    plain = house.send(["inbox-a"], "9")
    assert house.delivery(plain, "inbox-a") not in house.shown("inbox-a", 5)
    house.pass_time(SECOND)
    assert house.delivery(plain, "inbox-a") in house.shown("inbox-a", 5)


def test_rule_10_what_is_fetched_before_the_next_list_is_never_passed_over(house: House) -> None:
    for number in range(4):
        house.send(["inbox-a"], str(number + 1), files=())
    seen: list[str] = []
    for _ in range(2):
        shown = house.shown("inbox-a", 2)
        seen += shown
        for item in shown:
            house.fetch("inbox-a", item)
            house.confirm("inbox-a", item)
    assert len(set(seen)) == 4
    assert {row["polled_at"] for row in house.rows("SELECT polled_at FROM deliveries")} == {0}


def test_rule_10_another_process_shows_poison_once_more_and_then_passes_it_over(house: House) -> None:
    for number in range(3):
        house.send(["inbox-a"], str(number + 1), files=())
    other = replace(house, last_lists=Shown())
    shown = house.shown("inbox-a", 2)
    assert other.shown("inbox-a", 2) == shown
    house.pass_time(SECOND)
    (third,) = {row["id"] for row in house.rows("SELECT id FROM deliveries")} - set(shown)
    assert other.shown("inbox-a", 2)[0] == third


def test_rule_10_who_asks_for_more_hides_nothing_from_who_asks_for_less(house: House) -> None:
    """Two programs of one agency ask in turn: one is shown all, the other one must come to all."""
    for number in range(3):
        house.send(["inbox-a"], str(number + 1), files=())
    shown = house.shown("inbox-a", 2)
    assert len(house.shown("inbox-a", 5)) == 3
    house.pass_time(SECOND)
    (third,) = {row["id"] for row in house.rows("SELECT id FROM deliveries")} - set(shown)
    assert house.shown("inbox-a", 2)[0] == third


def test_rule_10_a_response_that_ends_after_its_confirmation_takes_nothing_back(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    assert house.confirm("inbox-a", item) == "delivered"
    house.end_response(item)
    assert [one_["outcome"] for one_ in house.attempts(sent, "inbox-a")] == ["arrived"]


def test_rule_10_a_walk_through_all_passes_nobody_over(house: House) -> None:
    """Who walks shows what the last full list showed; it is nobody's turn by that."""
    for number in range(3):
        house.send(["inbox-a"], str(number + 1), files=())
    shown = house.shown("inbox-a", 2)
    (page,) = list_items(house.node, [Listing(agency_id="inbox-a", limit=2, after="")], house.last_lists)
    assert {item.delivery_id for item in page} == set(shown)
    assert {row["polled_at"] for row in house.rows("SELECT polled_at FROM deliveries")} == {0}


def test_rule_10_the_key_is_the_same_in_every_list(house: House) -> None:
    _, item = one(house)
    first = house.fetch("inbox-a", item)
    house.end_response(item)
    second = house.fetch("inbox-a", item)
    assert isinstance(first, Served)
    assert isinstance(second, Served)
    assert first.item.key == second.item.key


def test_rule_10_a_failure_told_twice_gets_the_same_answer(house: House) -> None:
    sent, item = one(house)
    house.fetch("inbox-a", item)
    house.end_response(item)
    assert house.confirm("inbox-a", item, arrived=False) == "parked"
    assert house.confirm("inbox-a", item, arrived=False) == "parked"
    assert [kind for kind, _ in house.events(sent, "inbox-a")].count("delivery.parked") == 1
