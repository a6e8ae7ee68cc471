"""A recipient that answers when a test tells it to: what happens meanwhile depends on no time."""

from __future__ import annotations

import threading

from tests.support.nodes import House
from tests.support.patience import PATIENCE

__all__ = ["Held", "hold"]


class Held:
    """`has_begun`: it has something in hand. `may_end`: set it, and it answers."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def wait(self, _item: object = None) -> None:
        """What the recipient does before it answers."""
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE)


def hold(house: House, channel: str) -> Held:
    """Let the recipient of that channel take, and answer when it is told to."""
    held = Held()
    house.recipient(channel).during = held.wait
    return held
