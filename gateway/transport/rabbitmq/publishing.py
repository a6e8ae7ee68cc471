"""Publishing: tickets with confirms in windows; events without.

A ticket counts as confirmed when the broker said so for it: a quorum of its nodes has it on disk.  What came back
(`mandatory`), was refused (a full queue), or was not answered in time, is not confirmed and announced again by the
relay.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pika
from pika.channel import Channel

from gateway.transport.broker import BrokerBlocked, QueueGone
from gateway.transport.contract import Ticket
from gateway.transport.rabbitmq.link import Connection, Link
from gateway.transport.topology import EVENTS, TICKETS, queue_name
from monitoring import log

__all__ = ["Batch", "Publisher", "read_ticket", "write_ticket"]

_WINDOW: Final = 1024  # tickets without an answer; more are not sent
_MOST_EVENTS: Final = 10_000  # for outsiders, kept while the broker is away
_PATIENCE: Final = 20.0  # seconds for an answer, while the broker is not blocked

_log = log.get("gateway.transport")
_write = msgspec.json.Encoder()
_read = msgspec.json.Decoder(tuple[str, int])


def write_ticket(ticket: Ticket) -> bytes:
    """The body of a ticket's message."""
    return _write.encode((ticket.transfer_id, ticket.turn))


def read_ticket(body: bytes, queue: str) -> Ticket:
    """The ticket in a message. Raises msgspec.MsgspecError for what is none of ours."""
    transfer_id, turn = _read.decode(body)
    return Ticket(transfer_id, turn, queue)


@dataclass(slots=True, eq=False)
class Batch:
    """One announcement: which of its tickets are confirmed so far, and a sign when all are answered."""

    tickets: Sequence[Ticket]
    confirmed: set[int] = field(default_factory=set)
    open: int = 0
    is_done: threading.Event = field(default_factory=threading.Event)

    def answer(self, index: int, *, is_confirmed: bool) -> None:
        """In the link's thread: one ticket's fate is known."""
        if is_confirmed:
            self.confirmed.add(index)
        self.open -= 1
        if self.open <= 0:
            self.is_done.set()

    def result(self) -> tuple[Ticket, ...]:
        """Confirmed until now, in the order given; what is confirmed later is simply announced again."""
        return tuple(self.tickets[index] for index in sorted(self.confirmed.copy()))


@dataclass(slots=True)
class _Sent:
    batch: Batch
    index: int
    at: float
    is_returned: bool = False


