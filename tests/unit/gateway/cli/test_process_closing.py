"""A process that ends tells all its loops first and waits then: what each is at takes its time beside the others'."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.process import Role, _close_all, _share_interpreter, _Stop
from gateway.transport.local import LocalTransport
from gateway.workers.loop import Loop
from tests.service.transport_child import open_transport
from tests.support.patience import PATIENCE


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    heard: list[str]

    def stop(self) -> None:
        self.heard.append(f"stop {self.name}")

    def close(self) -> None:
        self.heard.append(f"close {self.name}")


class _Unstoppable:
    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def close(self) -> None:
        self._heard.append("close three")


def test_all_are_told_before_anybody_is_waited_for() -> None:
    heard: list[str] = []
    _close_all([_Part("one", heard), _Part("two", heard), _Unstoppable(heard)])
    assert heard == ["stop one", "stop two", "close three", "close two", "close one"]


def test_a_loop_that_was_told_earlier_is_not_waited_for_anew(tmp_path: Path) -> None:
    """Ten seconds from the moment that it was told; not ten for each of its kind."""
    gate, begun = threading.Event(), threading.Event()

    def once() -> float:
        begun.set()
        gate.wait(PATIENCE)
        return 60.0

    transport = open_transport("local", str(tmp_path), "one")
    assert isinstance(transport, LocalTransport)
    loop = Loop("chậm", once, transport)
    assert begun.wait(PATIENCE)
    loop.stop()
    loop.close(timeout=0.0)
    assert loop._thread.is_alive(), "it is at its work still, and was left to it"
    gate.set()
    loop.close(timeout=PATIENCE)
    assert not loop._thread.is_alive()
    transport.close()


class _ToldBetween(threading.Event):
    """The loop is told to end after it has looked whether it was, and before it forgets who woke it."""

    loop: Loop | None = None

    def clear(self) -> None:
        if self.loop is not None:
            self.loop.stop()
        super().clear()


def test_a_loop_that_is_told_between_two_looks_does_not_sleep_on(tmp_path: Path) -> None:
    gate, waking = threading.Event(), _ToldBetween()
    pauses = iter([0.0, 2 * PATIENCE])

    def once() -> float:
        gate.wait(PATIENCE)
        return next(pauses)

    transport = open_transport("local", str(tmp_path), "one")
    loop = Loop("giữa", once, transport)
    loop._woken, waking.loop = waking, loop
    gate.set()
    loop._thread.join(PATIENCE)
    assert not loop._thread.is_alive()
    assert next(pauses, None) is None, "it was told in its second round"
    transport.close()


@pytest.mark.timeout(300)
def test_a_signal_is_heard_in_the_very_moment_in_which_the_process_begins_to_wait_for_it() -> None:
    """A handler runs in the main thread, between any two of its steps: also while that holds the event's lock."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = _Stop()
    stop.watch()
    try:
        with stop.event._cond:  # type: ignore[attr-defined]  # as `wait` holds it at its beginning
            signal.raise_signal(signal.SIGTERM)
        assert stop.event.wait(PATIENCE)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_api_gives_the_interpreter_to_its_groups_sooner() -> None:
    """Other processes, and a node that is one process, keep Python's five milliseconds (decision 46)."""
    before = sys.getswitchinterval()
    try:
        for role in Role:
            sys.setswitchinterval(0.005)
            _share_interpreter(role)
            assert sys.getswitchinterval() == pytest.approx(0.0005 if role is Role.API else 0.005)
    finally:
        sys.setswitchinterval(before)
