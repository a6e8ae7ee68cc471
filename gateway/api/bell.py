"""The bell: who waits on the event loop for an agency's inbox, and how a wake-up from anywhere reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.transport.board import EVERY_TOPIC
from gateway.transport.contract import Subscription, Transport

__all__ = ["Bell"]


class Bell:
    """One subscription for the whole process; a waiter costs an entry in a dict, no thread and no connection.

    Used on the event loop, but for the transport's own call.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._subscription: Subscription | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._is_closed = False

    @contextmanager
    def listening(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set when the topic is called. Look at the store after this began: nothing is missed."""
        if self._subscription is None:
            self._loop = asyncio.get_running_loop()
            self._subscription = self._transport.on_wake([EVERY_TOPIC], self._hear)
        event = asyncio.Event()
        if self._is_closed:
            event.set()
        self._waiting.setdefault(topic, set()).add(event)
        try:
            yield event
        finally:
            waiters = self._waiting[topic]
            waiters.discard(event)
            if not waiters:
                del self._waiting[topic]

    @property
    def is_closed(self) -> bool:
        """Whether nobody should begin to wait any more."""
        return self._is_closed

    def _hear(self, topic: str) -> None:
        """In the transport's thread: most topics have no waiter, and then the loop is left asleep."""
        if (topic in self._waiting or topic == EVERY_TOPIC) and self._loop is not None:
            self._loop.call_soon_threadsafe(self._ring, topic)

    def _ring(self, topic: str) -> None:
        """`topic` "*": anything may have changed, everybody looks."""
        for one in tuple(self._waiting) if topic == EVERY_TOPIC else (topic,):
            for event in self._waiting.get(one, ()):
                event.set()

    def send_everybody_home(self) -> None:
        """The process ends: all who wait are answered now with what there is. On the loop."""
        self._is_closed = True
        self._ring(EVERY_TOPIC)

    def close(self) -> None:
        """Hear no more. Safe to repeat."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
