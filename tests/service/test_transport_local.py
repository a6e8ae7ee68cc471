"""The local transport: the contract, and what only it promises."""

from __future__ import annotations

import os
import threading

import pytest

from gateway.transport.local import LocalTransport, TransportCount
from tests.service.transport_child import Heard
from tests.service.transport_suite import OpenTransport, TransportSuite
from tests.support.announcing import NORMAL, tickets


class TestLocalTransport(TransportSuite):
    kind = "local"

    @pytest.fixture
    def where(self) -> str:
        return ""

    def most_confirmed(self, slots: int, group: int) -> int:
        running = waiting = slots * group
        return running + waiting

    def test_it_takes_tickets_while_somebody_listens(self, open_one: OpenTransport) -> None:
        """Tickets stay in their process: one that only announces has nobody to announce to."""
        transport = open_one("one")
        assert not transport.takes_tickets
        listening = transport.listen(NORMAL, 1, lambda _: None)
        assert transport.takes_tickets
        listening.close()
        assert not transport.takes_tickets

    def test_nothing_is_confirmed_without_a_listener(self, open_one: OpenTransport) -> None:
        assert open_one("relay").announce(tickets(5)) == ()

    def test_a_queue_nobody_knows_is_not_confirmed_and_not_listened_to(self, open_one: OpenTransport) -> None:
        transport = open_one("one")
        assert transport.announce(tickets(1, "deliver.unknown")) == ()
        with pytest.raises(ValueError, match=r"deliver\.unknown"):
            transport.listen("deliver.unknown", 1, lambda _: None)

    def test_counts_tell_what_happened(self) -> None:
        counts, handled = Heard(), Heard()

        def fail(group: object) -> None:
            handled.add(group)
            raise RuntimeError("a handler that fails on purpose")

        transport = LocalTransport("one", metrics_hook=lambda *count: counts.add(count))
        try:
            transport.announce(tickets(3))
            transport.listen(NORMAL, 1, fail)
            transport.announce(tickets(2))
            counts.wait_for(lambda seen: (TransportCount.HANDLER_FAILED, NORMAL, 1) in seen)
        finally:
            transport.close()
        assert (TransportCount.UNCONFIRMED, NORMAL, 3) in counts.items
        assert (TransportCount.CONFIRMED, NORMAL, 2) in counts.items

    def test_closing_leaves_no_thread_and_no_descriptor(self) -> None:
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        transport = LocalTransport("one")
        transport.listen(NORMAL, 4, lambda _: None)
        transport.on_wake(["*"], lambda _: None)
        transport.announce(tickets(4))
        transport.wake("relay")
        transport.close()
        assert threading.active_count() <= threads
        assert len(os.listdir("/proc/self/fd")) <= descriptors
