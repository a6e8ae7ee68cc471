"""Rules 4, 5 and 8 of the protocol: attempts, receipts, sinks of each kind, failures and whose they are."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from gateway.model.instants import HOUR, MINUTE, SECOND, boot_now
from gateway.model.states import DeliveryState
from gateway.transport.contract import Ticket
from tests.support.late import land_late
from tests.support.nodes import Does, House, WorkerDied
from tests.support.stores import tell


def die(house: House, tickets: list[Ticket] | None = None) -> None:
    """A worker takes these tickets and dies on the way."""
    with pytest.raises(WorkerDied):
        house.work(tickets)


# --- rule 4 --------------------------------------------------------------------------------------------------------


def test_rule_4_an_attempt_is_committed_before_the_first_byte(house: House) -> None:
    sent = house.send(["check"])
    seen: list[int] = []
    house.recipient("check").during = lambda _item: seen.append(len(house.attempts(sent, "check")))
    house.work()
    assert seen == [1]


def test_rule_4_a_worker_that_was_stolen_from_cannot_send(house: House) -> None:
    """Trace §14: it claims and stalls; the sweep; worker 2 delivers; it wakes, commits its attempt, sends: twice."""
    sent = house.send(["blind"])
    recipient = house.recipient("blind")

    def steal(_item: object) -> None:
        recipient.during_stage = lambda _item: None
        house.pass_time(2 * MINUTE)
        house.sweep()
        house.worker("w2").work([house.ticket(sent, "blind")])

    recipient.during_stage = steal
    house.work()
    assert len(recipient.arrivals) == 1
    assert len(house.attempts(sent, "blind")) == 1


def test_rule_4_a_worker_that_was_stolen_from_cannot_send_while_the_next_one_works(house: House) -> None:
    sent = house.send(["blind"])
    recipient = house.recipient("blind")

    def steal(_item: object) -> None:
        recipient.during_stage = lambda _item: (_ for _ in ()).throw(WorkerDied)
        house.pass_time(2 * MINUTE)
        house.sweep()
        die(house.worker("w2"), [house.ticket(sent, "blind")])

    recipient.during_stage = steal
    house.work()
    assert house.state(sent, "blind") == "claimed"
    assert recipient.arrivals == []


def test_rule_4_over_by_is_the_sending_limit_and_the_settle_time_after_the_stores_clock(house: House) -> None:
    sent = house.send(["check"])
    began = house.now()
    house.work()
    assert house.attempts(sent, "check")[0]["over_by"] == began + 30 * SECOND


def test_rule_4_the_sending_limit_counts_from_before_the_attempt_is_committed(house: House) -> None:
    """Else bytes would still go out when everybody else takes the attempt to be over."""
    house.send(["check"])
    recipient, commits, seen = house.recipient("check"), list[float](), list[float]()
    event.listen(house.node.store.engine, "commit", lambda _connection: commits.append(boot_now() / SECOND))
    recipient.during_stage = lambda _item: seen.append(boot_now() / SECOND)
    recipient.during = lambda _item: seen.append(commits[-1])
    house.work()
    staged, committed = seen
    assert staged <= recipient.until - recipient.sending_limit.total_seconds() <= committed


@pytest.mark.parametrize(
    ("does", "end"),
    [(Does.TAKE, "arrived"), (Does.REFUSE, "surely_not"), (Does.LOSE, "unknown"), (Does.PARK, "surely_not")],
)
def test_rule_4_an_attempt_ends_as_the_sink_says(house: House, does: Does, end: str) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(does)
    house.work()
    assert [one["outcome"] for one in house.attempts(sent, "check")] == [end]


def test_rule_4_without_an_end_an_attempt_stays_open_then_unsure(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    die(house)
    house.pass_time(HOUR)
    house.sweep()
    assert [one["outcome"] for one in house.attempts(sent, "check")] == [None]


def test_rule_4_receipts_are_facts_a_late_one_unparks(house: House) -> None:
    """Trace §14: worker 1 is stolen from; worker 2 parks; worker 1's receipt comes."""
    sent = house.send(["blind"])
    recipient = house.recipient("blind")

    def steal_and_park(_item: object) -> None:
        recipient.during = lambda _item: None
        house.pass_time(2 * MINUTE)
        house.sweep()
        house.worker("w2").work([house.ticket(sent, "blind")])
        assert house.state(sent, "blind") == "parked"

    recipient.during = steal_and_park
    turn = house.row(sent, "blind")["turn"]
    house.work()
    row = house.row(sent, "blind")
    assert (row["state"], row["was"]) == ("delivered", "parked")
    assert row["turn"] > turn
    assert house.events(sent, "blind")[-1] == ("delivery.late_receipt", "late_receipt")
    assert house.notices(sent, "blind") == ["delivery.outcome_unknown", "delivery.late_receipt"]
    assert len(recipient.arrivals) == 1
    house.assert_books_close()


