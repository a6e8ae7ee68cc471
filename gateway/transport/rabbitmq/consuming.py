"""Consuming: tickets into slots, with acknowledgements from the slots' threads.

A ticket is acknowledged when its handler ended, or a second after it began, whichever comes first: a worker that is
killed before its claim was committed gives the ticket back at once, and a hand-over of an hour holds none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
from pika.channel import Channel

from gateway.transport.broker import QueueGone
from gateway.transport.contract import QUEUES, Handler, Ticket
from gateway.transport.rabbitmq.link import Connection, Link
from gateway.transport.rabbitmq.publishing import read_ticket
from gateway.transport.slots import Slots
from gateway.transport.topology import queue_name
from monitoring import log

__all__ = ["Consumer", "Listener"]

_CLAIM: Final = 1.0  # seconds within which a handler has committed its claims
_OPENING: Final = 2.0  # seconds that a new subscription waits to be told to the broker
_CLOSING: Final = 1.0

_log = log.get("gateway.transport")


@dataclass(slots=True, eq=False)
class _Group:
    """Tickets that a handler works on: the channel that they came by and what they are called there."""

    channel: Channel
    tags: list[int]
    began: float
    is_acknowledged: bool = False


class Consumer:
    """One handler on one queue. `link` is the listening link."""

    def __init__(self, link: Link, queue: str, slots: int, handler: Handler, group: int) -> None:
        self._link, self.queue, self._handler = link, queue, handler
        self._prefetch = 2 * slots * group  # what runs, and as much again that waits
        self._lock = threading.Lock()
        self._tags: dict[Ticket, list[int]] = {}
        self._running: list[_Group] = []
        self._channel: Channel | None = None
        self._tag = ""
        self._slots = Slots(queue, slots, self._work, group, on_failure=lambda: None, room=self._prefetch)

    @property
    def depth(self) -> int:
        """Tickets that wait here for a slot."""
        return self._slots.depth

    # --- in the link's thread ----------------------------------------------------------------------------------

    def open(self, connection: Connection, done: Callable[[], None]) -> None:
        """Consume on a channel of its own."""

        def on_open(channel: Channel) -> None:
            channel.add_on_close_callback(self._link.channel_closed)
            channel.add_on_cancel_callback(self._cancelled)
            channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _frame: on_qos(channel))

        def on_qos(channel: Channel) -> None:
            self._channel = channel
            self._tag = channel.basic_consume(queue_name(self.queue), self._take, callback=lambda _frame: done())

        connection.channel(on_open_callback=on_open)

    def lost(self) -> None:
        """The broker gives again whatever was not acknowledged: what waits here is forgotten."""
        with self._lock:
            self._channel = None
            self._tags.clear()
            self._running.clear()
        self._slots.drop_waiting()

    def tick(self) -> None:
        """Acknowledge what has been worked on long enough to be claimed."""
        late = time.monotonic() - _CLAIM
        with self._lock:
            old = [group for group in self._running if group.began < late and not group.is_acknowledged]
        for group in old:
            self._acknowledge(group)

    def _take(self, channel: Channel, method: Any, _properties: object, body: bytes) -> None:
        tag = method.delivery_tag
        try:
            ticket = read_ticket(body, self.queue)
        except msgspec.MsgspecError:
            _log.warning("transport.message_unread", queue=self.queue)
            channel.basic_reject(tag, requeue=False)
            return
        with self._lock:
            self._tags.setdefault(ticket, []).append(tag)
        if not self._slots.take([ticket]):
            self._give_back(channel, [ticket])

    def _give_back(self, channel: Channel, tickets: list[Ticket]) -> None:
        for tag in self._forget(tickets):
            channel.basic_nack(tag, requeue=True)

    def _cancelled(self, _frame: object) -> None:
        """The broker ended the consumption: its queue was deleted, or moved with a node that is gone."""
        self._link.fail(QueueGone(address=str(self._link.address), name=queue_name(self.queue)))

    def _acknowledge(self, group: _Group) -> None:
        channel = self._channel
        if group.is_acknowledged or channel is None or group.channel is not channel or not channel.is_open:
            return
        group.is_acknowledged = True
        for tag in group.tags:
            channel.basic_ack(tag)

    def _cancel(self) -> None:
        channel = self._channel
        if channel is not None and channel.is_open:
            channel.basic_cancel(self._tag)
            with self._lock:
                waiting = [ticket for ticket, tags in self._tags.items() for _ in tags]
            self._give_back(channel, waiting)

    def _close_channel(self, done: threading.Event) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            channel.add_on_close_callback(lambda _channel, _reason: done.set())
            channel.close()
        else:
            done.set()

    # --- in the slots' threads ---------------------------------------------------------------------------------

    def _work(self, tickets: tuple[Ticket, ...]) -> None:
        with self._lock:
            channel = self._channel
            tags = self._pop(tickets)
            group = _Group(channel, tags, time.monotonic()) if channel is not None else None
            if group is not None:
                self._running.append(group)
        try:
            self._handler(tickets)
        finally:
            if group is not None:
                with self._lock:
                    if group in self._running:
                        self._running.remove(group)
                self._link.post(lambda: self._acknowledge(group))

    def _forget(self, tickets: list[Ticket]) -> list[int]:
        with self._lock:
            return self._pop(tickets)

    def _pop(self, tickets: list[Ticket] | tuple[Ticket, ...]) -> list[int]:
        """Delivery tags of these tickets, each once; one that came twice has several."""
        found = []
        for ticket in tickets:
            tags = self._tags.get(ticket)
            if tags:
                found.append(tags.pop())
                if not tags:
                    del self._tags[ticket]
        return found

    # --- from any thread ---------------------------------------------------------------------------------------

    def close(self, timeout: float) -> None:
        """Take nothing more, give back what waits, wait for what runs, acknowledge it."""
        self._link.post(self._cancel)
        self._slots.close(timeout)
        done = threading.Event()
        if self._link.post(lambda: self._close_channel(done)):
            done.wait(_CLOSING)


@dataclass(slots=True, eq=False)
class _Wish:
    """Something to be consumed: how it is opened, on which connection it was, and whether it ever worked."""

    open: Callable[[Connection, Callable[[], None]], None]
    on: Connection | None = None
    works: threading.Event = field(default_factory=threading.Event)


class Listener:
    """The tenant of the link that listens: consumers of tickets."""

    link: Link

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._consumers: dict[Consumer, _Wish] = {}
        self._connection: Connection | None = None

    # --- in the link's thread ----------------------------------------------------------------------------------

    def begin(self, connection: Connection, done: Callable[[], None]) -> None:
        """Consume everything that was asked for until now."""
        self._connection = connection
        left = {id(wish) for wish in self._wishes()}

        def one_done(wish: _Wish) -> None:
            left.discard(id(wish))
            if not left:
                done()

        if not left:
            done()
        self._open_missing(one_done)

    def lost(self) -> None:
        """All channels are gone."""
        self._connection = None
        for each in tuple(self._consumers):
            each.lost()

    def tick(self) -> None:
        """Pass the time on."""
        for each in tuple(self._consumers):
            each.tick()

    def _wishes(self) -> list[_Wish]:
        with self._lock:
            return list(self._consumers.values())

    def _open_missing(self, done: Callable[[_Wish], None]) -> None:
        """Open what was asked for and is not open on the present connection."""
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        for wish in self._wishes():
            if wish.on is not connection:
                wish.on = connection
                wish.open(connection, partial(_opened, wish, done))

    # --- from any thread ---------------------------------------------------------------------------------------

    def listen(self, consumer: Consumer) -> None:
        """Consume from now on; returns when the broker knows, or after a moment in which it did not answer."""
        wish = _Wish(consumer.open)
        with self._lock:
            self._consumers[consumer] = wish
        self._begin_one(wish)

    def forget(self, consumer: Consumer) -> None:
        """It is closed: open it no more."""
        with self._lock:
            self._consumers.pop(consumer, None)

    def depth(self, queue: str) -> int:
        """Tickets of a queue that wait in this process."""
        return sum(each.depth for each in tuple(self._consumers) if each.queue == queue)

    def ask_depths(self, timeout: float) -> dict[str, int]:
        """Messages that wait in each queue of the contract, as far as the broker answers in time."""
        found: dict[str, int] = {}
        done = threading.Event()

        def note(channel: Channel, queue: str, frame: Any) -> None:
            found[queue] = frame.method.message_count
            if len(found) == len(QUEUES):
                channel.close()

        def on_open(channel: Channel) -> None:
            channel.add_on_close_callback(lambda _channel, _reason: done.set())
            for queue in QUEUES:
                channel.queue_declare(queue_name(queue), passive=True, callback=partial(note, channel, queue))

        def ask() -> None:
            if self._connection is not None and self._connection.is_open:
                self._connection.channel(on_open_callback=on_open)

        if self.link.settle(timeout) and self.link.post(ask):
            done.wait(timeout)
        return dict(found)

    def _begin_one(self, wish: _Wish) -> None:
        self.link.start()
        self.link.post(lambda: self._open_missing(lambda _wish: None))
        if self.link.settle(_OPENING):
            wish.works.wait(_OPENING)


def _opened(wish: _Wish, done: Callable[[_Wish], None]) -> None:
    wish.works.set()
    done(wish)
