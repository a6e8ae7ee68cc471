"""Rule 6 of the protocol: updates, replacements and chains. Each test is named for the rule."""

from __future__ import annotations

import pytest

from gateway.model.instants import DAY, HOUR, SECOND
from tests.support.nodes import Does, House, document_id, organ


def test_rule_6_an_update_waits_for_its_document(house: House) -> None:
    house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    update = house.update(["check"])
    assert (house.state(update, "check"), house.reason(update, "check")) == ("waiting", "behind_earlier")
    house.run()
    assert house.recipient("check").kinds() == ["new", "update"]


def test_rule_6_a_replacement_waits_for_what_it_replaces(house: House) -> None:
    document = house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    replacement = house.replacement(["check"])
    assert house.state(replacement, "check") == "waiting"
    house.run()
    assert (house.state(document, "check"), house.state(replacement, "check")) == ("delivered", "delivered")
    assert house.recipient("check").kinds() == ["new", "replacement"]


def test_rule_6_what_replaces_a_replacement_waits_for_all_before_it(house: House) -> None:
    house.send(["check"])
    house.replacement(["check"])
    third = house.replacement(["check"], replaced="2", number="3")
    assert house.state(third, "check") == "waiting"
    house.run()
    assert house.recipient("check").kinds() == ["new", "replacement", "replacement"]
    assert house.recipient("check").arrivals[-1].packet_id == third.packet_id


def test_rule_6_a_replacement_after_the_recall_of_what_it_replaces_goes_on(house: House) -> None:
    house.send(["check"])
    house.work()
    house.recall(["check"])
    replacement = house.replacement(["check"])
    house.run()
    assert house.state(replacement, "check") == "delivered"
    assert house.recipient("check").kinds() == ["new", "recall", "replacement"]


def test_rule_6_a_recalled_replacement_stays_recalled_whomever_an_update_adds_since(house: House) -> None:
    house.send(["check", "idem"])
    house.replacement(["check", "idem"])
    house.run()
    house.recall(["check", "idem"], "2")
    house.update(["idem"], "2", adds=["idem"])
    house.run()
    with pytest.raises(AssertionError, match=r"document\.recalled"):
        house.replacement(["check"], subject="Lần sau")


def test_rule_6_an_update_that_removes_a_recipient_is_a_recall_for_that_recipient(house: House) -> None:
    document = house.send(["check", "idem"])
    update = house.update(["idem"], removes=["check"])
    assert house.states(document) == {"check": "withdrawn", "idem": "ready"}
    assert house.states(update) == {"check": "withdrawn", "idem": "waiting"}
    house.run()
    assert house.recipient("check").arrivals == []
    assert house.recipient("idem").kinds() == ["new", "update"]


def test_rule_6_an_update_that_removes_a_recipient_who_has_it_reaches_that_recipient(house: House) -> None:
    house.send(["check", "idem"])
    house.work()
    update = house.update(["idem"], removes=["check"])
    house.run()
    assert house.states(update) == {"check": "delivered", "idem": "delivered"}


def test_rule_6_an_update_that_adds_a_recipient_goes_to_it_at_once(house: House) -> None:
    house.send(["check"])
    update = house.update(["check", "idem"], adds=["idem"])
    assert house.states(update) == {"check": "waiting", "idem": "ready"}
    house.run()
    assert house.recipient("idem").kinds() == ["update"]


def test_rule_6_who_was_removed_may_be_added_again(house: House) -> None:
    house.send(["check", "idem"])
    house.work()
    house.update(["idem"], removes=["check"])
    house.work()
    again = house.update(["check", "idem"], adds=["check"])
    house.run()
    assert house.state(again, "check") == "delivered"
    later = house.update(["check", "idem"], subject="Lần sau")  # what removed him is not the last thing any more
    house.run()
    assert house.state(later, "check") == "delivered"


def test_rule_6_behind_a_parked_head_successors_wait(house: House) -> None:
    document = house.send(["check"])
    house.recipient("check").next(Does.PARK)
    house.work()
    update = house.update(["check"])
    house.run()
    assert house.state(update, "check") == "waiting"
    house.release(document, "check")
    house.run()
    assert house.recipient("check").kinds() == ["new", "update"]


def test_rule_6_behind_an_expired_head_updates_go_on(house: House) -> None:
    document = house.send(["check"])
    house.recipient("check").default = Does.REFUSE
    house.work()
    update = house.update(["check"])
    house.pass_time(31 * DAY)
    house.sweep()
    assert (house.state(document, "check"), house.state(update, "check")) == ("expired", "ready")


def test_rule_6_after_a_sure_expiry_a_recall_has_nothing_to_recall_after_an_unsure_one_it_goes_on(
    house: House,
) -> None:
    sure, unsure = house.send(["check"], "1"), house.send(["blind"], "2")
    house.recipient("check").next(Does.REFUSE)
    house.recipient("blind").next(Does.LOSE)
    house.work()
    house.pass_time(31 * DAY)
    house.sweep()
    assert (house.state(sure, "check"), house.state(unsure, "blind")) == ("expired", "expired")
    assert house.state(house.recall(["check"], "1"), "check") == "withdrawn"
    recall = house.recall(["blind"], "2")
    assert (house.state(recall, "blind"), house.reason(recall, "blind")) == ("ready", "recall_doubtful")


def test_rule_6_the_chain_is_per_recipient(house: House) -> None:
    document = house.send(["check", "idem"])
    house.recipient("check").default = Does.REFUSE
    house.work()
    update = house.update(["check", "idem"])
    assert house.states(update) == {"check": "waiting", "idem": "ready"}
    assert house.states(document) == {"check": "ready", "idem": "delivered"}


def test_rule_6_two_documents_of_one_sender_do_not_wait_for_each_other(house: House) -> None:
    house.recipient("check").next(Does.REFUSE)
    first = house.send(["check"], "1")
    house.work()
    second = house.send(["check"], "2")
    house.pass_time(SECOND)
    house.work()
    assert (house.state(first, "check"), house.state(second, "check")) == ("ready", "delivered")


def test_rule_6_a_recall_may_name_its_document_in_either_place(house: House) -> None:
    document = house.send(["check"])
    recall = house.recall(["check"], document_id=f"{organ('sender')},2025/09/01,77/TH")
    assert document_id("1") in str(recall) or recall.document_id
    assert (house.state(document, "check"), house.state(recall, "check")) == ("withdrawn", "withdrawn")


def test_rule_6_a_recall_waits_no_longer_than_the_document_takes(house: House) -> None:
    document = house.send(["idem"])
    house.recipient("idem").default = Does.LOSE
    house.work()
    recall = house.recall(["idem"])
    house.run(until=3 * HOUR)
    assert house.state(recall, "idem") == "waiting"
    house.pass_time(31 * DAY)
    house.recipient("idem").default = Does.TAKE
    house.run()
    assert house.state(document, "idem") in ("expired", "delivered")
    assert house.state(recall, "idem") == "delivered"
