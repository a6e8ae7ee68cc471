"""Rule 6a of the protocol: documents tied by replacement and by updates. Each test is named for the rule."""

from __future__ import annotations

from gateway.exchange.submission import Answer
from gateway.model.errors import Conflict
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
