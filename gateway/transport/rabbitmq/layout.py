"""Layout: holding a live broker against the topology, making what is missing; for commands and `truc doctor`.

One connection of its own, one answer at a time, every wait bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.adapters.select_connection import IOLoop

from gateway.transport.broker import Address, BrokerAccess, BrokerAway, BrokerError, BrokerFrozen, QueueGone
from gateway.transport.rabbitmq.faults import PIKA_ERRORS, classify, parameters_of, refuse_old
from gateway.transport.topology import EVENTS, EXCHANGES, LAYOUT, Exchange, Queue

__all__ = ["BrokerReport", "QueueReport", "look_at_broker", "make_layout"]

_BLOCKED: Final = 1.0
"""Seconds in which a broker with an alarm says so to whoever publishes, and for a farewell, which it then reads not."""


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
            blocked = "" if EVENTS in looks.missing else _why_blocked(connection)
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
    """A connection to the first address that takes us, and the broker's version. Raises BrokerError."""
    error: BrokerError | None = None
    for address in access.addresses:
        try:
            with _told(access, address):
                parameters = parameters_of(access, address, name="truc broker")
                parameters.blocked_connection_timeout = _BLOCKED
                properties = _introduce(parameters)
                if (old := refuse_old(properties, address)) is not None:
                    raise old
                connection = BlockingConnection(parameters)
        except BrokerError as why:
            error = why
            continue
        try:
            yield connection, address, str(properties.get("version", ""))
        finally:
            with suppress(exceptions.AMQPError):
                connection.close()
        return
    raise error or BrokerAway(address="", why="")


def _introduce(parameters: pika.ConnectionParameters) -> dict[str, Any]:
    """What the broker says of itself, by a connection of its own. Raises what pika raises."""
    told: dict[str, Any] = {}
    wrong: list[Exception] = []

    def opened(connection: pika.SelectConnection) -> None:
        told.update(connection.server_properties or {})
        connection.close()

    def refused(_connection: pika.SelectConnection, why: Exception) -> None:
        wrong.append(why)
        loop.stop()

    loop = IOLoop()
    try:
        pika.SelectConnection(parameters, opened, refused, lambda _connection, _why: loop.stop(), custom_ioloop=loop)
        loop.start()
    finally:
        loop.close()
    if wrong and isinstance(wrong[0], exceptions.ConnectionOpenAborted):  # connected, and nothing was said
        raise BrokerFrozen(address=f"{parameters.host}:{parameters.port}") from wrong[0]
    if wrong:
        raise wrong[0]
    return told


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


def _why_blocked(connection: BlockingConnection) -> str:
    """Why the broker takes nothing; "" where it does. The message that is tried is an event which nobody may hear."""
    reasons: list[str] = []
    connection.add_on_connection_blocked_callback(lambda _connection, frame: reasons.append(frame.method.reason or "?"))
    connection.channel().basic_publish(EVENTS, "", b"")
    until = time.monotonic() + _BLOCKED
    while not reasons and time.monotonic() < until:
        connection.process_data_events(time_limit=0.1)
    return reasons[0] if reasons else ""
