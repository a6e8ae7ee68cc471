"""Local transport (chuyển phiếu nội bộ): tickets and wake-ups within one process; a line wakes the node's others.

What is in flight is in memory and is lost with its process.  It may be: a ticket is a hint (protocol, rule 3).  Without
a broker no ticket goes from one process to another: each process that delivers announces to itself what is due.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from gateway.transport.board import WakeBoard, WakeLine
from gateway.transport.contract import QUEUES, Handler, Subscription, Ticket
from gateway.transport.slots import Slots

__all__ = ["LocalTransport", "MetricsHook", "TransportCount"]


class TransportCount(StrEnum):
    """What a metrics hook is told about."""

    CONFIRMED = "confirmed"
    """Tickets that a listener has taken, per queue."""
    UNCONFIRMED = "unconfirmed"
    """Tickets that no listener had room for, per queue."""
    HANDLER_FAILED = "handler_failed"
    """Groups whose handler raised, per queue."""


MetricsHook = Callable[[TransportCount, str, int], None]
"""Gets what happened, the queue, and how often. Called from any thread; it must be quick and not raise."""


def _count_nothing(_count: TransportCount, _queue: str, _number: int) -> None:
    """For those who count nothing."""


class LocalTransport:
    """The transport of a node without a broker; `gateway.transport.contract.Transport` says what it promises."""

    def __init__(
        self, process_name: str, *, line: WakeLine | None = None, metrics_hook: MetricsHook | None = None
    ) -> None:
        """`line` leads to the node's other processes, and is closed with this."""
        self._count = metrics_hook or _count_nothing
        self._board = WakeBoard(process_name, line)
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[Slots, ...]] = {}
        self._turns = {queue: itertools.count() for queue in QUEUES}
        self._subscriptions: list[_Listening] = []
        self._is_closed = False

    @property
    def takes_tickets(self) -> bool:
        """Whether somebody listens in this process; whether there is room is seen by announcing alone."""
        return any(self._listeners.values())

    def announce(self, tickets: Sequence[Ticket]) -> tuple[Ticket, ...]:
        """Hand tickets over; gives those that a listener has in its memory, in the order given.

        Returns at once and never raises: tickets that nobody has room for, or that are on no known queue, are left
        out.
        """
        by_queue: dict[str, list[int]] = {}
        for index, ticket in enumerate(tickets):
            by_queue.setdefault(ticket.queue, []).append(index)
        confirmed: list[int] = []
        for queue, indexes in by_queue.items():
            taken = self._hand_over(queue, [tickets[index] for index in indexes])
            confirmed += indexes[:taken]
            self._count(TransportCount.CONFIRMED, queue, taken)
            self._count(TransportCount.UNCONFIRMED, queue, len(indexes) - taken)
        return tuple(tickets[index] for index in sorted(confirmed))

    def listen(self, queue: str, slots: int, handler: Handler, *, group: int = 32) -> Subscription:
        """Run `handler` in up to `slots` threads on groups of up to `group` tickets.

        Up to `slots * group` tickets more wait in memory; others are not confirmed to whoever announces.

        Raises ValueError for an unknown queue or a number below one, RuntimeError after `close`.
        """
        if queue not in QUEUES:
            raise ValueError(f"there is no queue {queue!r}; there are {', '.join(QUEUES)}")
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the transport is closed")
            working = Slots(
                queue, slots, handler, group,
                on_failure=lambda: self._count(TransportCount.HANDLER_FAILED, queue, 1),
            )  # fmt: skip
            self._listeners[queue] = (*self._listeners.get(queue, ()), working)
            subscription = _Listening(self, working)
            self._subscriptions.append(subscription)
        return subscription

    def wake(self, topic: str) -> None:
        """Call `topic` out in every process of the node. Returns at once; does nothing after `close`."""
        self._board.post(topic)

    def on_wake(self, topics: Sequence[str], callback: Callable[[str], None]) -> Subscription:
        """Call `callback(topic)` after wakes of `topics`, one call at a time; "*" is every topic.

        Wakes that come while the callback runs lead to another call. Raises RuntimeError after `close`.
        """
        return self._board.subscribe(topics, callback)

    @property
    def has_outsiders(self) -> bool:
        """Nobody outside hears a local transport."""
        return False

    def publish_event(self, topic: str, body: bytes) -> None:
        """Nobody outside listens to a local transport: nothing happens."""

    def depths(self) -> Mapping[str, int]:
        """Tickets waiting for a slot in this process, per queue."""
        return {queue: sum(slots.depth for slots in self._listeners.get(queue, ())) for queue in QUEUES}

    def close(self) -> None:
        """End every subscription, waiting up to 5 s for the handlers of each. Safe to repeat."""
        with self._lock:
            self._is_closed = True
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()
        self._board.close()

    def forget(self, subscription: _Listening, working: Slots) -> None:
        """For subscriptions that end: hand nothing to them any more."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            others = tuple(slots for slots in self._listeners.get(working.queue, ()) if slots is not working)
            self._listeners[working.queue] = others

    def _hand_over(self, queue: str, tickets: Sequence[Ticket]) -> int:
        """How many of the first tickets somebody took; several listeners begin in turn."""
        listeners = self._listeners.get(queue, ())
        first = next(self._turns[queue]) % len(listeners) if listeners else 0
        taken = 0
        for slots in listeners[first:] + listeners[:first]:
            taken += slots.take(tickets[taken:])
        return taken


class _Listening:
    """A handler on a queue."""

    def __init__(self, transport: LocalTransport, slots: Slots) -> None:
        self._transport, self._slots = transport, slots

    def close(self, timeout: float = 5.0) -> None:
        """Drop what waits, take nothing more; wait up to `timeout` seconds for running handlers."""
        self._transport.forget(self, self._slots)
        self._slots.close(timeout)
