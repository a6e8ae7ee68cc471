"""Channels that are paused, drained or in a maintenance window, and backlogs that move to another channel (rule 9)."""

from __future__ import annotations

import pytest

from gateway.exchange import resting
from gateway.exchange.deliver import deliver
from gateway.exchange.resting import Drains, begin_drain, check_move, finish_drains, move_backlog
from gateway.model.errors import Conflict
from gateway.model.instants import DAY, HOUR, MINUTE, as_local
from gateway.model.states import ChannelState
from gateway.store import backlog, views
from gateway.store.channels import put_channel, release_agencies, serve_agencies, set_state, set_windows
from tests.support.nodes import Does, House
from tests.support.stores import inbox_row


def _state(house: House, channel: str, state: ChannelState) -> bool:
    with house.node.store.write() as connection:
        return set_state(connection, channel, state, now=house.node.store.now(connection), actor="operator")


def _channel(house: House, channel: str) -> dict[str, object]:
    return house.rows("SELECT * FROM channels WHERE id = ?", channel)[0]


def _happened(house: House, kind: str) -> list[str]:
    return [row["reason"] for row in house.rows("SELECT reason FROM events WHERE kind = ?", kind)]


# --- paused and drained ------------------------------------------------------------------------------------------


def test_a_ticket_that_was_out_before_the_pause_hands_nothing_over(house: House) -> None:
    sent = house.send(to=["idem"])
    tickets = house.due()
    assert tickets
    assert _state(house, "idem", ChannelState.PAUSED)
    assert house.work(tickets) == len(tickets)
    assert house.state(sent, "idem") == "ready"
    assert not house.recipient("idem").arrivals
    assert not house.due()
    assert _state(house, "idem", ChannelState.OPEN)
    assert house.work(), "what was announced before is announced anew at once, not a minute later"
    assert house.state(sent, "idem") == "delivered"


def test_a_channel_drains_what_is_under_way_and_then_says_that_it_is_empty(house: House) -> None:
    sent, other = house.send(to=["check"]), house.send(to=["check"], number="2")
    known: Drains = {}
    seen: list[object] = []

    def while_sending(_item: object) -> None:
        assert begin_drain(house.node, "check", actor="operator")
        assert not begin_drain(house.node, "check", actor="operator"), "a second word changes nothing"
        seen.extend(finish_drains(house.node, known) for _ in range(3))

    house.recipient("check").during = while_sending
    house.work([house.ticket(sent, "check")])
    house.recipient("check").during = lambda _item: None
    assert seen == [[], [], []], "one is being handed over"
    assert finish_drains(house.node, known) == ["check"]
    assert finish_drains(house.node, known) == []
    assert (house.state(sent, "check"), house.state(other, "check")) == ("delivered", "ready")
    assert _channel(house, "check")["state"] == "paused"
    assert _happened(house, "channel.draining") == _happened(house, "channel.drained") == ["channel:check"]
    assert not house.due()
    assert not house.work(house.ready()) or house.state(other, "check") == "ready"
    house.assert_books_close()


def test_what_may_still_land_keeps_a_channel_from_being_empty(house: House) -> None:
    sent = house.send(to=["check"])
    house.recipient("check").next(Does.TAKE_SILENTLY)
    house.work()
    assert house.state(sent, "check") == "ready"
    begin_drain(house.node, "check", actor="operator")
    with house.node.store.read() as connection:
        found = backlog.under_way(connection, "check", house.node.store.now(connection))
    assert (found.held, found.open, found.waiting) == (0, 1, 1)
    assert finish_drains(house.node, {}) == []
    house.pass_time(MINUTE)
    assert finish_drains(house.node, {}) == ["check"]


def test_a_channel_that_is_resumed_while_it_drains_goes_on(house: House) -> None:
    begin_drain(house.node, "check", actor="operator")
    assert _state(house, "check", ChannelState.OPEN)
    assert finish_drains(house.node, {}) == []
    sent = house.send(to=["check"])
    house.work()
    assert house.state(sent, "check") == "delivered"


# --- windows -----------------------------------------------------------------------------------------------------


def _window(house: House, *windows: str) -> None:
    with house.node.store.write() as connection:
        set_windows(connection, "idem", windows, now=house.node.store.now(connection), actor="operator")
    house.node.channels.refresh()


