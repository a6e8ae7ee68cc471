"""Recovering after a restore: ask the recipients until all have answered, then push again (protocol §13)."""

from __future__ import annotations

from typing import Final

from gateway.exchange.recover import recover_once
from gateway.node import Node
from gateway.store import recoveries
from gateway.workers.leases import may_do
from gateway.workers.loop import Loop

__all__ = ["start_recovering"]

_SHORTEST_LEASE: Final = 2.0
"""Seconds. Held for three looks: after a crash the next process goes on soon; two at once harm nothing."""


def start_recovering(node: Node, pause: float) -> Loop:
    """The loop that ends a recovery; nothing to do on a node that was not restored. `pause`: seconds between looks."""

    def once() -> float:
        with node.store.read() as connection:
            is_recovering = recoveries.running(connection) is not None
        if is_recovering and may_do(node, "recover", max(3 * pause, _SHORTEST_LEASE)):
            recover_once(node)
        return pause

    return Loop("recover", once, node.transport, beat=pause)
