"""Rule 6a of the protocol: documents tied by replacement and by updates. Each test is named for the rule."""

from __future__ import annotations

import pytest

from gateway.exchange.collect import Confirm, confirm
from gateway.exchange.submission import Answer
from gateway.model.errors import BadRequest, Conflict
from gateway.model.instants import DAY
from tests.support.nodes import Does, House


def test_rule_6a_recalling_the_first_leaves_what_replaced_it(house: House) -> None:
    """Trace §14: document 2 replaces document 1; a recall of 1 withdraws the untouched 2."""
    first = house.send(["inbox-a"])
    second = house.replacement(["inbox-a"], "1", "2")
    assert house.state(second, "inbox-a") == "waiting"
    recall = house.recall(["inbox-a"], "1")
    assert [house.state(one, "inbox-a") for one in (first, second, recall)] == ["withdrawn", "available", "withdrawn"]
    house.assert_books_close()


def test_rule_6a_a_recall_of_the_later_one_takes_back_that_one_alone(house: House) -> None:
    first = house.send(["inbox-a"])
    second = house.replacement(["inbox-a"], "1", "2")
    recall = house.recall(["inbox-a"], "2")
    assert [house.state(one, "inbox-a") for one in (first, second, recall)] == ["available", "withdrawn", "withdrawn"]
    assert house.collect("inbox-a", house.delivery(first, "inbox-a")) == "delivered"


def test_rule_6a_a_refusal_of_the_first_leaves_what_replaced_it(house: House) -> None:
    """Trace §14: document 2 replaces document 1; a refusal of 1 marks 2 `refused`."""
    first = house.send(["inbox-a"])
    house.collect("inbox-a", house.delivery(first, "inbox-a"))
    second = house.replacement(["inbox-a"], "1", "2")
    house.fetch("inbox-a", house.delivery(second, "inbox-a"))
    house.tell("inbox-a", "02", "1")
    assert (house.state(first, "inbox-a"), house.state(second, "inbox-a")) == ("delivered", "fetched")


def test_rule_6a_a_recalled_document_may_be_replaced(house: House) -> None:
    house.send(["inbox-a"])
    house.recall(["inbox-a"])
    second = house.replacement(["inbox-a"], "1", "2")
    assert house.state(second, "inbox-a") == "available"


def test_rule_6a_a_document_never_follows_its_update(house: House) -> None:
    """Trace §14: N to A; an update adds B; B fetches it; a late N to B follows it."""
    house.send(["inbox-a"])
    update = house.update(["inbox-b"], adds=["inbox-b"])
    assert house.collect("inbox-b", house.delivery(update, "inbox-b")) == "delivered"
    late = house.send(["inbox-b"])
    assert (house.state(late, "inbox-b"), house.reason(late, "inbox-b")) == ("withdrawn", "superseded")
    assert house.shown("inbox-b") == []
    house.assert_books_close()


def test_rule_6a_a_document_never_follows_its_released_orphan_update(house: House) -> None:
    update = house.update(["inbox-a"])
    house.release(update, "inbox-a")
    document = house.send(["inbox-a"])
    house.collect("inbox-a", house.delivery(update, "inbox-a"))
    assert (house.state(document, "inbox-a"), house.reason(document, "inbox-a")) == ("withdrawn", "superseded")


def test_rule_6a_nobody_waits_behind_a_parked_orphan_and_released_it_goes_last(house: House) -> None:
    """An update came first and waits for a hand; its document goes, then the update that is let go on."""
    update = house.update(["check"])
    document = house.send(["check"])
    assert (house.state(update, "check"), house.state(document, "check")) == ("parked", "ready")
    house.recipient("check").next(Does.REFUSE)
    house.work()
    assert house.release(update, "check") == "waiting"
    house.run()
    assert (house.state(document, "check"), house.state(update, "check")) == ("delivered", "delivered")
    assert house.recipient("check").kinds() == ["new", "update"]
    house.assert_books_close()


def test_rule_6a_a_parked_orphan_stays_behind_what_was_accepted_before_its_release(house: House) -> None:
    first = house.update(["inbox-a"])
    second = house.update(["inbox-a"], subject="Lần sau")  # its document did not come either
    house.send(["inbox-a"])
    third = house.update(["inbox-a"], subject="Lần cuối")
    assert [house.state(one, "inbox-a") for one in (first, second, third)] == ["parked", "parked", "waiting"]
    assert house.release(first, "inbox-a") == "waiting"
    recall = house.recall(["inbox-a"])
    states = [house.state(one, "inbox-a") for one in (first, second, third, recall)]
    assert states == ["withdrawn"] * 4
    house.assert_books_close()