def test_in_a_window_nothing_is_handed_over_and_limits_go_on(house: House) -> None:
    until = as_local(house.now() + 2 * HOUR)
    _window(house, f"{as_local(house.now()).isoformat()}/{until.isoformat()}")
    sent = house.send(to=["idem", "check"])
    house.run(until=HOUR)
    assert (house.state(sent, "idem"), house.state(sent, "check")) == ("ready", "delivered")
    assert not house.attempts(sent, "idem")
    house.pass_time(2 * HOUR)
    house.work()
    assert house.state(sent, "idem") == "delivered"


def test_a_time_limit_passes_in_a_window_too(house: House) -> None:
    _window(house, "00:00-24:00")
    sent = house.send(to=["idem"])
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(sent, "idem") == "expired"


def test_what_was_announced_before_the_window_goes_back(house: House) -> None:
    sent = house.send(to=["idem"])
    tickets = house.due()
    _window(house, "00:00-24:00")
    deliver(house.node, tickets)
    assert house.state(sent, "idem") == "ready"
    assert house.events(sent, "idem")[-1] == ("delivery.returned", "drained")
    assert not house.recipient("idem").arrivals
    _window(house)
    house.work()
    assert house.recipient("idem").arrivals


def test_a_window_that_begins_while_a_group_is_handed_over_holds_the_rest_of_it(house: House) -> None:
    begins, ends = house.now() + HOUR, house.now() + 3 * HOUR
    _window(house, f"{as_local(begins).isoformat()}/{as_local(ends).isoformat()}")
    sent = [house.send(to=["idem"], number=number) for number in ("1", "2")]
    tickets = house.due()
    house.recipient("idem").during = lambda _item: house.pass_time(2 * HOUR)
    deliver(house.node, tickets)
    house.recipient("idem").during = lambda _item: None
    assert sorted(house.state(one, "idem") for one in sent) == ["delivered", "ready"]
    assert len(house.recipient("idem").arrivals) == 1
    house.pass_time(2 * HOUR)
    house.work()
    assert [house.state(one, "idem") for one in sent] == ["delivered", "delivered"]
    house.assert_books_close()


def test_a_window_that_cannot_be_read_holds_its_channel_alone(house: House) -> None:
    with house.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE channels SET windows = '[\"sometimes\"]' WHERE id = 'idem'")
        connection.exec_driver_sql("UPDATE node SET configuration_version = configuration_version + 1")
    assert [fault.name for fault in house.node.channels.refresh().faults] == ["idem"]
    sent = house.send(to=["idem", "check"])
    assert house.due() == [house.ticket(sent, "check")], "nothing is announced for the other one"
    house.work()
    assert (house.state(sent, "idem"), house.state(sent, "check")) == ("ready", "delivered")


# --- a backlog that moves ----------------------------------------------------------------------------------------


def _succeed(house: House, source: str, target: str, agency: str) -> None:
    """The agency is served by `target` from now on; what was on its way stays on `source`, which is paused."""
    with house.node.store.write() as connection:
        release_agencies(connection, source, [agency])
        assert not serve_agencies(connection, target, [agency])
    _state(house, source, ChannelState.PAUSED)
    house.node.channels.refresh()


def _move(house: House, source: str, target: str) -> tuple[int, int, int, int]:
    rows = house.node.channels.refresh().by_id
    found = move_backlog(house.node, rows[source], rows[target], actor="operator")
    return found.moved, found.parked, found.held, found.doubtful


def test_rule_9_a_backlog_moves_in_order_and_arrives_once(house: House) -> None:
    first, update = house.send(to=["blind"]), house.update(to=["blind"])
    old = house.row(first, "blind")["transfer_id"]
    tickets = house.due()
    _succeed(house, "blind", "check", "blind")
    assert _move(house, "blind", "check") == (2, 0, 0, 0)
    assert _move(house, "blind", "check") == (0, 0, 0, 0), "a repeat finds nothing left"
    row = house.row(first, "blind")
    assert row["transfer_id"] != old, "keys do not cross channels"
    assert row["turn"] > 0
    assert house.events(first, "blind")[-1] == ("delivery.moved", "moved")
    house.work(tickets)
    assert not house.recipient("blind").arrivals, "an old ticket finds nothing"
    house.run(until=HOUR)
    assert house.recipient("check").kinds() == ["new", "update"]
    assert (house.state(first, "blind"), house.state(update, "blind")) == ("delivered", "delivered")
    assert _happened(house, "channel.emptied") == ["channel:blind channel:check deliveries x2"]
    house.assert_books_close()


