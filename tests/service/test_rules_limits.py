"""Rules 7, 9 and 13 of the protocol: time limits, operators, clocks; and intake's share of rule 8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.exchange.submission import Answer
from gateway.model.errors import Conflict
from gateway.model.instants import DAY, HOUR, MINUTE, SECOND
from gateway.store import begun
from gateway.workers.intake_round import intake_once
from gateway.workers.periodic import ClockWatch, periodic_once
from tests.support.nodes import Does, House, WorkerDied, build_house
from tests.support.stores import HandClock, tell


def refusal(act: str, call: object) -> str:
    """The reason that an operator's act is refused with."""
    with pytest.raises(Conflict) as caught:
        call()  # type: ignore[operator]
    reason = caught.value.reason
    assert reason.startswith(f"{act}.")
    return reason.removeprefix(f"{act}.")


# --- rule 7 --------------------------------------------------------------------------------------------------------


def test_rule_7_what_nobody_confirmed_in_thirty_days_expires_surely_or_not(house: House) -> None:
    sent = house.send(["check", "blind", "inbox-a", "inbox-b"])
    house.recipient("check").next(Does.REFUSE)
    house.recipient("blind").next(Does.LOSE)
    house.work()
    house.fetch("inbox-b", house.delivery(sent, "inbox-b"))
    house.end_response(house.delivery(sent, "inbox-b"))
    house.pass_time(30 * DAY - SECOND)
    house.sweep()
    assert "expired" not in house.states(sent).values()
    house.pass_time(SECOND)
    house.sweep()
    assert set(house.states(sent).values()) == {"expired"}
    unsure = {a for a in house.states(sent) if any(x["outcome"] != "surely_not" for x in house.attempts(sent, a))}
    assert unsure == {"blind", "inbox-b"}
    assert house.notices(sent, "check") == ["delivery.time_limit"]
    house.assert_books_close()


def test_rule_7_expiry_spares_claims(house: House) -> None:
    sent = house.send(["check"])
    states: list[str] = []

    def outlive(_item: object) -> None:
        with house.node.store.write() as connection:  # somebody keeps renewing the lease
            tell(connection, "UPDATE transfers SET lease_until = lease_until + ?", 40 * DAY)
        house.pass_time(31 * DAY)
        house.sweep()
        states.append(house.state(sent, "check"))

    house.recipient("check").during_stage = outlive
    house.work()
    assert states == ["claimed"]
    assert house.state(sent, "check") == "delivered"


def test_rule_7_expiry_spares_open_attempts(house: House) -> None:
    """Trace §14: attempt committed, lease swept, expired as "not arrived", then it lands, perhaps after the recall."""
    sent = house.send(["idem"])
    recipient = house.recipient("idem")
    house.pass_time(30 * DAY - 10 * SECOND)
    states: list[str] = []

    def outlive(_item: object) -> None:
        recipient.during = lambda _item: None
        with house.node.store.write() as connection:
            connection.exec_driver_sql("UPDATE transfers SET lease_until = 0")
        house.pass_time(15 * SECOND)  # past the limit, before over_by
        house.sweep()
        states.append(house.state(sent, "idem"))

    recipient.during = outlive
    house.work()
    assert states == ["ready"]
    assert house.state(sent, "idem") == "delivered"


def test_rule_7_a_waiting_packets_limit_starts_when_it_becomes_head(house: House) -> None:
    document = house.send(["check"])
    house.recipient("check").default = Does.REFUSE
    house.work()
    update = house.update(["check"])
    house.pass_time(30 * DAY)
    house.sweep()
    assert (house.state(document, "check"), house.state(update, "check")) == ("expired", "ready")
    house.pass_time(29 * DAY)
    house.sweep()
    assert house.state(update, "check") == "ready"
    house.pass_time(DAY)
    house.sweep()
    assert house.state(update, "check") == "expired"


# --- rule 9: release -----------------------------------------------------------------------------------------------


def parked(house: House, does: Does = Does.PARK, channel: str = "check") -> Answer:
    sent = house.send([channel])
    house.recipient(channel).next(does)
    house.work()
    assert house.state(sent, channel) == "parked"
    return sent


def in_doubt(house: House, channel: str) -> None:
    """Three workers die over what is due there; nobody knows whether it arrived, and it is parked."""
    house.recipient(channel).default = Does.DIE_AFTER
    for _ in range(3):
        with pytest.raises(WorkerDied):
            house.work(house.ready())
        house.recipient(channel).arrivals.clear()  # `find` says no: nothing had landed yet
        house.pass_time(2 * MINUTE)
        house.sweep()


def test_rule_9_release_lets_a_parked_delivery_go_on(house: House) -> None:
    sent = parked(house)
    assert house.release(sent, "check") == "ready"
    house.work()
    assert house.state(sent, "check") == "delivered"
    house.assert_books_close()


