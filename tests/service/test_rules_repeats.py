"""Rule 12 of the protocol: repeats get the first answer, conflicts are refused, nothing is delivered twice."""

from __future__ import annotations

import threading

import pytest

from edxml import Dialect
from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer, PacketRefusal
from gateway.model.errors import Conflict, Forbidden
from gateway.model.instants import DAY
from tests.support.nodes import Does, House, accepted, organ


def test_rule_12_the_same_bytes_get_the_first_answer_with_todays_states(house: House) -> None:
    body = house.packet(["check"])
    first = accepted(house.submit(body))
    house.work()
    again = accepted(house.submit(body))
    assert (again.packet_id, again.is_repeat) == (first.packet_id, True)
    assert [line["state"] for line in again.recipients] == ["delivered"]
    assert len(house.rows("SELECT id FROM packets")) == 1
    house.assert_books_close()


def test_rule_12_the_national_clients_crlf_is_no_other_packet(house: House) -> None:
    body = house.packet(["check"])
    first = accepted(house.submit(body))
    assert accepted(house.submit(body + b"\r\n")).packet_id == first.packet_id


def test_rule_12_the_same_bytes_at_once_from_many_end_in_one_packet(house: House) -> None:
    body = house.packet(["check"])
    outcomes: list[Answer] = []

    def submit() -> None:
        outcomes.append(accepted(accept(house.node, [prepare(house.node, house.submission(body))])[0]))

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({outcome.packet_id for outcome in outcomes}) == 1
    assert sum(not outcome.is_repeat for outcome in outcomes) == 1
    house.run()
    assert len(house.recipient("check").arrivals) == 1


def test_rule_12_the_same_bytes_twice_in_one_group(house: House) -> None:
    body = house.packet(["check"])
    group = [prepare(house.node, house.submission(body)) for _ in range(2)]
    first, second = map(accepted, accept(house.node, group))
    assert (first.is_repeat, second.is_repeat, first.packet_id) == (False, True, second.packet_id)


def test_rule_12_the_same_document_under_other_bytes_is_the_first_packet_whenever_it_comes(house: House) -> None:
    first = accepted(house.submit(house.packet(["check"])))
    other = house.packet(["check"], dialect=Dialect.B)
    for _ in range(3):
        again = accepted(house.submit(other))
        assert (again.packet_id, again.is_repeat) == (first.packet_id, True)
    house.run()
    assert len(house.recipient("check").arrivals) == 1


def test_rule_12_one_packet_per_recipient_gives_each_one_delivery(house: House) -> None:
    for agency in ("check", "idem", "check"):
        accepted(house.submit(house.packet([agency])))
    house.run()
    assert house.recipient("check").kinds() == ["new"]
    assert house.recipient("idem").kinds() == ["new"]
    house.assert_books_close()


def test_rule_12_the_same_document_again_after_its_update_is_nothing_new(house: House) -> None:
    first = house.send(["check"])
    house.work()
    house.update(["check"])
    again = accepted(house.submit(house.packet(["check"], dialect=Dialect.B)))
    assert (again.packet_id, again.is_repeat) == (first.packet_id, True)
    later = house.send(["idem"], dialect=Dialect.B)  # one packet per recipient: this one has none yet
    house.run()
    assert house.state(later, "idem") == "delivered"
    assert house.recipient("check").kinds() == ["new", "update"]


def test_rule_12_the_subset_named_by_to_is_part_of_the_key(house: House) -> None:
    body = house.packet(["check", "idem"])
    first = accepted(house.submit(body, only=(organ("check"),)))
    second = accepted(house.submit(body, only=(organ("idem"),)))
    assert [line["agency_id"] for line in first.recipients] == ["check"]
    assert [line["agency_id"] for line in second.recipients] == ["idem"]
    assert accepted(house.submit(body, only=(organ("check"),))).is_repeat


def test_rule_12_to_names_only_recipients_of_the_packet(house: House) -> None:
    outcome = house.submit(house.packet(["check"]), only=(organ("idem"),))
    assert isinstance(outcome, PacketRefusal)
    assert "route.not_in_packet" in {finding.code for finding in outcome.findings}


def test_rule_12_same_document_other_content_is_a_conflict(house: House) -> None:
    house.send(["check"])
    outcome = house.submit(house.packet(["check"], subject="Một nội dung khác"))
    assert isinstance(outcome, Conflict)
    assert outcome.reason == "document.conflict"
    assert house.rows("SELECT reason FROM events WHERE kind = 'packet.refused'") == [{"reason": "document.conflict"}]
    assert house.submit(house.packet(["check"], subject="Một nội dung khác")).code == outcome.code  # again the same
    house.assert_books_close()


