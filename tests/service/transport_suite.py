"""What every transport must do, as a class to inherit: `class TestLocal(TransportSuite)`.

A transport's own test module sets `kind`, `where` and `most_confirmed`, and adds what only it promises.
Nothing here asks for an order, or that a ticket is handled only once: neither is promised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import ClassVar

import pytest

from gateway.transport.contract import QUEUES, Ticket, Transport
from tests.service.transport_child import Child, Heard, open_transport
from tests.support.announcing import NORMAL, URGENT, announce_all, announce_until, stuck_at, tickets
from tests.support.patience import PATIENCE, until

__all__ = ["BetweenProcesses", "OpenTransport", "StartChild", "TransportSuite"]

OpenTransport = Callable[[str], Transport]
StartChild = Callable[[str], Child]


class TransportSuite:
    """The contract. `where` is asked for once per test and must be empty ground."""

    kind: ClassVar[str]

    @pytest.fixture
    def where(self) -> str:
        """Where this test's transports meet: a data folder, a virtual host. Each transport's own tests say it."""
        raise NotImplementedError

    def most_confirmed(self, slots: int, group: int) -> int:
        """How many tickets at most are confirmed while `slots` handlers of `group` tickets are stuck.

        Each transport's own tests say it.
        """
        raise NotImplementedError

    @pytest.fixture
    def open_one(self, where: str) -> Iterator[OpenTransport]:
        with ExitStack() as stack:

            def open_named(name: str) -> Transport:
                transport = open_transport(self.kind, where, name)
                stack.callback(transport.close)
                return transport

            yield open_named

    # Tickets

    def test_what_is_confirmed_is_handled(self, open_one: OpenTransport) -> None:
        transport, handled = open_one("one"), Heard()
        transport.listen(NORMAL, 2, handled.add)
        wanted = tickets(500)
        announce_all(transport, wanted)
        handled.wait_for(lambda groups: {t for group in groups for t in group} >= set(wanted))

    def test_confirmed_tickets_come_back_in_the_order_given(self, open_one: OpenTransport) -> None:
        transport = open_one("one")
        for queue in QUEUES:
            transport.listen(queue, 1, lambda _: None)
        mixed = [Ticket(f"t{index}", index, QUEUES[index % len(QUEUES)]) for index in range(40)]
        assert list(transport.announce(mixed)) == mixed

    def test_it_takes_tickets_until_it_is_closed(self, open_one: OpenTransport) -> None:
        transport = open_one("one")
        transport.listen(NORMAL, 1, lambda _: None)
        until(lambda: transport.takes_tickets)
        transport.close()
        assert not transport.takes_tickets

    def test_an_empty_announcement_is_nothing(self, open_one: OpenTransport) -> None:
        assert list(open_one("one").announce([])) == []

    def test_what_waited_without_a_listener_is_handled_or_was_not_confirmed(self, open_one: OpenTransport) -> None:
        transport, handled, wanted = open_one("one"), Heard(), tickets(20)
        confirmed = set(transport.announce(wanted))
        transport.listen(NORMAL, 1, handled.add)
        announce_all(transport, [ticket for ticket in wanted if ticket not in confirmed])
        handled.wait_for(lambda groups: {t for group in groups for t in group} >= set(wanted))

    def test_groups_are_no_larger_than_asked(self, open_one: OpenTransport) -> None:
        transport, handled = open_one("one"), Heard()
        transport.listen(NORMAL, 3, handled.add, group=7)
        announce_all(transport, tickets(200))
        groups = handled.wait_for(lambda groups: sum(map(len, groups)) >= 200)
        assert all(1 <= len(group) <= 7 and isinstance(group, tuple) for group in groups)

    def test_a_lone_ticket_does_not_wait_for_company(self, open_one: OpenTransport) -> None:
        """One of twenty at least comes at once: a busy machine may hold up any of them, a wait for company all."""
        transport, handled, took = open_one("one"), Heard(), [PATIENCE]
        transport.listen(NORMAL, 1, lambda _group: handled.add(time.monotonic()), group=32)
        while min(took) >= 0.5:
            assert len(took) <= 20, took
            started = time.monotonic()
            announce_all(transport, tickets(1, prefix=f"lone-{len(took)}"))
            took.append(handled.wait_for(lambda times: len(times) >= len(took))[-1] - started)

    def test_tickets_that_wait_come_in_groups(self, open_one: OpenTransport) -> None:
        """Again and again until all eight came together: whether they wait here already nobody is told."""
        transport, handled, gates = open_one("one"), Heard(), list[threading.Event]()

        def handle(group: tuple[Ticket, ...]) -> None:
            gate = gates[-1]
            handled.add(group)
            gate.wait(PATIENCE)

        def come_together() -> bool:
            gates.append(threading.Event())
            before = len(handled.items)
            announce_all(transport, tickets(1, prefix=f"first-{before}"))
            handled.wait_for(lambda groups: len(groups) > before)
            announce_all(transport, tickets(8, prefix=f"then-{before}"))
            gates[-1].set()
            groups = handled.wait_for(lambda groups: sum(map(len, groups[before:])) >= 9)
            return [len(group) for group in groups[before:]] == [1, 8]

        transport.listen(NORMAL, 1, handle, group=8)
        until(come_together)

    def test_slots_bound_how_much_runs_at_once(self, open_one: OpenTransport) -> None:
        transport, handled, lock, all_run = open_one("one"), Heard(), threading.Lock(), threading.Event()
        running, most = 0, 0

        def handle(group: tuple[Ticket, ...]) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            if most == 3:
                all_run.set()
            all_run.wait(PATIENCE)
            time.sleep(0.005)
            with lock:
                running -= 1
            handled.add(group)

        transport.listen(NORMAL, 3, handle, group=2)
        wanted = tickets(120)
        announce_all(transport, wanted)
        handled.wait_for(lambda groups: sum(map(len, groups)) >= len(wanted))
        assert most == 3

    def test_a_full_queue_pushes_back_and_never_blocks(self, open_one: OpenTransport) -> None:
        transport, started, gate = open_one("one"), Heard(), threading.Event()

        def handle(group: tuple[Ticket, ...]) -> None:
            started.add(group)
            gate.wait(PATIENCE)

        transport.listen(NORMAL, 2, handle, group=4)
        confirmed = 0
        for round_number in range(20):
            before = time.monotonic()
            confirmed += len(transport.announce(tickets(50, prefix=f"{round_number}-")))
            assert time.monotonic() - before < 20.0, "it waits for no handler"
        gate.set()
        assert 0 < confirmed <= self.most_confirmed(2, 4)
        started.wait_for(lambda groups: sum(map(len, groups)) == confirmed)

    def test_a_full_queue_does_not_hold_up_an_urgent_one(self, open_one: OpenTransport) -> None:
        transport, urgent, gate = open_one("one"), Heard(), threading.Event()
        transport.listen(NORMAL, 1, stuck_at(gate), group=1)
        transport.listen(URGENT, 1, urgent.add, group=1)
        for _ in range(5):
            transport.announce(tickets(20))
        announce_all(transport, tickets(1, URGENT))
        urgent.wait_for(bool)
        gate.set()

    def test_a_handler_that_raises_is_forgotten_and_its_slot_lives_on(self, open_one: OpenTransport) -> None:
        transport, handled = open_one("one"), Heard()

        def handle(group: tuple[Ticket, ...]) -> None:
            handled.add(group)
            if any(ticket.transfer_id.startswith("bad") for ticket in group):
                raise RuntimeError("a handler that fails on purpose")

        transport.listen(NORMAL, 1, handle)
        announce_all(transport, tickets(1, prefix="bad"))
        handled.wait_for(bool)
        announce_all(transport, tickets(5))
        handled.wait_for(lambda groups: sum(map(len, groups)) >= 6)

    def test_a_closed_subscription_takes_nothing_more(self, open_one: OpenTransport) -> None:
        transport, handled, others = open_one("one"), Heard(), Heard()
        closed = transport.listen(NORMAL, 1, handled.add)
        closed.close()
        closed.close()
        transport.listen(NORMAL, 1, others.add)
        announce_all(transport, tickets(50))
        others.wait_for(lambda groups: sum(map(len, groups)) >= 50)
        assert handled.items == ()

    def test_closing_waits_for_a_running_handler(self, open_one: OpenTransport) -> None:
        transport, started, ended = open_one("one"), Heard(), Heard()

        def handle(group: tuple[Ticket, ...]) -> None:
            started.add(group)
            time.sleep(0.3)
            ended.add(group)

        transport.listen(NORMAL, 1, handle)
        announce_all(transport, tickets(1))
        started.wait_for(bool)
        transport.close()
        assert len(ended.items) == 1

    def test_closing_gives_up_on_a_stuck_handler_after_its_timeout(self, open_one: OpenTransport) -> None:
        transport, started, gate = open_one("one"), Heard(), threading.Event()

        def handle(group: tuple[Ticket, ...]) -> None:
            started.add(group)
            gate.wait(PATIENCE)

        subscription = transport.listen(NORMAL, 1, handle)
        announce_all(transport, tickets(1))
        started.wait_for(bool)
        before = time.monotonic()
        subscription.close(timeout=0.2)
        assert time.monotonic() - before < PATIENCE / 2
        gate.set()

    def test_depths_name_every_queue(self, open_one: OpenTransport) -> None:
        assert set(open_one("one").depths()) >= set(QUEUES)

    def test_close_is_final_and_may_be_repeated(self, open_one: OpenTransport) -> None:
        transport, heard = open_one("one"), Heard()
        transport.listen(NORMAL, 1, heard.add)
        transport.on_wake(["*"], heard.add)
        transport.close()
        transport.close()
        assert list(transport.announce(tickets(3))) == []
        transport.wake("inbox")
        transport.publish_event("inbox", b"{}")
        assert heard.items == ()

    def test_an_event_for_outsiders_is_accepted(self, open_one: OpenTransport) -> None:
        open_one("one").publish_event("agency.H99.1", b"{}")

    # Wake-ups

    def test_a_wake_reaches_those_who_asked_for_its_topic(self, open_one: OpenTransport) -> None:
        transport, relay, inbox, everything = open_one("one"), Heard(), Heard(), Heard()
        transport.on_wake(["relay"], relay.add)
        transport.on_wake(["inbox.1", "inbox.2"], inbox.add)
        transport.on_wake(["*"], everything.add)
        for topic in ("relay", "inbox.2", "other"):
            transport.wake(topic)
        everything.wait_for(lambda topics: set(topics) == {"relay", "inbox.2", "other"})
        relay.wait_for(bool)
        inbox.wait_for(bool)
        assert set(relay.items) == {"relay"}
        assert set(inbox.items) == {"inbox.2"}

    def test_a_wake_during_a_callback_leads_to_another_call(self, open_one: OpenTransport) -> None:
        transport, started, gate = open_one("one"), Heard(), threading.Event()

        def callback(topic: str) -> None:
            started.add(topic)
            gate.wait(PATIENCE)

        transport.on_wake(["relay"], callback)
        transport.wake("relay")
        started.wait_for(bool)
        transport.wake("relay")
        gate.set()
        started.wait_for(lambda calls: len(calls) == 2)

    def test_a_callback_that_raises_silences_nobody(self, open_one: OpenTransport) -> None:
        transport, heard = open_one("one"), Heard()

        def fail(_topic: str) -> None:
            raise RuntimeError("a callback that fails on purpose")

        transport.on_wake(["*"], fail)
        transport.on_wake(["*"], heard.add)
        transport.wake("a")
        transport.wake("b")
        heard.wait_for(lambda topics: set(topics) == {"a", "b"})

    def test_a_closed_wake_subscription_is_called_no_more(self, open_one: OpenTransport) -> None:
        transport, closed, other = open_one("one"), Heard(), Heard()
        subscription = transport.on_wake(["*"], closed.add)
        subscription.close()
        subscription.close()
        transport.on_wake(["*"], other.add)
        transport.wake("relay")
        other.wait_for(bool)
        assert closed.items == ()

    def test_a_thousand_wakes_do_not_block_though_nobody_keeps_up(self, open_one: OpenTransport) -> None:
        transport, gate = open_one("one"), threading.Event()
        transport.on_wake(["*"], stuck_at(gate))
        before = time.monotonic()
        for index in range(1000):
            transport.wake(f"inbox.{index % 10}")
        assert time.monotonic() - before < 20.0, "it waits for no handler"
        gate.set()


class BetweenProcesses(TransportSuite):
    """Where tickets go to other processes too."""

    @pytest.fixture
    def start_child(self, where: str) -> Iterator[StartChild]:
        with ExitStack() as stack:
            yield lambda name: stack.enter_context(Child(self.kind, where, name))

    def test_another_process_gets_tickets(self, open_one: OpenTransport, start_child: StartChild) -> None:
        child = start_child("worker")
        child.tell("listen", queue=NORMAL, slots=2, group=16, seconds=0)
        wanted = tickets(300)
        announce_all(open_one("relay"), wanted)
        expected = {ticket.transfer_id for ticket in wanted}
        child.heard.wait_for(lambda _: set(child.handled) >= expected)

    def test_tickets_go_both_ways(self, open_one: OpenTransport, start_child: StartChild) -> None:
        transport, handled = open_one("worker"), Heard()
        transport.listen(NORMAL, 1, handled.add)
        child = start_child("relay")
        child.tell("announce", queue=NORMAL, ids=["a", "b", "c"])
        assert child.wait_for("confirmed")[0]["ids"] == ["a", "b", "c"]
        handled.wait_for(lambda groups: sum(map(len, groups)) == 3)

    def test_two_processes_of_one_name_share_the_work(self, open_one: OpenTransport, start_child: StartChild) -> None:
        children = [start_child("worker"), start_child("worker")]
        for child in children:
            child.tell("listen", queue=NORMAL, slots=1, group=4, seconds=0.01)
        expected = announce_until(open_one("worker"), lambda: all(child.handled for child in children))
        until(lambda: {ticket_id for child in children for ticket_id in child.handled} >= expected)

    def test_a_killed_listener_leaves_the_work_to_the_living(
        self, open_one: OpenTransport, start_child: StartChild
    ) -> None:
        transport = open_one("relay")
        killed, living = start_child("worker"), start_child("worker")
        for child in (killed, living):
            child.tell("listen", queue=NORMAL, slots=1, group=8, seconds=0)
        announce_all(transport, tickets(50, prefix="before"))
        killed.kill()
        before = time.monotonic()
        wanted = tickets(50, prefix="after")
        announce_all(transport, wanted)
        assert time.monotonic() - before < 30.0, "nobody waits for the dead"
        until(lambda: set(living.handled) >= {ticket.transfer_id for ticket in wanted})

    def test_a_frozen_listener_blocks_nobody(self, open_one: OpenTransport, start_child: StartChild) -> None:
        transport = open_one("relay")
        frozen, living = start_child("worker"), start_child("worker")
        for child in (frozen, living):
            child.tell("listen", queue=NORMAL, slots=1, group=8, seconds=0)
        frozen.freeze()
        try:
            for number in range(30):
                before = time.monotonic()
                transport.announce(tickets(4, prefix=f"{number}-"))
                assert time.monotonic() - before < 20.0, "it waits for no handler"
            until(lambda: len(set(living.handled)) >= 4)
        finally:
            frozen.thaw()