def test_how_many_moved_is_told_with_each_commit_and_no_crash_takes_it_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "_PAGE", 2)
    for number in range(1, 4):
        house.send(to=["blind"], number=str(number))
    _succeed(house, "blind", "check", "blind")
    assert _move(house, "blind", "check") == (3, 0, 0, 0)
    assert _happened(house, "channel.emptied") == [
        "channel:blind channel:check deliveries x2", "channel:blind channel:check deliveries x1"
    ]  # fmt: skip


def test_rule_9_what_may_have_arrived_goes_to_a_person_and_never_to_the_other_channel(house: House) -> None:
    sent, doubtful = house.send(to=["check"]), house.send(to=["blind"], number="2")
    house.recipient("check").next(Does.TAKE_SILENTLY)
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    house.work()
    assert (house.state(sent, "check"), house.state(doubtful, "blind")) == ("ready", "parked")
    _succeed(house, "check", "idem", "check")
    assert _move(house, "check", "idem") == (0, 0, 1, 0), "it may still land"
    house.pass_time(MINUTE)
    assert _move(house, "check", "idem") == (0, 1, 0, 0)
    assert (house.state(sent, "check"), house.reason(sent, "check")) == ("parked", "may_have_arrived")
    _succeed(house, "blind", "idem", "blind")
    assert _move(house, "blind", "idem") == (0, 0, 0, 1)
    house.run(until=HOUR)
    assert not house.recipient("idem").arrivals
    house.assert_books_close()


def test_rule_9_a_resend_goes_by_the_channel_of_today(house: House) -> None:
    """What a moved backlog left in doubt on the old channel, and what waited there too long."""
    doubtful = house.send(to=["idem"])
    house.recipient("idem").next(Does.TAKE_SILENTLY)
    house.work()
    house.pass_time(MINUTE)
    _succeed(house, "idem", "blind", "idem")
    assert _move(house, "idem", "blind") == (0, 1, 0, 0)
    house.resend(doubtful, "idem")
    assert house.rows("SELECT channel_id FROM transfers WHERE id = ?", house.row(doubtful, "idem")["transfer_id"]) == [
        {"channel_id": "blind"}
    ]
    house.work()
    assert house.state(doubtful, "idem") == "delivered", "the person permits one attempt on a channel that is blind"
    assert [len(house.recipient(name).arrivals) for name in ("idem", "blind")] == [1, 1]
    late = house.send(to=["check"], number="2")
    _state(house, "check", ChannelState.PAUSED)
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(late, "check") == "expired"
    with house.node.store.write() as connection:
        put_channel(connection, inbox_row("hop-moi"))
    _succeed(house, "check", "hop-moi", "check")
    house.resend(late, "check")
    assert house.state(late, "check") == "available"
    house.collect("check", house.delivery(late, "check"))
    assert house.state(late, "check") == "delivered"
    house.assert_books_close()


def test_rule_9_a_resend_to_an_agency_that_no_channel_serves_goes_by_the_one_it_had(house: House) -> None:
    sent = house.send(to=["check"])
    house.pass_time(31 * DAY)
    house.sweep()
    with house.node.store.write() as connection:
        release_agencies(connection, "check", ["check"])
    house.resend(sent, "check")
    house.work()
    assert house.state(sent, "check") == "delivered"


def test_rule_9_a_backlog_moves_between_pushed_and_polled(house: House) -> None:
    sent = house.send(to=["idem", "inbox-a"])
    waiting = house.update(to=["idem"])
    with house.node.store.write() as connection:
        put_channel(connection, inbox_row("hop-moi"))
    _succeed(house, "idem", "hop-moi", "idem")
    assert _move(house, "idem", "hop-moi") == (2, 0, 0, 0)
    assert (house.state(sent, "idem"), house.state(waiting, "idem")) == ("available", "waiting")
    assert house.row(waiting, "idem")["head_since"] is None, "it waits as before, and its limit has not begun"
    assert house.shown("idem") == [house.delivery(sent, "idem")]
    house.collect("idem", house.delivery(sent, "idem"))
    assert house.state(waiting, "idem") == "available"
    _succeed(house, "hop-inbox-a", "check", "inbox-a")
    assert _move(house, "hop-inbox-a", "check") == (1, 0, 0, 0)
    house.work()
    assert house.state(sent, "inbox-a") == "delivered"
    house.assert_books_close()


