"""Delivery workers: listen for tickets, hand over. Slow channels share a quarter of the slots, large files one."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.exchange.deliver import deliver
from gateway.node import Node
from gateway.transport.contract import Subscription, Ticket

__all__ = ["start_delivery"]


def start_delivery(node: Node) -> list[Subscription]:
    """Listen on every queue; close the subscriptions to stop after what is running."""

    def work(tickets: Sequence[Ticket]) -> None:
        deliver(node, tickets)
        node.transport.wake("relay")  # slots of channels are free again

    slots = {
        "deliver.urgent": max(1, node.slots // 2),
        "deliver.normal": node.slots,
        "deliver.slow": max(1, node.slots // 4),
        "deliver.large": 1,
    }
    return [
        node.transport.listen(queue, count, work, group=1 if queue in ("deliver.slow", "deliver.large") else node.group)
        for queue, count in slots.items()
    ]