def test_rule_6a_a_released_orphan_never_follows_what_replaced_its_document(house: House) -> None:
    update = house.update(["inbox-a"])
    house.send(["inbox-a"])
    replacement = house.replacement(["inbox-a"])
    for _ in range(2):
        (shown,) = house.shown("inbox-a")
        house.collect("inbox-a", shown)
    assert house.state(replacement, "inbox-a") == "delivered"
    assert (house.release(update, "inbox-a"), house.reason(update, "inbox-a")) == ("withdrawn", "superseded")


def test_rule_6a_a_revision_after_a_refused_update_goes(house: House) -> None:
    first = house.send(["inbox-a"])
    house.collect("inbox-a", house.delivery(first, "inbox-a"))
    update = house.update(["inbox-a"])
    house.tell("inbox-a", "02", "1", description="Sai thể thức")
    house.collect("inbox-a", house.delivery(update, "inbox-a"))
    house.tell("inbox-a", "02", "1", description="Vẫn sai thể thức")
    again = _other(house, "inbox-a")
    assert isinstance(again, Answer)
    assert house.state(again, "inbox-a") == "available"


# --- documents tied by replacement, directly or through others --------------------------------------------------


def test_rule_6a_a_replacement_waits_behind_every_document_that_it_replaces(house: House) -> None:
    """Trace §14: 3 replaces 1 and 2; 2 is retried; arrival 1, 3, 2."""
    first = house.send(["check"], "1")
    house.work()
    second = house.send(["check"], "2")
    house.recipient("check").next(Does.REFUSE)
    house.work()
    third = house.replacement(["check"], ("1", "2"), "3")
    assert (house.state(second, "check"), house.state(third, "check")) == ("ready", "waiting")
    house.run()
    assert house.recipient("check").landed() == [one.packet_id for one in (first, second, third)]
    house.assert_books_close()


@pytest.mark.parametrize("named", [("1", "2"), ("2", "1")])
def test_rule_6a_what_is_sent_of_a_replaced_document_later_is_of_the_family(
    house: House, named: tuple[str, ...]
) -> None:
    house.send(["inbox-a"], "1")
    first, second = house.send(["check", "idem"], "2"), house.update(["check"], "2")
    assert house.submit(house.packet(["check", "idem"], "2")).packet_id == first.packet_id  # type: ignore[union-attr]
    third = house.replacement(["check"], named, "3")
    update, recall = house.update(["check"], "2", subject="Lần sau"), house.recall(["idem"], "2")
    again = house.submit(house.packet(["check", "idem"], "2"))
    assert isinstance(again, Answer)
    assert again.packet_id == first.packet_id
    assert [house.state(one, "check") for one in (third, update)] == ["waiting", "waiting"]
    assert (house.state(first, "idem"), house.state(recall, "idem")) == ("withdrawn", "withdrawn")
    house.run()
    assert house.recipient("check").landed() == [one.packet_id for one in (first, second, third)]
    assert (house.state(update, "check"), house.reason(update, "check")) == ("withdrawn", "superseded")
    house.assert_books_close()


def test_rule_6a_a_document_that_comes_after_what_replaced_it_and_another_does_not_follow_it(house: House) -> None:
    house.send(["check"], "1")
    third = house.replacement(["check"], ("1", "2"), "3")
    house.run()
    second = house.send(["check"], "2")
    assert house.state(third, "check") == "delivered"
    assert (house.state(second, "check"), house.reason(second, "check")) == ("withdrawn", "superseded")


def test_rule_6a_a_status_of_a_document_known_by_name_alone_is_refused(house: House) -> None:
    house.send(["check"], "1")
    house.replacement(["check"], ("1", "2"), "3")
    house.run()
    assert isinstance(house.tell("check", "01", "2"), BadRequest)
    assert isinstance(house.tell("check", "01", "1"), Answer)


def test_rule_6a_documents_tied_through_others_have_one_order_at_each_recipient(house: House) -> None:
    """5 replaces 3 and 4, which replace 1 and 2; at another recipient than theirs it waits for 1 and 2 all the same."""
    sent = [house.send(["check", "idem"], "1"), house.send(["idem", "check"], "2")]
    house.replacement(["check"], "1", "3")
    house.replacement(["check"], "2", "4")
    house.replacement(["inbox-a"], ("4", "3"), "5")
    last = house.replacement(["idem", "check"], "5", "6")
    assert house.states(last) == {"idem": "waiting", "check": "waiting"}
    house.run()
    assert house.recipient("idem").landed() == [one.packet_id for one in (*sent, last)]
    assert len(house.recipient("check").landed()) == 5
    house.assert_books_close()


def test_rule_6a_what_is_handed_over_while_its_family_is_united_ends_there(house: House) -> None:
    house.send(["check"], "1")
    house.run()
    second, told = house.send(["check"], "2"), []
    house.recipient("check").next(Does.LOSE)
    house.recipient("check").during = lambda _item: told.append(house.replacement(["check"], ("1", "2"), "3"))
    house.work()
    house.recipient("check").during = lambda _item: None
    assert (house.state(second, "check"), house.state(told[0], "check")) == ("ready", "waiting")
    house.run()
    assert house.recipient("check").landed()[1:] == [second.packet_id, told[0].packet_id]


