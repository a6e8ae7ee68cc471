"""Rules 1 to 3 of the protocol: shared transfers, tickets, claims, turns. Named for what breaks without them."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import Connection, event, insert

from edxml.codes import Priority
from gateway.exchange.claims import claim_group
from gateway.exchange.deliver import deliver
from gateway.model.chain import Move, Reason
from gateway.model.instants import DAY, HOUR, MINUTE, SECOND, new_id
from gateway.model.states import DeliveryState
from gateway.store import claims, deliveries, due, picking, schema
from gateway.transport.contract import Ticket
from gateway.workers.relay import relay_once
from tests.support.nodes import Does, House, WorkerDied


def die(house: House, tickets: list[Ticket] | None = None) -> None:
    """A worker takes these tickets and dies on the way, as its recipient's script says."""
    try:
        house.work(tickets)
    except WorkerDied:
        return
    raise AssertionError("the worker lived")


# --- rule 1: shared transfers ------------------------------------------------------------------------------------


def test_rule_1_recipients_of_one_channel_share_a_transfer_and_one_hand_over(house: House) -> None:
    sent = house.send(["pair-a", "pair-b", "check"])
    assert house.ticket(sent, "pair-a") == house.ticket(sent, "pair-b")
    assert house.ticket(sent, "check") != house.ticket(sent, "pair-a")
    house.work()
    assert house.states(sent) == {"pair-a": "delivered", "pair-b": "delivered", "check": "delivered"}
    assert len(house.recipient("pair").arrivals) == 1


def test_rule_1_polled_recipients_never_share(house: House) -> None:
    sent = house.send(["inbox-a", "inbox-b"])
    assert house.ticket(sent, "inbox-a") != house.ticket(sent, "inbox-b")


def test_rule_1_promotion_splits_a_shared_transfer(house: House) -> None:
    """Trace §14: a recall to {A, B} while B's document is open: "any head" overtakes B, "all heads" makes A wait."""
    first = house.send(["pair-a"])
    house.work()
    again = house.send(["pair-b"])  # the same document, one packet per recipient: a transfer of its own
    house.recipient("pair").next(Does.LOSE)
    house.work()
    recall = house.recall(["pair-a", "pair-b"])
    assert house.states(recall) == {"pair-a": "ready", "pair-b": "waiting"}
    house.work([house.ticket(recall, "pair-a")])
    assert house.states(recall) == {"pair-a": "delivered", "pair-b": "waiting"}
    house.run()
    assert (house.state(first, "pair-a"), house.state(again, "pair-b")) == ("delivered", "withdrawn")
    assert house.states(recall) == {"pair-a": "delivered", "pair-b": "withdrawn"}  # `find` says that it never came
    assert house.recipient("pair").kinds() == ["new", "recall"]
    house.assert_books_close()


def test_rule_1_update_behind_a_shared_transfer_shares_until_one_is_promoted(house: House) -> None:
    document = house.send(["pair-a", "pair-b"])
    house.recipient("pair").next(Does.LOSE)
    house.work()  # in doubt: nothing can be withdrawn
    update = house.update(["pair-a", "pair-b"])
    assert house.ticket(update, "pair-a").transfer_id == house.ticket(update, "pair-b").transfer_id
    house.tell("pair-a", "01")  # a receipt for one of the two
    assert house.states(document) == {"pair-a": "delivered", "pair-b": "ready"}
    assert house.states(update) == {"pair-a": "ready", "pair-b": "waiting"}
    assert house.ticket(update, "pair-a").transfer_id != house.ticket(update, "pair-b").transfer_id
    house.run()
    assert house.states(update) == {"pair-a": "delivered", "pair-b": "delivered"}
    house.assert_books_close()


def test_rule_1_closed_members_leave_before_the_claim(house: House) -> None:
    sent = house.send(["pair-a", "pair-b"])
    house.recall(["pair-a"])
    seen: list[tuple[str, ...]] = []
    house.recipient("pair").during = lambda item: seen.append(item.recipients)
    house.work()
    assert [len(organs) for organs in seen] == [1]
    assert house.states(sent) == {"pair-a": "withdrawn", "pair-b": "delivered"}


