"""Layout: holding a live broker against the topology, making what is missing; for commands and `truc doctor`.

One connection of its own, one answer at a time, every wait bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from gateway.transport.broker import Address, BrokerAccess, BrokerAway, BrokerError, BrokerFrozen, QueueGone
from gateway.transport.rabbitmq.faults import PIKA_ERRORS, classify, parameters_of, refuse_old
from gateway.transport.topology import EXCHANGES, LAYOUT, WAKES, Exchange, Queue

__all__ = ["BrokerReport", "QueueReport", "look_at_broker", "make_layout"]

_FAREWELL: Final = 1.0  # seconds
_ANSWER: Final = 10.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """One queue as it stands: `messages` that wait, `consumers` in all processes."""

    name: str
    messages: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReport:
    """What was found. `missing` and `different` are names of exchanges and queues; `blocked` says why nothing is
    taken, "" where it is."""

    address: Address
    version: str
    is_tls: bool
    queues: tuple[QueueReport, ...]
    missing: tuple[str, ...]
    different: tuple[str, ...]
    blocked: str


def look_at_broker(access: BrokerAccess) -> BrokerReport:
    """Look at the first address that answers; changes nothing. Raises BrokerError of the last address if none does."""
    with _connected(access) as (connection, address, version):
        looks = _Looks(connection, access, address)
        queues = tuple(found for each in LAYOUT if (found := looks.at_queue(each)) is not None)
        for exchange in EXCHANGES:
            looks.at_exchange(exchange)
        with _told(access, address):
            blocked = "" if WAKES in looks.missing else _why_blocked(connection, address)
        return BrokerReport(
            address=address,
            version=version,
            is_tls=access.is_tls,
            queues=queues,
            missing=tuple(looks.missing),
            different=tuple(looks.different),
            blocked=blocked,
        )


def make_layout(access: BrokerAccess, *, replace: bool = False) -> tuple[str, ...]:
    """Make what is missing; with `replace` also anew what is laid out otherwise. Gives the names of what was made.

    Tickets in a queue that is made anew are gone, and announced again by the relay. Safe to repeat. Raises BrokerError.
    """
    with _connected(access) as (connection, address, _version):
        looks = _Looks(connection, access, address)
        for exchange in EXCHANGES:
            looks.at_exchange(exchange)
        for queue in LAYOUT:
            looks.at_queue(queue)
        wrong = set(looks.missing) | (set(looks.different) if replace else set())
        made: dict[str, None] = {}
        with _told(access, address):
            channel = connection.channel()
            for exchange in EXCHANGES:
                if exchange.name in wrong:
                    if exchange.name in looks.different:
                        channel.exchange_delete(exchange.name)
                    _declare_exchange(channel, exchange)
                    made[exchange.name] = None
            for queue in LAYOUT:
                if queue.name in wrong:
                    if queue.name in looks.different:
                        channel.queue_delete(queue.name)
                    _declare_queue(channel, queue)
                    made[queue.name] = None
                channel.queue_bind(queue.name, queue.exchange, queue.key)
        return tuple(made)


@contextmanager
def _connected(access: BrokerAccess) -> Iterator[tuple[BlockingConnection, Address, str]]:
    """A connection to the first address that takes us. Raises BrokerError."""
    error: BrokerError | None = None
    for address in access.addresses:
        try:
            with _told(access, address):
                connection = BlockingConnection(parameters_of(access, address, name="truc broker"))
        except BrokerError as why:
            error = why
            continue
        try:
            properties = connection._impl.server_properties
            old = refuse_old(properties, address)
            if old is not None:
                raise old
            yield connection, address, str((properties or {}).get("version", ""))
        finally:
            _let_go(connection)
        return
    raise error or BrokerAway(address="", why="")


def _let_go(connection: BlockingConnection) -> None:
    """Say farewell, for a moment: a broker with an alarm reads nothing of who has published, for hours if need be."""
    if connection.is_open:
        inner, lost = connection._impl, exceptions.StreamLostError("no answer to a farewell")
        inner._adapter_call_later(_FAREWELL, lambda: inner._terminate_stream(lost))
        with suppress(exceptions.AMQPError):
            connection.close()


@contextmanager
def _told(access: BrokerAccess, address: Address) -> Iterator[None]:
    """pika's errors become ours."""
    try:
        yield
    except PIKA_ERRORS as why:
        raise classify(why, access, address) from why


class _Looks:
    """Asks for one thing after the other, on a new channel where the broker closed the last one."""

    def __init__(self, connection: BlockingConnection, access: BrokerAccess, address: Address) -> None:
        self._connection, self._access, self._address = connection, access, address
        self.missing: dict[str, None] = {}
        self.different: dict[str, None] = {}

    def at_exchange(self, exchange: Exchange) -> None:
        """Is it there, and of our kind?"""
        self._look(exchange.name, lambda channel: channel.exchange_declare(exchange.name, passive=True))
        if exchange.name not in self.missing:
            self._look(exchange.name, lambda channel: _declare_exchange(channel, exchange))

    def at_queue(self, queue: Queue) -> QueueReport | None:
        """Is it there, and laid out as ours? Declaring it anew with the same words changes nothing."""
        frame = self._look(queue.name, lambda channel: channel.queue_declare(queue.name, passive=True))
        if frame is None:
            return None
        self._look(queue.name, lambda channel: _declare_queue(channel, queue))
        method = frame.method  # type: ignore[attr-defined]
        return QueueReport(name=queue.name, messages=method.message_count, consumers=method.consumer_count)

    def _look(self, name: str, ask: object) -> object | None:
        try:
            with _told(self._access, self._address):
                channel = self._connection.channel()
                found: object = ask(channel)  # type: ignore[operator]
                channel.close()
                return found
        except QueueGone:
            self.missing[name] = None
        except BrokerError as why:
            if not str(why.params.get("why", "")).startswith("406"):
                raise
            self.different[name] = None
        return None


def _declare_exchange(channel: BlockingChannel, exchange: Exchange) -> object:
    return channel.exchange_declare(exchange.name, exchange.kind, durable=exchange.is_durable)


def _declare_queue(channel: BlockingChannel, queue: Queue) -> object:
    return channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))


def _why_blocked(connection: BlockingConnection, address: Address) -> str:
    """A broker with an alarm says so to whoever publishes, and then reads no question of his any more.

    The message tried is an empty wake-up: nobody minds it. Raises BrokerFrozen where neither comes.
    """
    reasons: list[str] = []
    answers: list[object] = []
    connection.add_on_connection_blocked_callback(lambda _connection, frame: reasons.append(frame.method.reason or "?"))
    channel = connection.channel()
    channel.basic_publish(WAKES, "", b"", pika.BasicProperties())
    channel._impl.exchange_declare(WAKES, passive=True, callback=answers.append)
    until = time.monotonic() + _ANSWER
    while not reasons and not answers:
        if time.monotonic() > until:
            raise BrokerFrozen(address=str(address))
        connection.process_data_events(time_limit=0.1)
    return reasons[0] if reasons else ""