def test_rule_9_release_is_refused_of_what_is_not_parked_and_when_the_turn_moved_on(house: House) -> None:
    sent = house.send(["check"])
    assert refusal("release", lambda: house.release(sent, "check")) == "not_parked"
    house.recipient("check").next(Does.PARK)
    house.work()
    turn = house.row(sent, "check")["turn"]
    assert refusal("release", lambda: house.release(sent, "check", turn=turn - 1)) == "moved_on"
    assert house.release(sent, "check", turn=turn) == "ready"
    assert refusal("release", lambda: house.release(sent, "check", turn=turn)) == "moved_on"


def test_rule_9_release_is_refused_while_an_attempt_is_open(house: House) -> None:
    sent = parked(house, Does.LOSE, "blind")
    assert refusal("release", lambda: house.release(sent, "blind")) == "attempt_still_open"
    house.pass_time(MINUTE)
    assert house.release(sent, "blind") == "ready"


def test_rule_9_release_is_refused_of_what_is_frozen(house: House) -> None:
    sent = parked(house, Does.LOSE, "blind")
    house.recall(["blind"])
    house.pass_time(MINUTE)  # nothing is open any more, the sweep has not looked yet
    assert refusal("release", lambda: house.release(sent, "blind")) == "may_have_arrived"
    house.sweep()
    assert refusal("release", lambda: house.release(sent, "blind")) == "behind_earlier"


def test_rule_9_on_a_blind_sink_release_permits_exactly_one_attempt(house: House) -> None:
    sent = parked(house, Does.LOSE, "blind")
    house.pass_time(MINUTE)
    house.release(sent, "blind")
    house.recipient("blind").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    house.run()
    assert house.state(sent, "blind") == "parked"
    assert house.recipient("blind").arrivals == []
    assert len(house.attempts(sent, "blind")) == 2


def test_rule_9_what_surely_did_not_arrive_gives_the_permit_back(house: House) -> None:
    sent = parked(house, Does.LOSE, "blind")
    house.pass_time(MINUTE)
    house.release(sent, "blind")
    house.recipient("blind").next(Does.REFUSE)
    house.run()
    assert house.state(sent, "blind") == "delivered"
    assert len(house.attempts(sent, "blind")) == 3


def test_rule_9_a_release_starts_the_time_limit_anew(house: House) -> None:
    sent = parked(house)
    house.pass_time(30 * DAY - SECOND)
    house.release(sent, "check")
    house.pass_time(MINUTE)
    house.sweep()
    assert house.state(sent, "check") == "ready"


def test_rule_9_a_shared_transfer_in_doubt_is_released_whole(house: House) -> None:
    """Released alone, one member would get a new key, of which `find` knows nothing, and would arrive twice."""
    sent = house.send(["pair-a", "pair-b"])
    in_doubt(house, "pair")
    assert house.states(sent) == {"pair-a": "parked", "pair-b": "parked"}
    key = house.ticket(sent, "pair-a").transfer_id
    house.release(sent, "pair-a")
    assert house.states(sent) == {"pair-a": "ready", "pair-b": "ready"}
    assert house.ticket(sent, "pair-a").transfer_id == house.ticket(sent, "pair-b").transfer_id == key


def test_rule_9_who_shared_a_transfer_and_has_it_does_not_keep_the_other_one_back(house: House) -> None:
    sent = house.send(["pair-a", "pair-b"])
    in_doubt(house, "pair")
    house.tell("pair-a", "01")
    house.release(sent, "pair-b")
    assert house.states(sent) == {"pair-a": "delivered", "pair-b": "ready"}


# --- rule 9: vouch -------------------------------------------------------------------------------------------------


def test_rule_9_what_a_person_vouches_for_is_delivered_and_its_successor_goes_on(house: House) -> None:
    sent = parked(house, Does.LOSE, "blind")
    update = house.update(["blind"])
    house.run()
    assert house.state(update, "blind") == "waiting"
    assert house.vouch(sent, "blind") == "delivered"
    assert refusal("vouch", lambda: house.vouch(sent, "blind")) == "nothing_in_doubt"
    house.run()
    assert house.state(update, "blind") == "delivered"
    assert house.recipient("blind").seen(sent.packet_id) == 0, "nothing was sent for it"
    (event,) = house.rows("SELECT actor, state_after FROM events WHERE kind = 'delivery.vouched'")
    assert event == {"actor": "operator", "state_after": "delivered"}
    house.assert_books_close()


def test_rule_9_what_surely_did_not_arrive_is_not_vouched_for(house: House) -> None:
    sent = parked(house)
    assert refusal("vouch", lambda: house.vouch(sent, "check")) == "nothing_in_doubt"
    assert house.state(sent, "check") == "parked"


def test_rule_9_a_shared_transfer_is_vouched_for_whole(house: House) -> None:
    sent = house.send(["pair-a", "pair-b"])
    in_doubt(house, "pair")
    house.vouch(sent, "pair-b")
    assert house.states(sent) == {"pair-a": "delivered", "pair-b": "delivered"}
    house.assert_books_close()


