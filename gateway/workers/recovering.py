"""Recovering after a restore: ask the recipients until all have answered, then push again (protocol §13)."""

from __future__ import annotations

from typing import Final

from gateway.exchange.recover import recover_once
from gateway.node import Node
from gateway.store import recoveries
from gateway.workers.leases import may_do
from gateway.workers.loop import Loop

__all__ = ["start_recovering"]

_LEASE: Final = 600.0


def start_recovering(node: Node, pause: float) -> Loop:
    """The loop that ends a recovery; nothing to do on a node that was not restored. `pause`: seconds between looks."""

    def once() -> float:
        with node.store.read() as connection:
            is_recovering = recoveries.running(connection) is not None
        if is_recovering and may_do(node, "recover", _LEASE):
            recover_once(node)
        return pause

    return Loop("recover", once, node.transport)
