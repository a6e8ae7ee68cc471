"""Statuses: who may speak, what they do to the delivery (rule 4), their order (rule 6), how they travel back."""

from __future__ import annotations

import pytest

from gateway.exchange.report import refuse_for
from gateway.exchange.submission import Answer
from gateway.model.errors import BadRequest
from gateway.model.instants import DAY, MINUTE
from tests.support.nodes import Does, House, accepted, document_id, organ
from tests.support.packets import build_status


def told(house: House) -> list[str]:
    """Codes in the sender's inbox, in order of arrival, collected one by one."""
    codes = []
    while shown := house.shown("sender"):
        row = house.rows(
            "SELECT p.status_code FROM packets p JOIN deliveries d ON d.packet_id = p.id WHERE d.id = ?", shown[0]
        )
        codes.append(row[0]["status_code"])
        house.collect("sender", shown[0])
    return codes


def test_status_travels_back_to_the_sender_as_a_document_does(house: House) -> None:
    house.send(["check"])
    house.work()
    answer = accepted(house.tell("check", "01"))
    assert [line["agency_id"] for line in answer.recipients] == ["sender"]
    assert told(house) == ["01"]
    house.assert_books_close()


def test_status_from_somebody_who_was_never_sent_the_document_is_refused(house: House) -> None:
    house.send(["check"])
    outcome = house.tell("idem", "03")
    assert isinstance(outcome, BadRequest)
    assert outcome.reason == "status.unmatched"
    assert told(house) == []


def test_status_about_nothing_is_refused_alike(house: House) -> None:
    house.send(["check"])
    outcome = house.tell("check", "03", "99")
    assert isinstance(outcome, BadRequest)
    assert outcome.reason == "status.unmatched"


def test_status_in_anothers_name_is_refused(house: House) -> None:
    house.send(["check"])
    body = build_status(sender=organ("check"), issuer=organ("sender"), code="03", document_id=document_id("1"))
    assert house.submit(body, "idem").reason == "identity.foreign_sender"  # type: ignore[union-attr]


def test_status_13_from_anybody_but_the_issuer_is_refused(house: House) -> None:
    house.send(["check"])
    outcome = house.tell("check", "13")
    assert isinstance(outcome, BadRequest)


def test_status_is_matched_by_number_and_date_where_its_document_id_is_unknown(house: House) -> None:
    sent = house.send(["check"])
    house.work()
    outcome = house.tell("check", "03", document_id=f"{organ('sender')},2025/09/01,khac")
    assert isinstance(outcome, Answer)
    assert house.row(sent, "check")["status_code"] == "03"


@pytest.mark.parametrize("code", ["01", "03", "04", "05", "06"])
def test_status_that_only_a_holder_can_send_is_a_receipt(house: House, code: str) -> None:
    sent = house.send(["blind"])
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    house.work()
    assert house.state(sent, "blind") == "parked"
    house.tell("blind", code)
    assert (house.state(sent, "blind"), house.row(sent, "blind")["was"]) == ("delivered", "parked")


@pytest.mark.parametrize("code", ["15", "16"])
def test_status_that_answers_a_recall_is_no_receipt(house: House, code: str) -> None:
    sent = house.send(["blind"])
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    house.work()
    house.tell("blind", code)
    assert house.state(sent, "blind") == "parked"


def test_status_without_any_attempt_is_recorded_but_no_receipt(house: House) -> None:
    sent = house.send(["check"])
    house.tell("check", "01")
    assert house.state(sent, "check") == "ready"
    assert house.row(sent, "check")["status_code"] == "01"


def test_status_that_was_a_receipt_outlives_what_the_worker_says_later(house: House) -> None:
    """Its recipient has reported before the hand-over ended, whose answer is lost: a known end never changes."""
    sent = house.send(["check"])
    house.recipient("check").next(Does.TAKE_SILENTLY)
    house.recipient("check").after = lambda _item: house.tell("check", "01")
    house.work()
    assert house.state(sent, "check") == "delivered"
    assert [one["outcome"] for one in house.attempts(sent, "check")] == ["arrived"]