def test_rule_6a_what_was_fetched_before_its_family_was_united_is_confirmed(house: House) -> None:
    house.send(["inbox-a"], "1")
    second = house.send(["inbox-a"], "2")
    house.fetch("inbox-a", house.delivery(second, "inbox-a"))
    third = house.replacement(["inbox-a"], ("1", "2"), "3")
    house.end_response(house.delivery(second, "inbox-a"))
    assert house.confirm("inbox-a", house.delivery(second, "inbox-a")) == "delivered"
    assert house.state(third, "inbox-a") == "waiting"
    (first,) = house.shown("inbox-a")
    house.collect("inbox-a", first)
    assert house.state(third, "inbox-a") == "available"


def test_rule_6a_a_refused_replacement_ties_nothing(house: House) -> None:
    """3 is out with other content, so it may not replace 1 and 2; an update of 2 does not wait for 1."""
    house.recipient("check").next(Does.PARK)
    first = house.send(["check"], "1")
    house.work()
    for number in "23":
        house.send(["check"], number)
    house.run()
    with pytest.raises(AssertionError, match=r"document\.conflict"):
        house.replacement(["check"], ("1", "2"), "3")
    update = house.update(["check"], "2")
    house.run()
    assert (house.state(first, "check"), house.state(update, "check")) == ("parked", "delivered")
    third = house.replacement(["check"], ("1", "2"), "4")
    assert house.state(third, "check") == "waiting"
    house.assert_books_close()


def test_rule_6a_two_that_were_fetched_before_they_were_united_are_confirmed_in_one_group(house: House) -> None:
    """One of them lies in the other's chain by then."""
    items = [house.delivery(house.send(["inbox-a"], number), "inbox-a") for number in "12"]
    for item in items:
        house.fetch("inbox-a", item)
        house.end_response(item)
    house.replacement(["inbox-a"], ("1", "2"), "3")
    said = [Confirm(caller=house.caller("inbox-a"), delivery_id=item) for item in items]
    assert confirm(house.node, said, house.known) == ("delivered", "delivered")
    house.assert_books_close()


def test_rule_6a_a_parked_orphan_holds_nobody_up_whatever_ties_its_family_later(house: House) -> None:
    """3 replaces 1, which never came, and is parked; 2 came, and 4, which replaces 1 and 2, waits for that alone."""
    house.send(["check"], "2")
    house.run()
    third = house.replacement(["check"], "1", "3")
    fourth = house.replacement(["check"], ("1", "2"), "4")
    house.run()
    assert (house.state(third, "check"), house.state(fourth, "check")) == ("parked", "delivered")
    house.assert_books_close()


# --- conflicts (rule 12) -----------------------------------------------------------------------------------------


def _other(house: House, to: str) -> object:
    return house.submit(house.packet([to], subject="Nội dung khác"))


def test_rule_12_other_content_is_a_conflict_whoever_it_is_addressed_to(house: House) -> None:
    """Trace §14: other content under the same id to a second recipient, then to the first: both contents are out."""
    house.send(["inbox-a"])
    for to in ("inbox-a", "inbox-b", "inbox-a"):
        refused = _other(house, to)
        assert isinstance(refused, Conflict)
        assert refused.reason == "document.conflict"
    assert house.rows("SELECT count(*) AS n FROM packets") == [{"n": 1}]


def test_rule_12_an_open_update_keeps_other_content_out(house: House) -> None:
    """Trace §14: N expired at A, its update is open; other content under the id is accepted."""
    first = house.send(["inbox-a"])
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(first, "inbox-a") == "expired"
    house.update(["inbox-a"])
    assert isinstance(_other(house, "inbox-b"), Conflict)


def test_rule_12_who_refused_after_delivery_gave_it_back(house: House) -> None:
    first = house.send(["inbox-a"])
    house.collect("inbox-a", house.delivery(first, "inbox-a"))
    assert isinstance(_other(house, "inbox-a"), Conflict)
    house.tell("inbox-a", "02", "1", description="Sai thể thức")
    assert isinstance(_other(house, "inbox-a"), Answer)


def test_rule_12_a_refusal_gives_back_the_document_with_its_update(house: House) -> None:
    for sent in (house.send(["inbox-a"]), house.update(["inbox-a"])):
        house.collect("inbox-a", house.delivery(sent, "inbox-a"))
    house.tell("inbox-a", "02", "1", description="Sai thể thức")
    again = _other(house, "inbox-a")
    assert isinstance(again, Answer)
    house.collect("inbox-a", house.delivery(again, "inbox-a"))
    assert isinstance(house.submit(house.packet(["inbox-b"], subject="Lại khác")), Conflict)
