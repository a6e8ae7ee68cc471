"""Lets the data folder remember how far its database had come: one that was put back is noticed at the start."""

from __future__ import annotations

from pathlib import Path

from gateway.node import Node
from gateway.store.remembered import remember
from gateway.workers.loop import Loop

__all__ = ["start_remembering"]

_PAUSE = 30.0


def start_remembering(node: Node, data: Path) -> Loop:
    """The loop, by time alone; what the last half minute brought may be forgotten by a crash."""

    def once() -> float:
        remember(node.store, data)
        return _PAUSE

    return Loop("remember", once, node.transport, beat=_PAUSE)