def test_rule_4_a_receipt_after_expiry_delivers_and_says_what_it_was(house: House) -> None:
    sent = house.send(["blind"])
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    house.work()
    house.pass_time(31 * 24 * HOUR)
    house.sweep()
    assert house.state(sent, "blind") == "expired"
    house.tell("blind", "01")
    row = house.row(sent, "blind")
    assert (row["state"], row["was"]) == ("delivered", "expired")
    assert "delivery.late_receipt" in house.notices(sent, "blind")
    house.assert_books_close()


def test_rule_4_a_receipt_while_another_worker_holds_the_claim_is_late_but_counts(house: House) -> None:
    sent = house.send(["idem"])
    recipient = house.recipient("idem")

    def steal(_item: object) -> None:
        recipient.during = lambda _item: None
        house.pass_time(2 * MINUTE)
        house.sweep()
        recipient.next(Does.DIE_BEFORE)
        die(house.worker("w2"), [house.ticket(sent, "idem")])
        assert house.state(sent, "idem") == "claimed"

    recipient.during = steal
    house.work()
    assert house.state(sent, "idem") == "delivered"
    assert ("delivery.late_receipt", "late_receipt") in house.events(sent, "idem")


@pytest.mark.parametrize("does", [Does.REFUSE, Does.PARK, Does.LOSE, Does.REFUSE_DOCUMENT])
def test_rule_4_out_of_turn_a_worker_only_ends_its_own_attempt(house: House, does: Does) -> None:
    sent = house.send(["idem"])
    recipient = house.recipient("idem")

    def steal(_item: object) -> None:
        recipient.during = lambda _item: None
        house.pass_time(2 * MINUTE)
        house.sweep()
        recipient.next(Does.TAKE, does)
        house.worker("w2").work([house.ticket(sent, "idem")])

    recipient.during = steal
    house.work()
    assert house.state(sent, "idem") == "delivered"
    assert [one["outcome"] for one in house.attempts(sent, "idem")][1] == "arrived"


# --- rule 5 --------------------------------------------------------------------------------------------------------


def test_rule_5_the_key_is_stable_over_attempts(house: House) -> None:
    house.send(["idem"])
    keys: list[str] = []
    recipient = house.recipient("idem")
    recipient.during = lambda item: keys.append(item.key)
    recipient.next(Does.REFUSE, Does.LOSE, Does.TAKE_SILENTLY)
    house.run()
    assert len(keys) == 4
    assert len(set(keys)) == 1
    assert recipient.copies(keys[0]) == 1


def test_rule_5_idempotent_is_sent_again_at_once(house: House) -> None:
    sent = house.send(["idem"])
    house.recipient("idem").next(Does.TAKE_SILENTLY)
    house.work()
    house.pass_time(5 * SECOND)
    house.work()
    assert house.state(sent, "idem") == "delivered"
    assert house.recipient("idem").seen(sent.packet_id) == 1


def test_rule_5_a_yes_of_find_is_a_receipt(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.TAKE_SILENTLY)
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert house.reason(sent, "check") == "found"
    assert house.recipient("check").seen(sent.packet_id) == 1


def test_rule_5_a_no_of_find_counts_only_when_no_attempt_is_open(house: House) -> None:
    """Trace §14: the worker dies while sending; the next one's `find` says no; the old bytes land; it sends again."""
    sent = house.send(["check"])
    recipient = house.recipient("check")
    recipient.next(Does.DIE_BEFORE)
    die(house)
    with house.node.store.write() as connection:  # the bytes take a quarter of an hour
        tell(connection, "UPDATE attempts SET boot_over = boot_over + ?", 15 * MINUTE)
    house.pass_time(2 * MINUTE)
    house.sweep()
    house.work(house.ready())
    assert house.state(sent, "check") == "ready"
    assert recipient.arrivals == []
    assert house.row(sent, "check")["due_at"] == house.attempts(sent, "check")[0]["over_by"] + 15 * MINUTE
    assert house.row(sent, "check")["unreported"] == 0
    land_late(house, "check")
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert recipient.seen(sent.packet_id) == 1


def test_rule_5_an_unknown_end_stays_open_until_nothing_can_land_any_more(house: House) -> None:
    """The sink gave up waiting; the other side's buffer had the bytes and lets them land within the settle time."""
    sent = house.send(["check"])
    recipient = house.recipient("check")
    recipient.next(Does.LOSE)
    house.work()
    house.pass_time(10 * SECOND)  # the retry is due, over_by is not over
    house.work(house.ready())
    land_late(house, "check")
    house.run()
    assert recipient.seen(sent.packet_id) == 1
    assert house.state(sent, "check") == "delivered"


def test_rule_5_a_counting_no_sends_again(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.LOSE)
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert [one["outcome"] for one in house.attempts(sent, "check")] == ["surely_not", "arrived"]


def test_rule_5_a_find_that_cannot_tell_is_neither_yes_nor_no(house: House) -> None:
    sent = house.send(["check"])
    recipient = house.recipient("check")
    recipient.next(Does.TAKE_SILENTLY)
    house.work()
    recipient.forgets = True
    house.run(until=HOUR)
    assert house.state(sent, "check") == "ready"
    recipient.forgets = False
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert recipient.seen(sent.packet_id) == 1


