"""Slots: as many threads as tickets want, and never more than asked for."""

from __future__ import annotations

import threading

from gateway.transport.contract import Ticket
from gateway.transport.slots import Slots
from tests.support.patience import PATIENCE, until


def _ignore() -> None:
    """Nobody counts."""


def _alive(queue: str) -> int:
    return sum(thread.name.startswith(f"{queue}-") for thread in threading.enumerate())


def test_every_slot_works_when_its_ticket_comes_and_before_that_there_is_one() -> None:
    together, done = threading.Barrier(5), threading.Semaphore(0)

    def handle(_tickets: tuple[Ticket, ...]) -> None:
        together.wait(PATIENCE)  # all four slots, and the test
        done.release()

    slots = Slots("wanted.four", 4, handle, 1, on_failure=_ignore, room=100)
    assert _alive("wanted.four") == 1
    assert slots.take([Ticket(f"t{number}", 0) for number in range(40)]) == 40
    for _ in range(10):
        together.wait(PATIENCE)
        assert _alive("wanted.four") == 4
    for _ in range(40):
        assert done.acquire(timeout=PATIENCE)
    assert slots.close(PATIENCE)
    assert _alive("wanted.four") == 0


def test_tickets_that_come_one_by_one_each_find_a_slot() -> None:
    begun, may_end = threading.Semaphore(0), threading.Event()

    def handle(_tickets: tuple[Ticket, ...]) -> None:
        begun.release()
        assert may_end.wait(PATIENCE)

    slots = Slots("wanted.three", 3, handle, 8, on_failure=_ignore)
    for number in range(3):
        assert slots.take([Ticket(f"t{number}", 0)]) == 1
        assert begun.acquire(timeout=PATIENCE)
    assert slots.take([Ticket("t3", 0)]) == 1
    assert slots.depth == 1, "all three are busy"
    may_end.set()
    until(lambda: slots.depth == 0)
    assert slots.close(PATIENCE)


def test_closed_slots_take_nothing_and_make_no_thread() -> None:
    slots = Slots("wanted.closed", 2, lambda _tickets: None, 1, on_failure=_ignore)
    assert slots.close(PATIENCE)
    assert slots.take([Ticket("t", 0)]) == 0
    assert _alive("wanted.closed") == 0
