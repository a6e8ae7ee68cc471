"""Urgent documents on PostgreSQL: the relay's own loop for them waits for other relays where it must, nowhere else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from edxml.codes import Priority
from gateway.model.instants import HOUR, wall_now
from gateway.store.picking import look, next_due, pick_due, pick_seen
from gateway.workers.relay import relay_once
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE, until
from tests.support.voices import Voice

_WAITERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def test_a_relay_that_picks_what_is_urgent_waits_for_its_channels_and_counts_what_others_took(house: House) -> None:
    """Unlocked it would find four places free that the other relay's transaction has given away already."""
    for number in range(4):
        house.send(["check"], str(number))
    with ThreadPoolExecutor(1) as pool:
        with house.node.store.write() as ordinary:
            assert len(pick_due(ordinary, now=house.now(), since=0, most=100)) == 4
            house.send(["check"], "4", priority=Priority.URGENT)
            voice = Voice()
            urgent = pool.submit(relay_once, replace(house.node, transport=voice), urgent_alone=True)  # type: ignore[arg-type]
            until(lambda: urgent.done() or bool(house.rows(_WAITERS)))
        assert urgent.result(PATIENCE) == 0
    assert voice.said == []


def test_an_urgent_document_does_not_wait_for_channels_of_which_nothing_was_picked(house: House) -> None:
    house.send(["check"], "0")
    house.send(["idem"], "1")
    relay = replace(house.node, transport=Voice())  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool, house.node.store.write() as ordinary:
        (picked,) = pick_due(ordinary, now=house.now(), since=0, most=1)
        other = {"check": "idem", "idem": "check"}[picked.channel_id]
        house.send([other], "2", priority=Priority.URGENT)
        assert pool.submit(relay_once, relay, urgent_alone=True).result(PATIENCE) == 1


def test_what_is_urgent_and_announced_makes_nobody_wait(house: House) -> None:
    """Its channel may be in another relay's hands, and the next urgent document would stand behind it."""
    house.send(["check"], "0", priority=Priority.URGENT)
    relay = replace(house.node, transport=Voice())  # type: ignore[arg-type]
    assert relay_once(relay, urgent_alone=True) == 1
    house.send(["check"], "1")
    with ThreadPoolExecutor(1) as pool, house.node.store.write() as ordinary:
        assert len(pick_due(ordinary, now=house.now(), since=0, most=1)) == 1
        assert pool.submit(relay_once, relay, urgent_alone=True).result(PATIENCE) == 0


def test_a_look_goes_by_the_databases_clock_where_none_is_given_and_tells_what_is_due_next(house: House) -> None:
    sent = [house.send(["check"], str(number)) for number in range(2)]
    near, later = wall_now() - HOUR, wall_now() + HOUR
    with house.node.store.write() as connection:
        for one, due_at in zip(sent, (near, later), strict=True):
            change = "UPDATE transfers SET due_at = %(due)s WHERE packet_id = %(packet)s"
            connection.exec_driver_sql(change, {"due": due_at, "packet": one.packet_id})
    with house.node.store.read() as connection:
        seen = look(connection, now=None, again=HOUR, most=100)
        assert (seen.channels, seen.has_ordinary, seen.next_due) == (("check",), True, later)
        assert look(connection, now=near - 1, again=HOUR, most=100).channels == ()
        assert look(connection, now=near - 1, again=HOUR, most=100).next_due == near == next_due(connection, near - 1)
        assert look(connection, now=None, again=HOUR, most=100, urgent_alone=True).channels == ()


def test_what_another_relay_picked_after_a_look_is_not_picked_again(house: House) -> None:
    for number in range(6):
        house.send(["check"], str(number))
    now, again = house.now(), HOUR
    with house.node.store.read() as connection:
        seen = look(connection, now=now, again=again, most=100)
    other = replace(house.node, transport=Voice(takes=3))  # type: ignore[arg-type]
    assert relay_once(other) == 3  # of four one is given back
    with house.node.store.write() as connection:
        assert len(pick_seen(connection, seen, now=now, since=now - again, most=100)) == 1
