"""Writes down what a process that serves the API saw of its callers, though nobody calls again."""

from __future__ import annotations

from typing import Final

from gateway.node import Node
from gateway.workers.loop import Loop

__all__ = ["start_noting"]

_SELDOM: Final = 6
_LONGEST: Final = 30.0
"""Seconds. What stands in the store is at most a minute older than the truth, also where the store was busy once."""


def start_noting(node: Node, pause: float) -> Loop:
    """The loop, by time alone; where nobody called it writes nothing. `pause`: seconds between looks of other loops."""
    rest = min(_SELDOM * pause, _LONGEST)

    def once() -> float:
        node.callers.sightings.flush()
        node.callers.refusals.flush()
        return rest

    return Loop("noting", once, node.transport, beat=rest)
