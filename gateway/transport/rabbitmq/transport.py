"""RabbitMQ transport: tickets by quorum queues; `gateway.transport.contract` is what it promises.

    announce ── link "publish" ── truc-tickets ── truc-deliver.* ── link "listen" ── slots of any process anywhere
    wake ────── the wake board, and the database's line to the node's other processes: broker or no broker

Two connections, since the broker stops reading those that publish when its memory or disk run short: acknowledgements
must still get through.  While it is away nothing is confirmed, nothing raises, nothing piles up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.transport.board import WakeBoard, WakeLine
from gateway.transport.broker import BrokerAccess, BrokerError
from gateway.transport.contract import QUEUES, Handler, Subscription, Ticket
from gateway.transport.rabbitmq.consuming import Consumer, Listener
from gateway.transport.rabbitmq.link import Link
from gateway.transport.rabbitmq.publishing import Publisher
from monitoring.metrics import Metrics

__all__ = ["RabbitTransport"]

_ANNOUNCE_LIMIT: Final = 0.8  # seconds, of the second that the contract allows
_DEPTHS_LIMIT: Final = 0.5  # seconds
_LAST_WORDS: Final = 1.0  # seconds for events that still wait
_BACK: Final = "relay"  # the topic that is called here when the broker takes tickets again


class RabbitTransport:
    """The transport of a node on several machines. Connects with the first use; a broker that is away keeps nobody."""

    def __init__(
        self,
        access: BrokerAccess,
        process_name: str,
        *,
        line: WakeLine | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`line` leads to the node's other processes, and is closed with this."""
        self._metrics = metrics
        self._board = WakeBoard(process_name, line)
        self._publisher = Publisher(on_back=self._on_back, on_blocked=self._on_blocked)
        self._listener = Listener()
        self._publishing = Link("publish", process_name, access, self._publisher, self)
        self._listening = Link("listen", process_name, access, self._listener, self)
        self._publisher.link, self._listener.link = self._publishing, self._listening
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._is_closed = False

    # --- the contract ------------------------------------------------------------------------------------------

    @property
    def takes_tickets(self) -> bool:
        """Whether the broker is connected and not blocked by its alarms; waits a moment for the very first connection.

        A queue that is full or lost its majority is seen by announcing alone.
        """
        return not self._is_closed and self._publisher.is_taking(_ANNOUNCE_LIMIT)

    def announce(self, tickets: Sequence[Ticket]) -> tuple[Ticket, ...]:
        """Hand tickets over; gives those that a quorum of the broker has written down, in the order given.

        Returns within a second, and never raises: while the broker is away or blocked none are, and at once.
        """
        if self._is_closed:
            return ()
        return self._publisher.announce([each for each in tickets if each.queue in QUEUES], _ANNOUNCE_LIMIT)

    def listen(self, queue: str, slots: int, handler: Handler, *, group: int = 32) -> Subscription:
        """Run `handler` in up to `slots` threads on groups of up to `group` tickets.

        Up to twice `slots * group` tickets are held; the others stay in the broker for other processes.

        Raises ValueError for an unknown queue or a number below one, RuntimeError after `close`.
        """
        if queue not in QUEUES:
            raise ValueError(f"there is no queue {queue!r}; there are {', '.join(QUEUES)}")
        if self._is_closed:
            raise RuntimeError("the transport is closed")
        consumer = Consumer(self._listening, queue, slots, handler, group)
        subscription = _Listening(self, consumer)
        with self._lock:
            self._subscriptions.append(subscription)
        self._listener.listen(consumer)
        return subscription

    def wake(self, topic: str) -> None:
        """Call `topic` out in every process of the node. Returns at once; does nothing after `close`."""
        self._board.post(topic)

    def on_wake(self, topics: Sequence[str], callback: Callable[[str], None]) -> Subscription:
        """Call `callback(topic)` after wakes of `topics`, one call at a time; "*" is every topic.

        Raises RuntimeError after `close`.
        """
        return self._board.subscribe(topics, callback)

    @property
    def has_outsiders(self) -> bool:
        """Agencies' software may bind queues to `truc-events`."""
        return True

    def publish_event(self, topic: str, body: bytes) -> None:
        """Tell subscribers outside by `truc-events`; while the broker is away the last 10,000 are kept in memory."""
        if not self._is_closed:
            self._publisher.publish_event(topic, body)

    def depths(self) -> Mapping[str, int]:
        """Tickets waiting per queue: in the broker, as far as it answers in half a second, and in this process."""
        waiting = {} if self._is_closed else self._listener.ask_depths(_DEPTHS_LIMIT)
        return {queue: waiting.get(queue, 0) + self._listener.depth(queue) for queue in QUEUES}

    def close(self) -> None:
        """End every subscription, waiting up to 5 s for the handlers of each. Safe to repeat."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()
        self._board.close()
        self._publisher.drain(_LAST_WORDS)
        self._publishing.close()
        self._listening.close()

    # --- what links and subscriptions tell -------------------------------------------------------------------------

    def link_is(self, link: str, *, is_up: bool) -> None:
        """A connection works, or does not."""
        if self._metrics is not None:
            self._metrics.show_broker_link(link, is_up=is_up)

    def fault(self, link: str, error: BrokerError) -> None:
        """Something was wrong with a connection."""
        if self._metrics is not None:
            self._metrics.count_broker_fault(link, error.reason)

    def end(self, subscription: Subscription, consumer: Consumer) -> None:
        """For subscriptions that end."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
        self._listener.forget(consumer)

    def _on_back(self) -> None:
        self._board.hear([_BACK])

    def _on_blocked(self, is_blocked: bool) -> None:
        if self._metrics is not None:
            self._metrics.show_broker_blocked(is_blocked=is_blocked)


class _Listening:
    """A handler on a queue."""

    def __init__(self, transport: RabbitTransport, consumer: Consumer) -> None:
        self._transport, self._consumer = transport, consumer
        self._is_closed = False

    def close(self, timeout: float = 5.0) -> None:
        """Give back what waits, take nothing more; wait up to `timeout` seconds for running handlers."""
        if self._is_closed:
            return
        self._is_closed = True
        self._consumer.close(timeout)
        self._transport.end(self, self._consumer)
