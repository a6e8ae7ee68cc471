"""Rule 9 where a family was united after its packets went: what an operator may still do with each."""

from __future__ import annotations

from contextlib import suppress

import pytest

from gateway.exchange.submission import Answer
from gateway.model.errors import Conflict
from gateway.model.instants import DAY
from tests.support.nodes import Does, House


def test_rule_9_what_was_parked_before_its_family_was_united_may_be_released(house: House) -> None:
    """2 arrived when nothing tied it to 1: it is no later packet of that, and 3 waits for 1."""
    house.recipient("check").next(Does.PARK)
    first = house.send(["check"], "1")
    house.work()
    second = house.send(["check"], "2")
    house.run()
    third = house.replacement(["check"], ("1", "2"), "3")
    assert [house.state(one, "check") for one in (first, second, third)] == ["parked", "delivered", "waiting"]
    assert house.release(first, "check") == "ready"
    house.run()
    assert house.recipient("check").landed() == [one.packet_id for one in (second, first, third)]


def test_rule_9_what_expired_before_its_family_was_united_may_be_sent_again(house: House) -> None:
    """2 is no later packet of 1: what ties the two went to somebody else."""
    house.recipient("check").default = Does.REFUSE
    first = house.send(["check"], "1")
    house.work()
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(first, "check") == "expired"
    house.recipient("check").default = Does.TAKE
    second = house.send(["check"], "2")
    house.run()
    house.replacement(["inbox-a"], ("1", "2"), "3")
    house.resend(first, "check")
    house.run()
    assert house.recipient("check").landed() == [one.packet_id for one in (second, first)]
    house.assert_books_close()


def test_rule_9_what_was_replaced_since_is_not_sent_again(house: House) -> None:
    house.recipient("check").next(Does.PARK)
    first = house.send(["check"], "1")
    house.work()
    house.replacement(["check"], "1", "2")
    with pytest.raises(Conflict, match=r"resend\.behind_earlier"):
        house.resend(first, "check")


def test_rule_9_what_came_before_the_document_that_it_replaces_is_not_sent_again_beside_it(house: House) -> None:
    second = house.replacement(["check"], "1", "2")
    house.send(["check"], "1")
    with pytest.raises(Conflict, match=r"resend\.behind_earlier"):
        house.resend(second, "check")


def _in_doubt_behind_a_parked_one(house: House) -> tuple[Answer, Answer]:
    """1 surely did not arrive, 2 may have; a replacement at another agency puts the two in one order."""
    house.recipient("blind").next(Does.PARK)
    first = house.send(["blind"], "1")
    house.work()
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    second = house.send(["blind"], "2")
    house.work()
    house.replacement(["inbox-a"], ("1", "2"), "3")
    house.pass_time(DAY)
    assert (house.state(first, "blind"), house.state(second, "blind")) == ("parked", "parked")
    return first, second


def test_rule_9_what_is_in_doubt_goes_on_only_after_what_stands_before_it(house: House) -> None:
    first, second = _in_doubt_behind_a_parked_one(house)
    with pytest.raises(Conflict, match=r"release\.earlier_not_done"):
        house.release(second, "blind")
    with pytest.raises(Conflict, match=r"resend\.earlier_not_done"):
        house.resend(second, "blind")
    house.release(first, "blind")
    house.run()
    assert house.release(second, "blind") == "ready"
    house.run()
    assert (house.state(first, "blind"), house.state(second, "blind")) == ("delivered", "delivered")
    house.assert_books_close()


def test_rule_9_the_refusal_of_what_is_in_doubt_behind_another_counts(house: House) -> None:
    """The recipient has 2 and refuses it: it is not sent a second time."""
    first, second = _in_doubt_behind_a_parked_one(house)
    with suppress(Conflict):
        house.release(second, "blind")
    house.tell("blind", "02", "2", description="Sai thể thức")
    house.release(first, "blind")
    house.run()
    assert (house.state(first, "blind"), house.state(second, "blind")) == ("delivered", "refused")
    assert house.recipient("blind").seen(second.packet_id) == 1


def test_rule_9_a_recall_of_what_is_in_doubt_behind_another_goes_on(house: House) -> None:
    """It waits for its own document alone, which is frozen."""
    first, second = _in_doubt_behind_a_parked_one(house)
    with suppress(Conflict):
        house.release(second, "blind")
    recall = house.recall(["blind"], "2")
    house.run()
    states = [house.state(one, "blind") for one in (first, second, recall)]
    assert states == ["parked", "parked", "delivered"]
