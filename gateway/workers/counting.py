"""Counting (thống kê sửa chữa): follows what was accepted and sums repairs per day, sending system, sender and name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.node import Node
from gateway.store import Store, followers, repairs
from gateway.workers.loop import Loop

__all__ = ["count_all", "count_once", "start_counting"]

_EVENTS: Final = 5_000  # looked at in one step
_OFTEN: Final = 1.0  # seconds between two steps: whoever accepts needs the writer more


def count_once(node: Node) -> bool:
    """Count what the next events accepted; False where there is nothing. A crash counts nothing twice."""
    added = _count_next(node.store)
    if added is None:
        return False
    names = node.channels.snapshot().system_names
    node.metrics.know_systems(names.values())
    for (system_id, name), times in added.items():
        node.metrics.count_system_repairs(names.get(system_id, ""), name, times)
    return True


def count_all(store: Store) -> None:
    """Count everything that was accepted so far, for whoever is about to report; the loop finds nothing left."""
    while _count_next(store) is not None:
        pass


def _count_next(store: Store) -> Mapping[tuple[str, str], int] | None:
    """What one step counted, by (system's id, repair); None where everything is counted."""
    with store.read() as connection:
        following = followers.follow(connection, repairs.FOLLOWER, most=_EVENTS)
        if following.is_done:
            return None
        counted = repairs.sum_up(connection, following)
    with store.write() as connection:
        return repairs.count(connection, counted)


def start_counting(node: Node, pause: float) -> Loop:
    """The counting loop, by time alone."""
    return Loop("counting", lambda: _OFTEN if count_once(node) else pause, node.transport, beat=pause)