class Publisher:
    """The tenant of the link that publishes. `link` is given right after it was made."""

    link: Link

    def __init__(self, *, on_back: Callable[[], None], on_blocked: Callable[[bool], None]) -> None:
        self._on_back = on_back
        self._has_been = False  # connected before
        self._on_blocked = on_blocked
        self._tickets: Channel | None = None
        self._outsiders: Channel | None = None
        self._sent: dict[int, _Sent] = {}
        self._events: deque[tuple[str, bytes]] = deque(maxlen=_MOST_EVENTS)
        self._adding = threading.Lock()
        self._number = 0
        self.is_blocked = False
        self._unblocked_at = 0.0

    # --- in the link's thread ----------------------------------------------------------------------------------

    def begin(self, connection: Connection, done: Callable[[], None]) -> None:
        """A channel for tickets, one for events."""
        connection.add_on_connection_blocked_callback(self._blocked)
        connection.add_on_connection_unblocked_callback(self._unblocked)

        def on_outsiders(channel: Channel) -> None:
            channel.add_on_close_callback(self.link.channel_closed)
            self._outsiders = channel
            connection.channel(on_open_callback=on_tickets)

        def on_tickets(channel: Channel) -> None:
            channel.add_on_close_callback(self.link.channel_closed)
            channel.add_on_return_callback(self._returned)
            channel.confirm_delivery(self._answered, callback=lambda _frame: on_confirming(channel))

        def on_confirming(channel: Channel) -> None:
            self._tickets, self._number = channel, 0
            done()
            self._flush()
            if self._has_been:
                self._on_back()
            self._has_been = True

        connection.channel(on_open_callback=on_outsiders)

    def lost(self) -> None:
        """Nobody will answer any more for what is open."""
        self._tickets = self._outsiders = None
        sent, self._sent = self._sent, {}
        for each in sent.values():
            each.batch.answer(each.index, is_confirmed=False)
        if self.is_blocked:
            self.is_blocked = False
            self._on_blocked(False)

    def tick(self) -> None:
        """A broker that answers nothing though it is connected: a queue without its majority, or worse."""
        oldest = next(iter(self._sent.values()), None)
        waits = 0.0 if oldest is None else time.monotonic() - max(oldest.at, self._unblocked_at)
        if waits > _PATIENCE and not self.is_blocked:
            self.link.give_up("confirm")

    def send(self, batch: Batch) -> None:
        """Publish a batch as far as the window has room."""
        channel = self._tickets
        room = 0 if channel is None or self.is_blocked else _WINDOW - len(self._sent)
        now = time.monotonic()
        for index, ticket in enumerate(batch.tickets):
            if channel is None or index >= room:
                batch.answer(index, is_confirmed=False)
                continue
            self._number += 1
            self._sent[self._number] = _Sent(batch, index, now)
            properties = pika.BasicProperties(message_id=str(self._number), delivery_mode=2)
            channel.basic_publish(TICKETS, ticket.queue, write_ticket(ticket), properties, mandatory=True)

    def _flush(self) -> None:
        """Publish the events that wait; they may be lost."""
        channel = self._outsiders
        while self._events and channel is not None and not self.is_blocked:
            topic, body = self._events.popleft()
            channel.basic_publish(EVENTS, topic, body)

    def _answered(self, frame: Any) -> None:
        method = frame.method
        is_ack = isinstance(method, pika.spec.Basic.Ack)
        numbers = [method.delivery_tag]
        if method.multiple:
            numbers = [number for number in self._sent if number <= method.delivery_tag]
        for number in numbers:
            sent = self._sent.pop(number, None)
            if sent is not None:
                sent.batch.answer(sent.index, is_confirmed=is_ack and not sent.is_returned)

    def _returned(self, _channel: Channel, method: Any, properties: Any, _body: bytes) -> None:
        """No queue takes it: deleted under us. The confirm that follows says only that it came back."""
        sent = self._sent.get(int(properties.message_id or 0))
        if sent is not None:
            sent.is_returned = True
        self.link.fail(QueueGone(address=str(self.link.address), name=queue_name(method.routing_key)))

    def _blocked(self, _connection: object, frame: Any) -> None:
        self.is_blocked = True
        self._on_blocked(True)
        self.link.note(BrokerBlocked(address=str(self.link.address), why=frame.method.reason or ""))

    def _unblocked(self, _connection: object, _frame: object) -> None:
        self.is_blocked = False
        self._unblocked_at = time.monotonic()
        self._on_blocked(False)
        _log.info("transport.broker_unblocked", link="publish", address=str(self.link.address))
        self._flush()
        self._on_back()

    # --- from any thread ---------------------------------------------------------------------------------------

    def is_taking(self, timeout: float) -> bool:
        """Whether what is sent now gets to the broker; waits up to `timeout` seconds for the very first connection."""
        return self.link.settle(timeout) and not self.is_blocked

    def announce(self, tickets: Sequence[Ticket], timeout: float) -> tuple[Ticket, ...]:
        """Send tickets and wait for answers; those confirmed within `timeout` seconds, in the order given."""
        until = time.monotonic() + timeout
        if not tickets or not self.is_taking(timeout):
            return ()
        batch = Batch(tickets, open=len(tickets))
        if not self.link.post(lambda: self.send(batch)):
            return ()
        batch.is_done.wait(max(0.0, until - time.monotonic()))
        return batch.result()

    def publish_event(self, topic: str, body: bytes) -> None:
        """Tell outsiders, now or when the broker takes messages again; of very many the oldest are forgotten."""
        with self._adding:
            self._events.append((topic, body))
            if len(self._events) > 1:  # whoever added the first one wakes the link, which sends all that are there
                return
        self.link.start()
        self.link.post(self._flush)

    def drain(self, timeout: float) -> None:
        """Before the end: events that wait still go out, where the broker takes them within `timeout` seconds."""
        if not self._events or not self.link.settle(timeout):
            return
        sent = threading.Event()
        self.link.post(self._flush)
        if self.link.post(sent.set):
            sent.wait(timeout)
