"""Delivery workers: listen for tickets, hand over. Slow channels have slots of their own, large files one.

Hand-overs go on beside each other, and a slot takes the next tickets while a recipient does not answer; a large file
keeps its slot until it ended.
Whatever is not urgent waits a moment, between its steps and between its documents, for what is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from gateway.exchange.deliver import deliver, open_hands
from gateway.exchange.rehearse import rehearse_hand_over
from gateway.model.errors import StoreError
from gateway.node import Node
from gateway.store import transfers
from gateway.store.repeating import repeated_where_undone
from gateway.transport.contract import Subscription, Ticket
from gateway.workers.precedence import Precedence
from monitoring import log

__all__ = ["Delivery", "start_delivery"]

_log = log.get("delivery")
_ALONE: Final = frozenset({"deliver.slow", "deliver.large"})
_GRACE: Final = 32.0
"""Seconds for the hand-overs that were begun, when the process ends: a `rest` recipient has thirty to answer in, and a
blind one that was left would cost a person a question.  Service managers wait for 45."""


class Delivery:
    """The subscriptions of one process."""

    def __init__(self, node: Node, precedence: Precedence | None = None) -> None:
        """`precedence`: what is known of urgent documents; None: heard by itself. Closed with it."""
        self._node = node
        self._ending = threading.Event()
        self._precedence = precedence or Precedence(node.transport, places=max(1, node.slots // 2))
        slots = {
            "deliver.urgent": max(1, node.slots // 2),
            "deliver.normal": node.slots,
            "deliver.slow": node.slots,
            "deliver.large": 1,
        }
        self._hands = {
            queue: open_hands(
                node, count * node.group, is_ending=self.is_ending,
                give_way=_wait_for_nobody if queue == "deliver.urgent" else self._precedence.give_way,
            )
            for queue, count in slots.items()
            if queue != "deliver.large"
        }  # fmt: skip  # one queue's never wait for another's
        self._subscriptions: tuple[Subscription, ...] = tuple(
            node.transport.listen(queue, count, partial(self._work, queue), group=1 if queue in _ALONE else node.group)
            for queue, count in slots.items()
        )

    def _work(self, queue: str, tickets: Sequence[Ticket]) -> None:
        if self._ending.is_set():
            return  # not claimed: whoever announced it does so again
        work = partial(deliver, self._node, tickets, is_ending=self.is_ending, hands=self._hands.get(queue))
        if queue == "deliver.urgent":
            with self._precedence.urgent():
                work()
        else:
            work(give_way=self._precedence.give_way, step=self._precedence.step)
        self._node.transport.wake("relay")  # slots of channels are free again

    def is_ending(self) -> bool:
        """Whether `close` was called: nothing more is begun."""
        return self._ending.is_set()

    def close(self, timeout: float = _GRACE) -> None:
        """End the hand-overs that were begun, and give all else back at once: claims, and tickets not yet claimed.

        What a recipient has not answered after `timeout` seconds stays an open attempt, as after a crash, and is
        counted in the log.  Safe to repeat.
        """
        if self._ending.is_set():
            return
        self._ending.set()
        self._precedence.close()
        until = time.monotonic() + timeout
        for subscription in self._subscriptions:
            subscription.close(max(0.1, until - time.monotonic()))
        left = sum(hands.close(max(0.1, until - time.monotonic())) for hands in self._hands.values())
        if left:
            _log.warning("delivery.left_open", count=left)
        try:
            _give_back(self._node)
        except StoreError as why:  # they are announced again after a minute
            _log.warning("tickets.not_given_back", reason=why.code)
        self._node.transport.wake("relay")


def _wait_for_nobody() -> None:
    """What urgent documents give way to."""


@repeated_where_undone
def _give_back(node: Node) -> None:
    """Whoever announced what is not claimed does so again."""
    with node.store.write() as connection:
        transfers.forget_announced(connection)


def start_delivery(node: Node) -> list[Delivery]:
    """Listen on every queue; close to stop. On a node with a server the first hand-over is rehearsed before."""
    if node.store.has_many_writers:  # an embedded one at rest keeps its memory for what comes
        rehearse_hand_over(node)
    return [Delivery(node)]
