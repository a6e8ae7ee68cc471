"""The local transport: the contract, and what only it promises."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from gateway.transport.local import LocalTransport, TransportCount
from gateway.transport.rendezvous import Rendezvous, start_time
from tests.service.transport_child import Heard
from tests.service.transport_suite import OpenTransport, StartChild, TransportSuite
from tests.support.announcing import NORMAL, stuck_at, tickets
from tests.support.patience import until


class TestLocalTransport(TransportSuite):
    kind = "local"

    @pytest.fixture
    def where(self, tmp_path: Path) -> str:
        return str(tmp_path)

    def most_confirmed(self, slots: int, group: int) -> int:
        running = waiting = slots * group
        return running + waiting

    def test_nothing_is_confirmed_without_a_listener(self, open_one: OpenTransport) -> None:
        assert open_one("relay").announce(tickets(5)) == ()

    def test_a_queue_nobody_knows_is_not_confirmed_and_not_listened_to(self, open_one: OpenTransport) -> None:
        transport = open_one("one")
        assert transport.announce(tickets(1, "deliver.unknown")) == ()
        with pytest.raises(ValueError, match=r"deliver\.unknown"):
            transport.listen("deliver.unknown", 1, lambda _: None)

    def test_slots_of_the_same_process_come_first(self, open_one: OpenTransport, start_child: StartChild) -> None:
        transport, handled, child = open_one("serve"), Heard(), start_child("worker")
        transport.listen(NORMAL, 1, handled.add, group=8)
        child.tell("listen", queue=NORMAL, slots=1, group=8, seconds=0)
        for number in range(5):
            assert len(transport.announce(tickets(1, prefix=f"{number}-"))) == 1
        handled.wait_for(lambda groups: sum(map(len, groups)) == 5)
        assert child.handled == []

    def test_what_does_not_fit_here_goes_to_another_process(
        self, open_one: OpenTransport, start_child: StartChild
    ) -> None:
        transport, gate, child = open_one("serve"), threading.Event(), start_child("worker")
        transport.listen(NORMAL, 1, stuck_at(gate), group=1)
        child.tell("listen", queue=NORMAL, slots=1, group=32, seconds=0)
        transport.announce(tickets(10))
        until(lambda: len(child.handled) >= 8)
        gate.set()

    def test_a_full_listener_of_another_process_pushes_back(
        self, open_one: OpenTransport, start_child: StartChild
    ) -> None:
        transport, child = open_one("relay"), start_child("worker")
        child.tell("listen", queue=NORMAL, slots=1, group=4, seconds=30)
        confirmed = sum(len(transport.announce(tickets(50))) for _ in range(10))
        assert 4 <= confirmed <= self.most_confirmed(1, 4)
        assert transport.depths()[NORMAL] == 4

    def test_a_frozen_process_costs_one_moment_and_no_ticket(
        self, open_one: OpenTransport, start_child: StartChild
    ) -> None:
        """Whichever of two is frozen, the other one gets all tickets of the very announcement that finds out,
        and later announcements do not wait for the frozen one again."""
        children = [start_child("worker"), start_child("worker")]
        for child in children:
            child.tell("listen", queue=NORMAL, slots=1, group=16, seconds=0)
        for frozen in children:
            transport = open_one("relay")
            frozen.freeze()
            try:  # each finds out anew: a busy machine may hold up the living one for as long as a frozen one
                until(lambda: len(open_one("relay").announce(tickets(8))) == 8)
                transport.announce(tickets(8))
                before = time.monotonic()
                for _ in range(100):
                    transport.announce(tickets(1))
                assert time.monotonic() - before < 20.0, "a hundred times its 0.3 seconds were 30"
            finally:
                frozen.thaw()

    def test_a_killed_process_leaves_no_socket_for_long(
        self, open_one: OpenTransport, start_child: StartChild, where: str
    ) -> None:
        transport, child = open_one("relay"), start_child("worker")
        child.tell("listen", queue=NORMAL, slots=1, group=4, seconds=0)
        child.tell("on_wake", topics=["*"])
        run = Path(where) / "run"
        assert len(list(run.iterdir())) == 2
        child.kill()
        transport.announce(tickets(1))
        transport.wake("relay")
        until(lambda: not list(run.iterdir()))

    def test_opening_removes_the_dead_and_spares_the_living(
        self, open_one: OpenTransport, start_child: StartChild, where: str
    ) -> None:
        killed, living = start_child("worker"), start_child("worker")
        for child in (killed, living):
            child.tell("listen", queue=NORMAL, slots=1, group=4, seconds=0)
            child.tell("on_wake", topics=["*"])
        killed.kill()
        open_one("relay")
        owners = {name.split("~")[2] for name in os.listdir(Path(where) / "run")}
        assert owners == {str(living.process.pid)}

    def test_a_socket_of_a_pid_that_was_given_out_again_is_dead(self, tmp_path: Path) -> None:
        """The name holds our own pid, but another start time, and nobody answers there."""
        run = tmp_path / "run"
        run.mkdir()
        stale = run / f"wake~serve~{os.getpid()}~{(start_time(os.getpid()) or 0) - 1}~abcdef~1"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left_behind:
            left_behind.bind(f"/proc/self/fd/{_opened(run)}/{stale.name}")
        Rendezvous(tmp_path, "serve").close()
        assert not stale.exists()

    def test_a_socket_that_answers_stays_though_its_process_cannot_be_seen(self, tmp_path: Path) -> None:
        """As in containers that share the data folder but not their process numbers."""
        run = tmp_path / "run"
        run.mkdir()
        foreign = run / "wake~serve~999999999~1~abcdef~1"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.bind(f"/proc/self/fd/{_opened(run)}/{foreign.name}")
            Rendezvous(tmp_path, "serve").close()
            assert foreign.exists()

    def test_a_folder_deeper_than_a_socket_address_works(self, tmp_path: Path) -> None:
        deep = tmp_path.joinpath(*["một thư mục dữ liệu rất sâu"] * 5)
        handled, woken = Heard(), Heard()
        relay, worker = LocalTransport(deep, "relay"), LocalTransport(deep, "văn phòng " * 20)
        try:
            worker.listen(NORMAL, 1, handled.add)
            worker.on_wake(["*"], woken.add)
            assert len(relay.announce(tickets(3))) == 3
            relay.wake("inbox")
            handled.wait_for(bool)
            woken.wait_for(bool)
        finally:
            relay.close()
            worker.close()
        assert not list((deep / "run").iterdir())

    def test_nonsense_on_a_socket_hurts_nobody(self, tmp_path: Path) -> None:
        transport, handled, woken = LocalTransport(tmp_path, "worker"), Heard(), Heard()
        transport.listen(NORMAL, 1, handled.add)
        transport.on_wake(["*"], woken.add)
        stranger = Rendezvous(tmp_path, "stranger")
        try:
            (queue_door,), (wake_door,) = stranger.others(NORMAL), stranger.others("wake")
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.connect(stranger.path(queue_door.name))
                connection.send(b"\x00 not an offer")
                assert connection.recv(100) == b""
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"\xff\xfe", stranger.path(wake_door.name))
            woken.wait_for(bool)
            assert len(transport.announce(tickets(1))) == 1
            handled.wait_for(bool)
        finally:
            stranger.close()
            transport.close()

    def test_counts_tell_what_happened(self, tmp_path: Path) -> None:
        counts, handled = Heard(), Heard()

        def fail(group: object) -> None:
            handled.add(group)
            raise RuntimeError("a handler that fails on purpose")

        transport = LocalTransport(tmp_path, "one", metrics_hook=lambda *count: counts.add(count))
        try:
            transport.announce(tickets(3))
            transport.listen(NORMAL, 1, fail)
            transport.announce(tickets(2))
            counts.wait_for(lambda seen: (TransportCount.HANDLER_FAILED, NORMAL, 1) in seen)
        finally:
            transport.close()
        assert (TransportCount.UNCONFIRMED, NORMAL, 3) in counts.items
        assert (TransportCount.CONFIRMED, NORMAL, 2) in counts.items

    def test_an_idle_process_costs_no_processor_time(self, open_one: OpenTransport, start_child: StartChild) -> None:
        child, transport = start_child("worker"), open_one("relay")
        child.tell("listen", queue=NORMAL, slots=8, group=4, seconds=0)
        child.tell("on_wake", topics=["*"])
        transport.announce(tickets(1))
        transport.wake("relay")
        child.wait_for("woken")
        child.tell("cpu")
        time.sleep(2.0)
        child.tell("cpu")
        before, after = child.wait_for("cpu", 2)
        assert after["seconds"] - before["seconds"] < 0.05  # of two; a loop that never rests takes them whole

    def test_closing_leaves_no_thread_and_no_descriptor(self, tmp_path: Path) -> None:
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        transport = LocalTransport(tmp_path, "one")
        other = LocalTransport(tmp_path, "other")
        transport.listen(NORMAL, 4, lambda _: None)
        transport.on_wake(["*"], lambda _: None)
        other.announce(tickets(4))
        other.wake("relay")
        transport.close()
        other.close()
        assert threading.active_count() <= threads
        assert len(os.listdir("/proc/self/fd")) <= descriptors


def _opened(folder: Path) -> int:
    """A descriptor that the process keeps: a way to a folder whose path is too long for a socket address."""
    return os.open(folder, os.O_RDONLY)