def test_rule_12_who_refused_gets_the_new_revision(house: House) -> None:
    house.send(["check"])
    house.tell("check", "02")
    revision = house.send(["check"], subject="Bản đã sửa")
    assert house.state(revision, "check") == "ready"


def test_rule_12_who_could_not_be_reached_gets_the_new_revision(house: House) -> None:
    house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    house.pass_time(31 * DAY)
    house.sweep()
    revision = house.send(["check"], subject="Bản đã sửa")
    house.work()
    assert house.state(revision, "check") == "delivered"


def test_rule_12_a_revision_after_may_have_arrived_chains_behind_it(house: House) -> None:
    document = house.send(["blind"])
    house.recipient("blind").next(Does.LOSE)
    house.work()
    house.pass_time(31 * DAY)
    house.sweep()
    revision = house.send(["blind"], subject="Bản đã sửa")
    chains = house.rows("SELECT DISTINCT chain_id FROM deliveries WHERE agency_id = 'blind'")
    assert len(chains) == 1
    assert (house.state(document, "blind"), house.state(revision, "blind")) == ("expired", "ready")


@pytest.mark.parametrize("kind", ["recall", "update", "replacement"])
def test_rule_12_recall_update_replacement_repeat_only_if_equal_to_the_latest(house: House, kind: str) -> None:
    house.send(["check"])
    house.work()
    make = {"recall": house.recall, "update": house.update, "replacement": house.replacement}[kind]
    first = make(["check"])
    again = make(["check"], dialect=Dialect.B)
    assert (again.packet_id, again.is_repeat) == (first.packet_id, True)


def test_rule_12_an_update_repeated_after_another_update_is_news(house: House) -> None:
    house.send(["check"])
    house.update(["check"], subject="Một")
    house.update(["check"], subject="Hai")
    back = house.update(["check"], subject="Một", dialect=Dialect.B)
    assert not back.is_repeat
    house.run()
    assert house.recipient("check").kinds() == ["new", "update", "update", "update"]


def test_rule_12_an_idempotency_key_answers_its_submission_and_refuses_another(house: House) -> None:
    first = house.send(["check"], "1", idempotency_key="k-1")
    again = house.send(["check"], "1", idempotency_key="k-1")
    assert again.packet_id == first.packet_id
    outcome = house.submit(house.packet(["check"], "2"), idempotency_key="k-1")
    assert isinstance(outcome, Conflict)
    assert outcome.reason == "submission.idempotency_conflict"
    assert house.send(["check"], "2", idempotency_key="k-2").is_repeat is False
    other = house.submit(house.packet(["check"], "3", "sender-2"), "sender-2", idempotency_key="k-1")
    assert isinstance(other, Answer)  # keys are per system


def test_rule_12_an_idempotency_key_is_one_of_bytes_and_of_recipients(house: House) -> None:
    body = house.packet(["check", "idem"])
    accepted(house.submit(body, only=(organ("check"),), idempotency_key="k-1"))
    outcome = house.submit(body, only=(organ("idem"),), idempotency_key="k-1")
    assert isinstance(outcome, Conflict)
    assert outcome.reason == "submission.idempotency_conflict"


def test_rule_12_a_refused_submission_keeps_no_key(house: House) -> None:
    house.send(["check"], "1")
    bad = house.packet(["check"], "1", subject="Khác")
    assert isinstance(house.submit(bad, idempotency_key="k"), Conflict)
    house.tell("check", "02")
    assert isinstance(house.submit(bad, idempotency_key="k"), Answer)


def test_rule_12_recipients_all_refuses_the_whole_and_names_the_problem(house: House) -> None:
    outcome = house.submit(house.packet(["check", "nowhere"]))
    assert isinstance(outcome, PacketRefusal)
    assert "route.no_channel" in {finding.code for finding in outcome.findings}
    assert house.rows("SELECT id FROM packets") == []


def test_rule_12_recipients_some_makes_the_unroutable_final_rows(house: House) -> None:
    sent = house.send_some(["check", "nowhere", "000.00.77.H99"])
    states = {line["organ_id"]: line["state"] for line in sent.recipients}
    assert states == {organ("check"): "ready", organ("nowhere"): "undeliverable", "000.00.77.H99": "undeliverable"}
    house.run()
    house.assert_books_close()


def test_rule_12_an_abolished_recipient_goes_to_its_successor_once(house: House) -> None:
    sent = house.send(["old", "check"])
    assert [line["agency_id"] for line in sent.recipients] == ["check"]
    house.run()
    assert len(house.recipient("check").arrivals) == 1


def test_rule_12_a_system_sends_only_as_its_own_agencies(house: House) -> None:
    outcome = house.submit(house.packet(["check"], sender="sender-2"), "sender")
    assert isinstance(outcome, Forbidden)
    assert outcome.reason == "identity.foreign_sender"