def test_rule_1_one_member_refuses_while_the_other_is_under_way(house: House) -> None:
    sent = house.send(["pair-a", "pair-b"])
    house.recipient("pair").during = lambda _item: house.tell("pair-a", "02") and None
    house.work()
    assert house.states(sent) == {"pair-a": "refused", "pair-b": "delivered"}
    house.assert_books_close()


# --- rule 2: states ------------------------------------------------------------------------------------------------


def test_rule_2_no_state_changes_but_from_the_one_that_was_seen(house: House) -> None:
    """Whoever decided by another one is told, and nothing of what he decided is kept."""
    seen, moved = (house.delivery(house.send(["inbox-a"], number), "inbox-a") for number in ("1", "2"))
    house.fetch("inbox-a", moved)
    before = house.rows("SELECT id, state, since FROM deliveries ORDER BY id")
    expired = [
        Move(
            delivery_id=one, transfer_id="", before=DeliveryState.AVAILABLE, after=DeliveryState.EXPIRED,
            reason=Reason.TIME_LIMIT,
        )
        for one in (seen, moved)
    ]  # fmt: skip
    with pytest.raises(deliveries.StaleMove), house.node.store.write() as connection:
        deliveries.apply(connection, expired, now=house.now(), at=house.now(), actor="test")
    assert house.rows("SELECT id, state, since FROM deliveries ORDER BY id") == before
    house.assert_books_close()


def test_rule_2_roll_ups_change_with_the_states(house: House) -> None:
    house.send(["check", "inbox-a"])
    house.work()
    counts = house.rows("SELECT agency_id, state, count FROM rollups WHERE book = 'documents' AND count != 0")
    assert {(row["agency_id"], row["state"], row["count"]) for row in counts} == {
        ("check", "delivered", 1),
        ("inbox-a", "available", 1),
    }


# --- rule 3: tickets, claims, turns --------------------------------------------------------------------------------


def test_rule_3_a_doubled_or_stale_ticket_is_forgotten(house: House) -> None:
    sent = house.send(["check"])
    ticket = house.ticket(sent, "check")
    assert house.work([ticket, ticket, Ticket(ticket.transfer_id, ticket.turn + 1)]) == 3
    assert len(house.recipient("check").arrivals) == 1


def test_rule_3_a_ticket_of_an_earlier_turn_shortens_no_wait(house: House) -> None:
    sent = house.send(["check"])
    stale = house.ticket(sent, "check")
    house.recipient("check").next(Does.REFUSE)
    house.work([stale])
    house.work([stale])
    assert (house.state(sent, "check"), len(house.attempts(sent, "check"))) == ("ready", 1)
    assert house.recipient("check").arrivals == []


def test_rule_3_too_little_time_is_left_nothing_is_sent(house: House) -> None:
    """Who waited for its neighbours until the attempt is nearly over goes back, and that is nobody's fault."""
    sent = house.send(["check"])
    house.recipient("check").sending_limit = timedelta(0)
    house.work()
    row = house.row(sent, "check")
    assert (row["state"], row["reason"], row["tries"]) == ("ready", "drained", 0)
    assert house.recipient("check").arrivals == []
    assert [one["outcome"] for one in house.attempts(sent, "check")] == ["surely_not"]


