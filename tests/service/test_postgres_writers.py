"""Several writers at once on PostgreSQL: nothing is passed over, nobody has what another has, nobody waits for ever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import event

from edxml.codes import Priority
from gateway.exchange.claims import claim_group
from gateway.exchange.deliver import deliver
from gateway.exchange.resting import move_backlog
from gateway.exchange.sweep import sweep_once
from gateway.model.errors import Refusal
from gateway.model.events import Event, EventKind
from gateway.model.instants import MINUTE
from gateway.model.states import ChannelState
from gateway.node import Node
from gateway.store import Connection, Store, events, followers, open_store
from gateway.store.attempts import Begun, begin_attempts, lock_held
from gateway.store.chains import chains_of_deliveries, load_chains
from gateway.store.channels import release_agencies, serve_agencies, set_state
from gateway.store.dialect import continue_order
from gateway.store.picking import pick_due
from gateway.transport.contract import Ticket
from gateway.workers.relay import relay_once
from tests.support.clients import HANGS
from tests.support.late import within_a_minute
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE, until
from tests.support.stores import tell
from tests.support.voices import Voice

_WAITERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def beside(house: House, name: str) -> tuple[Node, Store]:
    """The node as another process has it; close its store."""
    store = house.another_store()
    return replace(house.node, store=store, worker=f"thu/{name}/2"), store


def happen(connection: Connection, packet_id: str, at: int) -> None:
    told = Event(kind=EventKind.PACKET_ACCEPTED, at=at, actor="thu", packet_id=packet_id)
    events.append(connection, [told], at)


def seen(house: House, name: str = "thu") -> tuple[str, ...]:
    """What a follower finds next, and goes on."""
    with house.node.store.read() as connection:
        following = followers.follow(connection, name)
    with house.node.store.write() as connection:
        assert followers.advance(connection, following)
    return following.packet_ids


# --- the order of commits ----------------------------------------------------------------------------------------


def test_a_follower_waits_for_what_began_earlier_and_passes_nothing_over(house: House) -> None:
    """The later transaction commits first: who goes on to its events would never see those of the earlier one."""
    seen(house)
    other = house.another_store()
    with other.write() as late:
        happen(late, "sớm", house.now())
        with house.node.store.write() as connection:
            happen(connection, "muộn", house.now())
        assert seen(house) == ()
    assert seen(house) == ("sớm", "muộn")
    assert seen(house) == ()
    other.close()


def fail_writing(house: House) -> None:
    with house.node.store.write() as connection:
        happen(connection, "không", house.now())
        raise ZeroDivisionError


def test_what_was_rolled_back_holds_nobody_up(house: House) -> None:
    seen(house)
    with pytest.raises(ZeroDivisionError):
        fail_writing(house)
    with house.node.store.write() as connection:
        happen(connection, "có", house.now())
    assert seen(house) == ("có",)


def test_many_writers_at_once_and_every_event_is_followed_once(house: House) -> None:
    seen(house)
    found: list[str] = []
    done = threading.Event()

    def write(worker: int) -> None:
        for number in range(40):
            with house.node.store.write() as connection:
                happen(connection, f"{worker}-{number}", house.now())

    def follow() -> None:
        while not done.is_set():
            found.extend(seen(house))

    reader = threading.Thread(target=follow)
    reader.start()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    done.set()
    reader.join()
    found.extend(seen(house))
    assert Counter(found) == Counter(f"{worker}-{number}" for worker in range(6) for number in range(40))


def test_a_database_read_into_a_younger_server_goes_on_after_its_events(house: House) -> None:
    """There transaction numbers are smaller than those that the events carry."""
    with house.node.store.write() as connection:
        happen(connection, "cũ", house.now())
    with house.node.store.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE events DISABLE TRIGGER events_append_only")
        connection.exec_driver_sql("UPDATE events SET position = position + (1::bigint << 50)")
        connection.exec_driver_sql("ALTER TABLE events ENABLE TRIGGER events_append_only")
    house.another_store().close()  # whoever opens it sees to it
    assert "cũ" in seen(house)
    with house.node.store.write() as connection:
        happen(connection, "mới", house.now())
    assert seen(house) == ("mới",)
    with house.node.store.write() as connection:
        before = tell(connection, "SELECT events_base() AS base").scalar_one()
        continue_order(connection)
        assert tell(connection, "SELECT events_base() AS base").scalar_one() == before, "nothing to do the second time"


# --- claims and picking ------------------------------------------------------------------------------------------


def at_once(*works: Callable[[], object]) -> list[object]:
    """Run them in threads that begin together; what they gave."""
    gate = threading.Barrier(len(works))

    def begin(work: Callable[[], object]) -> object:
        gate.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [one.result() for one in [pool.submit(begin, work) for work in works]]


def test_workers_with_the_same_tickets_in_any_order_claim_each_once(house: House) -> None:
    sent = [house.send(["check", "idem", "blind"], str(number)) for number in range(12)]
    tickets = house.ready()
    assert len(tickets) == 3 * len(sent)
    others = [beside(house, f"w{number}") for number in range(4)]

    def claim(node: Node, order: Sequence[Ticket]) -> list[str]:
        return [claimed.transfer_id for claimed in claim_group(node, order)]

    orders = (tickets, tickets[::-1], tickets[7:] + tickets[:7], tickets[::2] + tickets[1::2])
    claims = at_once(*(lambda n=node, o=order: claim(n, o) for (node, _), order in zip(others, orders, strict=True)))
    assert Counter(one for held in claims for one in held) == Counter(ticket.transfer_id for ticket in tickets)  # type: ignore[attr-defined]
    for _, store in others:
        store.close()
    house.assert_books_close()


def test_relays_side_by_side_keep_a_channels_cap(house: House) -> None:
    """Four under way on each channel (rule 3): counted without the channel's lock, every relay would pick four."""
    for number in range(40):
        house.send(["check", "idem"], str(number))
    others = [beside(house, f"r{number}") for number in range(4)]
    voices = [Voice() for _ in others]
    rounds = [replace(node, transport=voice) for (node, _), voice in zip(others, voices, strict=True)]  # type: ignore[arg-type]
    at_once(*(lambda n=node: [relay_once(n) for _ in range(5)] for node in rounds))
    said = [ticket for voice in voices for ticket in voice.said]
    assert len(said) == len(set(said)) == 8
    for _, store in others:
        store.close()


