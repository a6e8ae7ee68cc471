"""The wake board: what was posted before it was closed still goes to the other processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from gateway.transport.board import WakeBoard


class SlowLine:
    """Carries topics when its gate is open."""

    def __init__(self) -> None:
        self.carried: list[str] = []
        self.carrying, self.gate = threading.Event(), threading.Event()
        self.is_closed = False

    def open(self, hear: Callable[[Sequence[str]], None], on_back: Callable[[], None]) -> None:
        """Nobody is heard."""

    def send(self, topics: Sequence[str]) -> None:
        self.carrying.set()
        self.gate.wait()
        self.carried.extend(topics)

    def close(self) -> None:
        self.is_closed = True


def test_what_was_posted_just_before_closing_is_carried() -> None:
    """A process of one command posts, and closes before the board's thread has come to it."""
    line, heard = SlowLine(), list[str]()
    board = WakeBoard("thu", line)
    board.post("first")
    line.carrying.wait()
    board.subscribe(["*"], heard.append)
    board.post("last")
    board.close(timeout=0)  # the thread is still at the first
    board.post("too late")
    line.gate.set()
    board.close(timeout=60)
    assert line.carried == ["first", "last"]
    assert line.is_closed
    assert heard == []