def test_rule_3_two_workers_claim_one_transfer_once(house: House) -> None:
    sent = house.send(["check"])
    ticket = house.ticket(sent, "check")
    threads = [threading.Thread(target=deliver, args=(house.worker(f"w{i}").node, [ticket])) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(house.recipient("check").arrivals) == 1
    assert len(house.attempts(sent, "check")) == 1


def test_rule_3_a_worker_that_stalls_between_its_claim_and_its_look_does_not_get_the_next_ones_turn(
    house: House,
) -> None:
    """It claims and stalls; the sweep frees the claim; the next worker claims a turn more; then the first wakes."""
    sent = house.send(["blind"])
    first, second = house.worker("w1"), house.worker("w2")
    recipient = house.recipient("blind")
    is_stalled: list[bool] = []

    def stall(connection: Connection) -> None:
        if is_stalled or connection.get_execution_options().get("truc_writes"):
            return
        is_stalled.append(True)  # w1 has committed its claim and now reads what it claimed
        house.pass_time(2 * MINUTE)
        house.sweep()
        recipient.during_stage = lambda _item: (_ for _ in ()).throw(WorkerDied)
        die(second, [house.ticket(sent, "blind")])
        recipient.during_stage = lambda _item: None
        assert house.state(sent, "blind") == "claimed"

    tickets = [house.ticket(sent, "blind")]
    event.listen(house.node.store.engine, "begin", stall)
    first.work(tickets)
    event.remove(house.node.store.engine, "begin", stall)
    assert is_stalled
    assert recipient.arrivals == []
    assert house.attempts(sent, "blind") == []


def test_rule_3_every_return_and_every_close_adds_a_turn(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.REFUSE, Does.LOSE, Does.TAKE)
    turns = [house.row(sent, "check")["turn"]]
    house.work()
    turns.append(house.row(sent, "check")["turn"])  # retry
    house.pass_time(MINUTE)
    house.work()
    turns.append(house.row(sent, "check")["turn"])  # unknown
    house.recipient("check").during_stage = lambda _item: (_ for _ in ()).throw(WorkerDied)
    house.pass_time(MINUTE)
    die(house)
    house.pass_time(2 * MINUTE)
    house.sweep()
    turns.append(house.row(sent, "check")["turn"])  # dead lease
    house.recipient("check").during_stage = lambda _item: None
    house.work()
    turns.append(house.row(sent, "check")["turn"])  # closed
    assert turns == [0, 1, 2, 3, 4]
    assert house.state(sent, "check") == "delivered"


def test_rule_3_a_repeated_retry_does_not_free_the_next_workers_claim(house: House) -> None:
    """Trace §14: worker 1 loses the answer to its Retry and repeats it; worker 2 has claimed meanwhile."""
    sent = house.send(["check"])
    ticket = house.ticket(sent, "check")
    second = house.worker("w2")

    def steal(_item: object) -> None:
        house.recipient("check").during_stage = lambda _item: (_ for _ in ()).throw(WorkerDied)
        house.pass_time(2 * MINUTE)
        house.sweep()
        die(second, [house.ticket(sent, "check")])

    house.recipient("check").during_stage = steal
    house.recipient("check").next(Does.REFUSE)
    house.work([ticket])  # its attempt is refused and whatever it reports is out of turn
    assert house.state(sent, "check") == "claimed"
    assert house.recipient("check").arrivals == []


def test_rule_3_the_sweep_announces_again_what_nobody_claimed(house: House) -> None:
    house.send(["check"])
    heard: list[Ticket] = []
    listening = house.node.transport.listen("deliver.normal", 1, heard.extend)
    assert relay_once(house.node) == 1
    assert relay_once(house.node) == 0
    house.pass_time(61 * SECOND)
    assert relay_once(house.node) == 1
    listening.close()


def test_rule_3_a_claim_that_is_not_renewed_returns(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    die(house)
    assert house.sweep() == 0
    house.pass_time(61 * SECOND)
    assert house.sweep() == 1
    assert house.state(sent, "check") == "ready"
    house.assert_books_close()


def test_rule_3_who_was_stolen_from_renews_nobodys_claim(house: House) -> None:
    sent = house.send(["check"])
    [lost] = claim_group(house.node, house.due())
    house.pass_time(2 * MINUTE)
    house.sweep()
    [held] = claim_group(house.node, house.due())
    assert held.turn > lost.turn
    with house.node.store.write() as connection:
        claims.renew_leases(connection, [(lost.transfer_id, lost.turn)], house.now() + HOUR)
    house.pass_time(2 * MINUTE)
    house.sweep()
    assert house.state(sent, "check") == "ready"


def test_rule_3_the_relay_keeps_each_channel_under_its_in_flight(house: House) -> None:
    for number in range(9):
        house.send(["check", "idem"], str(number + 1))
    picked = house.due()
    by_channel = {row["id"]: row["channel_id"] for row in house.rows("SELECT id, channel_id FROM transfers")}
    channels = [by_channel[ticket.transfer_id] for ticket in picked]
    assert sorted(channels) == ["check"] * 4 + ["idem"] * 4


def test_rule_3_urgent_goes_first_then_what_is_due_longest(house: House) -> None:
    late = house.send(["check"], "1")
    house.pass_time(SECOND)
    later = house.send(["check"], "2")
    urgent = house.send(["check"], "3", priority=Priority.URGENT)
    order = [ticket.transfer_id for ticket in house.due()]
    assert order == [house.ticket(sent, "check").transfer_id for sent in (urgent, late, later)]


def test_rule_3_one_channels_backlog_hides_nobody_elses_work(house: House) -> None:
    """Promise 5: a stuck channel with thousands of documents waiting delays nobody else."""
    packet = house.send(["check"], "1")
    row = house.rows("SELECT * FROM transfers WHERE id = ?", house.ticket(packet, "check").transfer_id)[0]
    house.recipient("check").next(Does.DIE_BEFORE)
    with house.node.store.write() as connection:
        connection.execute(insert(schema.transfers), [{**row, "id": new_id()} for _ in range(3000)])
    house.pass_time(SECOND)
    other = house.send(["idem"], "2")
    with house.node.store.read() as connection:
        picked = picking.pick_due(connection, now=house.now(), since=house.now() - MINUTE, most=256)
    assert house.ticket(other, "idem").transfer_id in {one.transfer_id for one in picked}


def test_rule_3_a_half_shown_shared_transfer_is_never_torn_by_the_sweep(house: House) -> None:
    """The members of one transfer return together: a torn one would get a new key while its old one is in doubt."""
    sent = house.send(["pair-a", "pair-b"])
    house.recipient("pair").next(Does.DIE_AFTER)
    die(house)
    house.pass_time(HOUR)
    with house.node.store.read() as connection:
        found = due.dead_leases(connection, now=house.now(), after="", most=1)
    assert len(found) == 2
    house.run()
    assert house.recipient("pair").seen(sent.packet_id) == 1


def test_rule_3_wiping_every_ticket_changes_only_latency(house: House) -> None:
    sent = house.send(["check", "idem"])
    relay_once(house.node)  # nobody listens: every ticket is lost
    house.pass_time(DAY)
    house.run()
    assert set(house.states(sent).values()) == {"delivered"}


# --- promise 5: one slow agency delays nobody else ---------------------------------------------------------------


def test_a_slow_recipient_uses_up_nobody_elses_time(house: House) -> None:
    sent = house.send(["idem", "check"])
    house.recipient("check").sending_limit = timedelta(seconds=0.2)
    house.recipient("idem").during = lambda _item: time.sleep(0.3)
    deliver(house.node, [house.ticket(sent, "idem"), house.ticket(sent, "check")])
    assert house.states(sent) == {"idem": "delivered", "check": "ready"}
    assert house.reason(sent, "check") == "drained"
    assert [attempt["outcome"] for attempt in house.attempts(sent, "check")] == ["surely_not"]
    faults = house.rows("SELECT faults, is_slow FROM channels WHERE id = 'check'")[0]
    assert faults == {"faults": 0, "is_slow": 0}, "it is not this channel's fault"
    house.recipient("check").sending_limit = timedelta(seconds=60)
    house.work()
    assert house.state(sent, "check") == "delivered"
    assert house.recipient("check").copies(house.row(sent, "check")["transfer_id"]) == 1