def test_a_channel_in_another_relays_hands_is_left_to_it(house: House) -> None:
    """Another relay picks and commits between this one's count and its pick: unlocked, four become eight."""
    for number in range(12):
        house.send(["check", "idem"], str(number))
    other, store = beside(house, "r1")
    between, late = Voice(), Voice()
    turns = iter([True])

    @event.listens_for(house.node.store.engine, "before_cursor_execute")
    def pick_meanwhile(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "LATERAL" in statement and "UPDATE" in statement and next(turns, False):
            relay_once(replace(other, transport=between))  # type: ignore[arg-type]

    with house.node.store.write() as connection:
        picked = pick_due(connection, now=house.now(), since=0, most=100)
    assert next(turns, None) is None, "nobody picked in between"
    assert Counter(one.channel_id for one in picked) == {"check": 4, "idem": 4}
    assert between.said == []
    assert relay_once(replace(other, transport=late)) == 0  # type: ignore[arg-type]
    store.close()


def test_with_many_tickets_unclaimed_only_urgent_ones_are_picked(house: House) -> None:
    for number in range(6):
        house.send(["check", "idem"], str(number))

    def picked() -> list[bool]:
        with house.node.store.write() as connection:
            return [due.is_urgent for due in pick_due(connection, now=house.now(), since=0, most=3)]

    assert [picked(), picked(), picked()] == [[False] * 3, [False] * 3, []]
    house.send(["check"], "7", priority=Priority.URGENT)
    assert [picked(), picked()] == [[True], []]


def test_what_no_listener_took_is_picked_again_at_once(house: House) -> None:
    house.send(["check"])
    deaf = Voice(takes=0)
    assert relay_once(replace(house.node, transport=deaf)) == 0  # type: ignore[arg-type]
    heard = Voice()
    assert relay_once(replace(house.node, transport=heard)) == 1  # type: ignore[arg-type]
    assert relay_once(replace(house.node, transport=heard)) == 0  # type: ignore[arg-type]


# --- what is decided by rows is written before anybody changes them --------------------------------------------------


def waits_for_chain(house: House, chain_id: str, work: Callable[[], object]) -> bool:
    """Whether that work waits for whoever decides something by that chain, and then ends."""
    working = threading.Thread(target=work)
    with house.node.store.write() as connection:
        load_chains(connection, [chain_id])
        working.start()
        working.join(0.3)
        has_waited = working.is_alive()
    working.join(PATIENCE)
    return has_waited and not working.is_alive()


def test_no_attempt_is_written_while_a_recall_decides_that_there_is_none(house: House) -> None:
    """Trace §14: the recall withdraws what it takes for unattempted, and it lands."""
    sent = house.send(["check"])
    [claimed] = claim_group(house.node, [house.ticket(sent, "check")])
    begun = [Begun(transfer_id=claimed.transfer_id, turn=claimed.turn, landing=within_a_minute(house))]

    def begin() -> None:
        with house.node.store.write() as connection:
            held = lock_held(connection, [claimed.transfer_id], [claimed.packet.id])
            assert begin_attempts(connection, begun, held, worker="thu", now=house.now())

    assert waits_for_chain(house, house.row(sent, "check")["chain_id"], begin)


def test_no_response_begins_while_a_recall_decides_that_there_is_none(house: House) -> None:
    sent = house.send(["inbox-a"])
    fetch = partial(house.fetch, "inbox-a", house.delivery(sent, "inbox-a"))
    fetch()
    house.end_response(house.delivery(sent, "inbox-a"))
    assert waits_for_chain(house, house.row(sent, "inbox-a")["chain_id"], fetch)


# --- everything at once --------------------------------------------------------------------------------------------


def submit(house: House, sender: str) -> None:
    for number in range(15):
        house.send(["check", "idem", "inbox-a"], f"{number}", sender=sender)
        if number % 3 == 0:
            house.recall(["check", "inbox-a"], f"{number}", sender=sender)


def hand_over(house: House, node: Node) -> None:
    for ticket in house.due():
        deliver(node, [ticket])


def collect(house: House) -> None:
    for delivery in house.shown("inbox-a", 10):
        served = house.fetch("inbox-a", delivery)
        if not isinstance(served, Refusal):
            house.end_response(delivery)
            house.confirm("inbox-a", delivery)


def test_a_busy_node_neither_stands_still_nor_counts_wrong(house: House) -> None:
    """Submitting, recalling, handing over, fetching, confirming and sweeping at once, about the same documents.

    Nobody is told StoreBusy: locks are taken in one order, so that no two ever wait for each other.
    """
    done = threading.Event()

    def repeat(work: Callable[[], object]) -> None:
        while not done.is_set():
            work()

    others = [beside(house, f"w{number}") for number in range(2)]
    works: list[Callable[[], object]] = [partial(hand_over, house, node) for node, _ in others]
    works += [partial(collect, house), partial(sweep_once, house.node)]
    with ThreadPoolExecutor(6) as pool:
        helping = [pool.submit(repeat, work) for work in works]
        sending = [pool.submit(submit, house, sender) for sender in ("sender", "sender-2")]
        try:
            for one in sending:
                one.result()
        finally:
            done.set()
        for one in helping:
            one.result()
    house.pass_time(20 * MINUTE)
    house.run()
    for _, store in others:
        store.close()
    house.assert_books_close()
    left = house.rows("SELECT DISTINCT state FROM deliveries WHERE agency_id != 'inbox-a'")
    assert {row["state"] for row in left} <= {"delivered", "withdrawn"}
    for channel in ("check", "idem"):
        arrived = Counter(landed.key for landed in house.recipient(channel).arrivals)
        assert max(arrived.values()) == 1


# --- a backlog that two move at once -----------------------------------------------------------------------------


def test_a_backlog_that_two_move_at_once_moves_once(house: House) -> None:
    """Both have read what there is to move before either has the chains: whoever gets them later finds nothing left."""
    sent = [house.send(["blind"], str(number)) for number in range(3)]
    wanted = [house.delivery(one, "blind") for one in sent]
    with house.node.store.write() as connection:
        release_agencies(connection, "blind", ["blind"])
        assert not serve_agencies(connection, "check", ["blind"])
        set_state(connection, "blind", ChannelState.PAUSED, now=house.now(), actor="test")
    rows = house.node.channels.refresh().by_id
    movers = [
        open_store(
            house.root.parent / "data", node="thu", database=house.database, clock=house.clock, reserve=1,
            wait_seconds=HANGS,
        )
        for _ in range(2)
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        with house.node.store.write() as held:
            load_chains(held, chains_of_deliveries(held, wanted).values())
            moving = [
                pool.submit(move_backlog, replace(house.node, store=store), rows["blind"], rows["check"], actor="test")
                for store in movers
            ]
            until(lambda: len(house.rows(_WAITERS)) == len(movers))
        moved = [one.result(HANGS).moved for one in moving]
    for store in movers:
        store.close()
    assert sorted(moved) == [0, 3]
    told = [row["reason"] for row in house.rows("SELECT reason FROM events WHERE kind = 'channel.emptied'")]
    assert told == ["channel:blind channel:check deliveries x3"]
    for one in sent:
        assert [kind for kind, _ in house.events(one, "blind")].count("delivery.moved") == 1
    house.assert_books_close()
