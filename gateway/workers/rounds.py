"""Rounds over everything stored, behind the hops: one page at a time, slowly, by one process of a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.node import Node
from gateway.workers.leases import may_do
from gateway.workers.loop import Loop

__all__ = ["start_round"]

_LEASE: Final = 60.0
_OFTEN: Final = 1.0
"""Seconds between two pages: a fortieth of a processor at most; whoever accepts needs it more."""
_SELDOM: Final = 6
"""Nobody waits for a round, and each look, which writes that the lease is taken, wakes an idle machine."""


def start_round(node: Node, name: str, check_next: Callable[[Node], bool], pause: float) -> Loop:
    """The loop of one round, under the lease `name`: `check_next` looks at a page and says whether to go on.

    `pause`: seconds between two looks of work that is waited for; after a no, a round is asked six times as late.
    """
    rest = max(_SELDOM * pause, _OFTEN)

    def once() -> float:
        return _OFTEN if may_do(node, name, max(_LEASE, 3 * rest)) and check_next(node) else rest

    return Loop(name, once, node.transport, beat=rest)