# --- rule 9: resend ------------------------------------------------------------------------------------------------


def test_rule_9_resend_is_a_new_transfer_with_a_new_key(house: House) -> None:
    sent = parked(house, Does.TAKE_SILENTLY, "blind")
    key = house.ticket(sent, "blind").transfer_id
    house.pass_time(MINUTE)
    house.resend(sent, "blind")
    assert house.ticket(sent, "blind").transfer_id != key
    house.work()
    assert house.state(sent, "blind") == "delivered"
    assert len({landed.key for landed in house.recipient("blind").arrivals}) == 2
    house.assert_books_close()


def test_rule_9_resend_of_an_expired_delivery_starts_its_limit_anew(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    house.pass_time(31 * DAY)
    house.sweep()
    house.resend(sent, "check")
    house.sweep()
    assert house.state(sent, "check") == "ready"
    house.work()
    assert house.state(sent, "check") == "delivered"


def test_rule_9_resend_only_of_the_newest(house: House) -> None:
    """Trace §14: a resend of the original after its update overtakes it."""
    document = house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    house.pass_time(31 * DAY)
    house.sweep()
    house.update(["check"])
    house.work()
    assert refusal("resend", lambda: house.resend(document, "check")) == "behind_earlier"


def test_rule_9_resend_is_refused_while_anything_is_open_and_of_what_is_under_way(house: House) -> None:
    sent = parked(house, Does.LOSE, "blind")
    assert refusal("resend", lambda: house.resend(sent, "blind")) == "attempt_still_open"
    other = house.send(["check"], "2")
    assert refusal("resend", lambda: house.resend(other, "check")) == "not_resendable"


def test_rule_9_after_a_resend_a_no_of_find_tells_nothing_about_the_old_key(house: House) -> None:
    """ "May have arrived" is never erased: a later recall still goes to the recipient."""
    sent = house.send(["check"])
    recipient = house.recipient("check")
    recipient.next(Does.TAKE_SILENTLY)
    house.work()
    recipient.forgets = True
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(sent, "check") == "expired"
    recipient.forgets = False
    house.resend(sent, "check")
    recipient.next(Does.REFUSE)
    house.work()  # find(new key) says no; the attempt surely did not arrive
    recall = house.recall(["check"])
    house.run()
    assert recipient.kinds()[-1] == "recall"
    assert house.state(recall, "check") == "delivered"


# --- rule 13 -------------------------------------------------------------------------------------------------------


def test_rule_13_after_a_jump_of_the_clock_verdicts_by_time_wait_a_round(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    watch = ClockWatch(house.node.now)
    house.pass_time(HOUR)
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "check") == "claimed"
    assert [row["kind"] for row in house.rows("SELECT kind FROM events WHERE kind LIKE 'node.%'")] == [
        "node.clock_jumped"
    ]
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "check") == "ready"


def test_rule_13_a_small_step_is_no_jump(house: House) -> None:
    watch = ClockWatch(house.node.now)
    house.pass_time(4 * SECOND)
    assert watch.jumped() is None
    house.clock.jump(-6 * SECOND)
    jump = watch.jumped()
    assert jump is not None
    assert jump.seconds < -5.0


def test_rule_13_scheduling_compares_with_the_stores_clock_only(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    wrong = replace(house, node=replace(house.node, now=HandClock(9_999_999_999 * SECOND).now))
    wrong.sweep()
    assert house.state(sent, "check") == "claimed"


def test_rule_13_spools_found_at_start_are_deleted(house: House) -> None:
    spool = house.node.store.blobs.spool()
    spool.write_bytes(b"half a body")
    house.node.store.blobs.clear_spool()
    assert not spool.exists()


# --- rule 8: intake counts likewise --------------------------------------------------------------------------------


def test_rule_8_a_file_whose_intake_kills_its_worker_is_set_aside_after_three(tmp_path: Path) -> None:
    house = build_house(tmp_path, folders=True)
    out = house.root / "di"
    out.mkdir(exist_ok=True)
    house.node.channels.sink("folder").probe()
    (out / "van-ban.edxml").write_bytes(house.packet(["check"], sender="folder-a"))

    keys: list[str] = []

    def end_here() -> int:
        keys.append(house.rows("SELECT key FROM intake_faults")[0]["key"])
        raise WorkerDied("intake")

    killed = replace(house, node=replace(house.node, now=end_here))  # type: ignore[arg-type]
    with pytest.raises(WorkerDied):
        intake_once(killed.node)
    assert house.rows("SELECT * FROM intake_faults") == []  # in one process even a dying worker reports
    for _ in range(3):
        with house.node.store.write() as connection:
            begun.begin(connection, keys[:1])  # what a killed process leaves behind
    assert intake_once(house.node) == 1
    assert house.rows("SELECT id FROM packets") == []
    assert not (out / "van-ban.edxml").exists()
    assert intake_once(house.node) == 0
    house.close()