def test_rule_9_a_recall_reaches_what_was_moved(house: House) -> None:
    sent = house.send(to=["idem"])
    _succeed(house, "idem", "check", "idem")
    _move(house, "idem", "check")
    recall = house.recall(to=["idem"])
    assert house.states(sent) == {"idem": "withdrawn"}
    assert house.states(recall) == {"idem": "withdrawn"}


def test_rule_9_only_what_the_other_channel_serves_moves_and_partners_part(house: House) -> None:
    sent = house.send(to=["pair-a", "pair-b"])
    _succeed(house, "pair", "check", "pair-a")
    assert _move(house, "pair", "check") == (1, 0, 0, 0)
    _state(house, "pair", ChannelState.OPEN)
    house.work()
    assert house.states(sent) == {"pair-a": "delivered", "pair-b": "delivered"}
    assert [
        len(landed.recipients) for channel in ("pair", "check") for landed in house.recipient(channel).arrivals
    ] == [
        1,
        1,
    ]
    house.assert_books_close()


def test_a_backlog_does_not_move_from_a_channel_that_still_takes(house: House) -> None:
    rows = house.node.channels.refresh().by_id
    for source, target, reason in (
        ("idem", "check", "channel.move_open"), ("idem", "idem", "channel.move_same"),
    ):  # fmt: skip
        with pytest.raises(Conflict) as told:
            check_move(rows[source], rows[target])
        assert told.value.reason == reason


# --- what the sender is shown ------------------------------------------------------------------------------------


def test_the_sender_sees_what_a_document_waits_for(house: House) -> None:
    sent = house.send(to=["idem"])

    def shown() -> tuple[str, int | None]:
        with house.node.store.read() as connection:
            now = house.node.store.now(connection)
            view = views.document(connection, sent.packet_id, seen_by=frozenset({"sender"}), now=now)
        assert view is not None
        return view.recipients[0].waits_for, view.recipients[0].waits_until

    assert shown() == ("", None)
    _window(house, f"{as_local(house.now()).isoformat()}/{as_local(house.now() + HOUR).isoformat()}")
    assert shown() == ("window", house.now() + HOUR)
    _state(house, "idem", ChannelState.PAUSED)
    assert shown() == ("paused", None)
    _window(house)
    _state(house, "idem", ChannelState.OPEN)
    house.work()
    assert shown() == ("", None), "delivered"


def test_rule_10_what_moved_to_an_inbox_is_confirmed_only_once_it_was_fetched(house: House) -> None:
    """An attempt of the earlier channel that surely did not arrive is no fetch."""
    sent = house.send(to=["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    _succeed(house, "check", "hop-inbox-a", "check")
    assert _move(house, "check", "hop-inbox-a") == (1, 0, 0, 0)
    item = house.delivery(sent, "check")
    refused = house.confirm("check", item)
    assert isinstance(refused, Conflict)
    assert refused.reason == "inbox.not_fetched"
    assert house.state(sent, "check") == "available"
    assert house.collect("check", item) == "delivered"
    house.assert_books_close()


def test_rule_10_what_may_have_arrived_on_the_earlier_channel_may_be_confirmed(house: House) -> None:
    """The recipient's word is a receipt there, as a status of it would be (rule 4); nobody has to fetch it twice."""
    sent = house.send(to=["check"])
    house.recipient("check").next(Does.TAKE_SILENTLY)
    house.work()
    house.pass_time(MINUTE)
    _succeed(house, "check", "hop-inbox-a", "check")
    assert _move(house, "check", "hop-inbox-a") == (0, 1, 0, 0)
    assert house.resend(sent, "check") == "available"
    assert house.confirm("check", house.delivery(sent, "check")) == "delivered"
    house.assert_books_close()