def test_status_02_before_delivered_refuses_after_it_is_news_only(house: House) -> None:
    early, late = house.send(["check"], "1"), house.send(["idem"], "2")
    house.tell("check", "02", "1")
    assert (house.state(early, "check"), house.row(early, "check")["holder"]) == ("refused", "sender")
    assert house.notices(early, "check") == ["delivery.refused_by_recipient"]
    house.work()
    house.tell("idem", "02", "2")
    assert (house.state(late, "idem"), house.row(late, "idem")["status_code"]) == ("delivered", "02")
    house.run()
    assert house.recipient("check").arrivals == []


def test_status_that_is_a_receipt_reaches_the_head_in_doubt_though_an_update_waits_behind(house: House) -> None:
    document = house.send(["blind"])
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    house.work()
    update = house.update(["blind"])
    assert house.state(update, "blind") == "waiting"
    house.tell("blind", "01")
    assert (house.state(document, "blind"), house.state(update, "blind")) == ("delivered", "ready")


def test_status_about_a_document_that_arrived_is_no_receipt_for_its_update_in_doubt(house: House) -> None:
    """A status names the document only: taken for the update's receipt, it would lose an update that never came."""
    house.send(["check"])
    house.work()
    update = house.update(["check"])
    house.recipient("check").next(Does.LOSE)
    house.work()
    house.tell("check", "03")
    assert house.state(update, "check") == "ready"
    house.run()
    assert house.recipient("check").kinds() == ["new", "update"]


def test_statuses_keep_their_order_per_document_and_reporter(house: House) -> None:
    house.send(["check"])
    house.work()
    for code in ("03", "04", "01"):
        accepted(house.tell("check", code))
    assert told(house) == ["03", "04", "01"]


def test_statuses_of_two_reporters_do_not_wait_for_each_other(house: House) -> None:
    house.send(["check", "idem"])
    house.work()
    house.tell("check", "01")
    house.tell("idem", "01")
    assert len(house.shown("sender")) == 2


def test_status_out_of_order_never_hides_the_furthest(house: House) -> None:
    sent = house.send(["check"])
    house.work()
    for code in ("06", "03", "01"):
        house.tell("check", code)
    assert house.row(sent, "check")["status_code"] == "06"
    assert len(house.rows("SELECT id FROM statuses")) == 3


def test_status_repeated_gets_the_first_answer_and_travels_once(house: House) -> None:
    house.send(["check"])
    house.work()
    first, again = accepted(house.tell("check", "03")), accepted(house.tell("check", "03"))
    assert (again.packet_id, again.is_repeat) == (first.packet_id, True)
    assert told(house) == ["03"]


def test_status_about_a_status_is_never_accepted(house: House) -> None:
    house.send(["check"])
    house.work()
    house.tell("check", "01")
    assert isinstance(house.tell("sender", "01", sender="check"), BadRequest)


def test_status_while_the_recipient_is_unreachable_does_not_hold_up_anything(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").default = Does.REFUSE
    house.work()
    house.tell("check", "02")
    house.pass_time(10 * MINUTE)
    assert house.due() == []
    assert house.state(sent, "check") == "refused"


def two_in_doubt(house: House) -> tuple[Answer, Answer]:
    """A document and its update, of which nobody knows which arrived: both were fetched, and neither confirmed."""
    first = house.send(["inbox-a"])
    house.fetch("inbox-a", house.delivery(first, "inbox-a"))
    house.end_response(house.delivery(first, "inbox-a"))
    update = house.update(["inbox-a"])
    house.pass_time(31 * DAY)
    house.sweep()
    house.fetch("inbox-a", house.delivery(update, "inbox-a"))
    house.end_response(house.delivery(update, "inbox-a"))
    assert (house.state(first, "inbox-a"), house.state(update, "inbox-a")) == ("expired", "fetched")
    return first, update


def test_rule_6a_a_status_of_which_nobody_knows_which_packet_it_means_is_only_recorded(house: House) -> None:
    first, update = two_in_doubt(house)
    assert isinstance(house.tell("inbox-a", "03"), Answer)
    assert (house.state(first, "inbox-a"), house.state(update, "inbox-a")) == ("expired", "fetched")


def test_rule_6a_a_refusal_of_an_item_is_of_that_item(house: House) -> None:
    first, update = two_in_doubt(house)
    refused = refuse_for(house.node, house.delivery(first, "inbox-a"), frozenset({"inbox-a"}), "trùng văn bản")
    assert isinstance(refused, Answer)
    assert (house.state(first, "inbox-a"), house.state(update, "inbox-a")) == ("refused", "fetched")
