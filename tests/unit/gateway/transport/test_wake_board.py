"""The wake board: what was posted before it was closed still goes to the other processes."""

from __future__ import annotations

import threading

from gateway.transport.wakes import WakeBoard


def test_what_was_posted_just_before_closing_is_carried() -> None:
    """A process of one command posts, and closes before the board's thread has come to it."""
    carried: list[bytes] = []
    carrying, gate = threading.Event(), threading.Event()

    def carry(messages: tuple[bytes, ...], _count: int) -> int:
        carrying.set()
        gate.wait()
        carried.extend(messages)
        return 0

    heard: list[str] = []
    board = WakeBoard("thu", carry, on_lost=lambda _count: None)
    board.post("first")
    carrying.wait()
    board.subscribe(["*"], heard.append)
    board.post("last")
    board.close(timeout=0)  # the thread is still at the first
    board.post("too late")
    gate.set()
    board.close(timeout=60)
    assert carried == [b"first", b"last"]
    assert heard == []