def test_rule_5_blind_and_unknown_is_parked_and_a_person_decides(house: House) -> None:
    sent = house.send(["blind"])
    house.recipient("blind").next(Does.LOSE)
    house.work()
    assert house.state(sent, "blind") == "parked"
    assert house.reason(sent, "blind") == "outcome_unknown"
    house.run()
    assert house.state(sent, "blind") == "parked"
    assert house.recipient("blind").arrivals == []


def test_rule_5_blind_whose_worker_died_while_sending_is_parked_at_the_next_claim(house: House) -> None:
    sent = house.send(["blind"])
    house.recipient("blind").next(Does.DIE_AFTER)
    die(house)
    house.run()
    assert house.state(sent, "blind") == "parked"
    assert house.recipient("blind").seen(sent.packet_id) == 1


def test_rule_5_damaged_bytes_are_parked_and_never_published(house: House) -> None:
    sent = house.send(["check"])
    digest = house.rows("SELECT blob FROM packets WHERE id = ?", sent.packet_id)[0]["blob"]
    house.node.store.blobs.path(digest).write_bytes(b"something else")
    house.work()
    assert (house.state(sent, "check"), house.reason(sent, "check")) == ("parked", "blob_damaged")
    assert house.recipient("check").arrivals == []


def test_rule_5_missing_bytes_are_parked(house: House) -> None:
    sent = house.send(["check"])
    digest = house.rows("SELECT blob FROM packets WHERE id = ?", sent.packet_id)[0]["blob"]
    house.node.store.blobs.delete(digest)
    house.work()
    assert (house.state(sent, "check"), house.reason(sent, "check")) == ("parked", "blob_missing")


# --- rule 8 --------------------------------------------------------------------------------------------------------


def test_rule_8_faults_of_the_channel_are_not_counted_and_open_the_breaker_once(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").default = Does.REFUSE
    house.run(until=2 * HOUR)
    row = house.row(sent, "check")
    assert (row["state"], row["tries"]) == ("ready", 0)
    broken = house.rows("SELECT kind FROM events WHERE kind = 'channel.broken'")
    assert len(broken) == 1
    house.recipient("check").default = Does.TAKE
    house.run()
    assert house.state(sent, "check") == "delivered"
    assert len(house.rows("SELECT kind FROM events WHERE kind = 'channel.recovered'")) == 1


def test_rule_8_three_hand_overs_without_an_answer_open_the_breaker(house: House) -> None:
    sent = house.send(["idem"])
    house.recipient("idem").next(Does.LOSE, Does.LOSE, Does.LOSE)
    house.run()
    assert [r["reason"] for r in house.rows("SELECT reason FROM events WHERE kind = 'channel.broken'")] == [
        "channel.unanswered"
    ]
    assert house.state(sent, "idem") == "delivered"


def test_rule_8_an_open_breaker_lets_nothing_through_then_one_then_two(house: House) -> None:
    for number in range(8):
        house.send(["check"], str(number + 1))
    recipient = house.recipient("check")
    recipient.default = Does.REFUSE
    house.work()
    house.pass_time(10 * SECOND)
    assert house.due() == []
    house.pass_time(MINUTE)
    assert len(house.due()) == 1
    recipient.default = Does.TAKE
    house.work()
    assert len(house.due()) == 2


def test_rule_8_faults_of_the_document_are_counted_and_park_it(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").default = Does.REFUSE_DOCUMENT
    house.run(until=24 * HOUR)
    row = house.row(sent, "check")
    assert (row["state"], row["reason"], row["tries"]) == ("parked", "tried_too_often", 8)
    assert house.rows("SELECT kind FROM events WHERE kind = 'channel.broken'") == []


@pytest.mark.parametrize("channel", ["idem", "check"])
def test_rule_8_a_packet_that_kills_its_worker_is_parked_after_three(house: House, channel: str) -> None:
    sent = house.send([channel])
    house.recipient(channel).default = Does.DIE_BEFORE
    for _ in range(3):
        die(house, house.ready())
        house.pass_time(2 * MINUTE)
        house.sweep()
    assert (house.state(sent, channel), house.reason(sent, channel)) == ("parked", "workers_died")
    house.assert_books_close()


def test_rule_8_a_worker_that_reports_late_gives_its_count_back(house: House) -> None:
    sent = house.send(["idem"])
    recipient = house.recipient("idem")

    def stall(_item: object) -> None:
        house.pass_time(2 * MINUTE)
        house.sweep()

    recipient.during = stall
    recipient.default = Does.LOSE
    for _ in range(5):
        house.work(house.ready())
    assert (house.state(sent, "idem"), house.row(sent, "idem")["unreported"]) == ("ready", 0)


def test_rule_8_one_hanging_channel_does_not_park_its_neighbours(house: House) -> None:
    slow = house.send(["check"], "1")
    quick = house.send(["idem"], "2")
    house.recipient("check").default = Does.REFUSE
    house.run(until=HOUR)
    assert house.state(quick, "idem") == DeliveryState.DELIVERED
    assert house.state(slow, "check") == DeliveryState.READY
