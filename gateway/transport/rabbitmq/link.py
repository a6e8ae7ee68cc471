"""Link: one connection to the broker in a thread of its own, made again for ever, with what stands in the broker.

    thread ── connect to the next address ── declare the topology ── tenant's channels ── up ── … ── lost ── back off

Everything of pika happens in that thread; others hand work over by `post`.  Any fault of a channel ends the connection:
one way to recover for all of them, and whatever was deleted is declared again on the way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import pika
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from tenacity import RetryError as GaveUp
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set, wait_random_exponential

from gateway.transport.broker import Address, BrokerAccess, BrokerAway, BrokerError, BrokerFrozen, Cause
from gateway.transport.rabbitmq.faults import classify, parameters_of, refuse_old
from gateway.transport.topology import EXCHANGES, LAYOUT
from monitoring import log

__all__ = ["Connection", "Link", "Tenant", "Watch"]

Connection: TypeAlias = SelectConnection

_LONGEST_WAIT: Final = 3.0  # seconds between two tries
_STEADY: Final = 5.0  # seconds after which a connection counts as one that worked
_TICK: Final = 0.5  # seconds

_log = log.get("gateway.transport")
logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it tells of errors is told by us, once and in our words


class Watch(Protocol):
    """Who is told how a link stands. Called in the link's thread; must be quick and not raise."""

    def link_is(self, link: str, *, is_up: bool) -> None:
        """The link works, or does not."""

    def fault(self, link: str, error: BrokerError) -> None:
        """Something went wrong; the link goes on trying."""


class Tenant(Protocol):
    """What lives on a link. All calls come in the link's thread."""

    def begin(self, connection: Connection, done: Callable[[], None]) -> None:
        """Open channels on a new connection; call `done` when they work."""

    def lost(self) -> None:
        """The connection is gone, and all channels with it."""

    def tick(self) -> None:
        """Called twice a second while the link is up."""


class Link:
    """Nothing happens before `start`; `post` and `close` may be called from any thread."""

    def __init__(self, name: str, process: str, access: BrokerAccess, tenant: Tenant, watch: Watch) -> None:
        self._name, self._process = name, process
        self._access, self._tenant, self._watch = access, tenant, watch
        self._lock = threading.Lock()
        self._loop: IOLoop | None = None
        self._connection: Connection | None = None
        self._error: BrokerError | None = None
        self._up_since: float | None = None
        self._next = 0
        self._told: set[tuple[str, str | None]] = set()
        self._tried = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_up(self) -> bool:
        """Whether channels are open and what is posted gets to the broker."""
        return self._up_since is not None

    @property
    def address(self) -> Address:
        """Where it is, or will next be, connected."""
        return self._access.addresses[self._next % len(self._access.addresses)]

    def start(self) -> None:
        """Begin to connect. Safe to repeat."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name=f"{self._process}-{self._name}", daemon=True)
                self._thread.start()

    def settle(self, timeout: float) -> bool:
        """Start, wait up to `timeout` seconds while the very first try has not ended; whether it is up now."""
        self.start()
        self._tried.wait(timeout)
        return self.is_up

    def post(self, work: Callable[[], None]) -> bool:
        """Have `work` run in the link's thread soon; whether there was a connection to post to."""
        with self._lock:
            if self._loop is None:
                return False
            self._loop.add_callback_threadsafe(lambda: self._guarded(work))
            return True

    def fail(self, error: BrokerError) -> None:
        """In the link's thread: this connection is no good; make a new one."""
        self._error = self._error or error
        if self._connection is not None and self._connection.is_open:
            self._connection.close(320, "fault")  # a broker that answers nothing is given up by its heartbeats

    def explain(self, reason: BaseException) -> BrokerError:
        """Our error for pika's, at the address that is connected."""
        return classify(reason, self._access, self.address)

    def channel_closed(self, _channel: Channel, reason: Exception) -> None:
        """For channels' close callback: a channel that the broker closed takes the connection with it."""
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            self.fail(self.explain(reason))

    def close(self, timeout: float = 5.0) -> None:
        """End the connection and the thread. Safe to repeat."""
        self._stopping.set()
        self._tried.set()
        self.post(self._farewell)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # --- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            tries = Retrying(
                wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT),
                stop=stop_when_event_set(self._stopping),
                sleep=sleep_using_event(self._stopping),
                retry=retry_if_exception_type(BrokerError),
            )
            try:
                tries(self._live_once)
            except GaveUp:
                return

    def _live_once(self) -> None:
        """One connection from its beginning to its end. Raises BrokerError unless it had worked for a while."""
        self._error, self._up_since = None, None
        try:
            self._connect_and_serve()
        except BrokerError as why:
            self._error = why
        except Exception as why:  # noqa: BLE001 - a defect, or a machine without descriptors: the link outlives it
            if isinstance(why.__context__, OSError):  # pika's ValueError for a connection that broke as it was made
                self._error = self.explain(why.__context__)
            else:
                _log.exception("transport.link_failed", link=self._name, address=str(self.address))
                self._error = BrokerAway(address=str(self.address), why=type(why).__name__)
        finally:
            began = self._go_down()
            self._tenant.lost()
            self._tried.set()
        if self._stopping.is_set():
            return
        error = self._taken_error()
        self._tell(error, was_up=began is not None)
        self._next += 1
        if began is None or time.monotonic() - began < _STEADY:
            raise error

    def _go_down(self) -> float | None:
        """Since when it was up; it is no more."""
        since, self._up_since = self._up_since, None
        return since

    def _taken_error(self) -> BrokerError:
        """Why the last connection ended."""
        return self._error or BrokerAway(address=str(self.address), why="closed", cause=Cause.CUT)

    def _connect_and_serve(self) -> None:
        parameters = parameters_of(self._access, self.address, name=f"truc {self._process} {self._name}")
        loop = IOLoop()
        with self._lock:
            self._loop = loop
        try:
            self._connection = SelectConnection(
                parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._ended,
                on_close_callback=self._ended,
                custom_ioloop=loop,
            )
            loop.start()
        finally:
            with self._lock:
                self._loop = None
            self._connection = None
            loop.close()

    def _opened(self, connection: Connection) -> None:
        if self._stopping.is_set():
            self._farewell()
        elif (old := refuse_old(connection.server_properties, self.address)) is not None:
            self.fail(old)
        else:
            _Declaring(self, connection, lambda: self._tenant.begin(connection, self._is_ready)).go_on()

    def _is_ready(self) -> None:
        if self.is_up or self._error is not None:
            return
        self._up_since = time.monotonic()
        self._told.clear()
        self._tried.set()
        self._watch.link_is(self._name, is_up=True)
        _log.info("transport.broker_connected", link=self._name, address=str(self.address))
        self._beat()

    def _beat(self) -> None:
        if self.is_up and self._loop is not None:
            self._guarded(self._tenant.tick)
            self._loop.call_later(_TICK, self._beat)

    def _ended(self, _connection: Connection, reason: BaseException | str) -> None:
        cause = reason if isinstance(reason, BaseException) else None
        self._error = self._error or classify(cause, self._access, self.address)
        if self._loop is not None:
            self._loop.stop()

    def _farewell(self) -> None:
        """In the link's thread: say goodbye; one that is being made ends as soon as it is open."""
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever work raises on a connection that just broke, or by our own defect: a new connection mends it."""
        try:
            work()
        except pika.exceptions.AMQPError as why:
            self.fail(classify(why, self._access, self.address))
        except Exception as why:  # noqa: BLE001 - the link outlives it; the log line names it
            _log.exception("transport.link_failed", link=self._name, address=str(self.address))
            self.fail(BrokerAway(address=str(self.address), why=type(why).__name__))

    def note(self, error: BrokerError) -> None:
        """Tell of a fault that the connection survives."""
        self._watch.fault(self._name, error)
        self._log_fault(error)

    def give_up(self, what: str) -> None:
        """In the link's thread: the broker owes an answer for too long."""
        _log.warning("transport.broker_silent", link=self._name, address=str(self.address), reason=what)
        self.fail(BrokerFrozen(address=str(self.address)))

    def _tell(self, error: BrokerError, *, was_up: bool) -> None:
        """Once per fault and cause until it works again: an hour away is one line, and a counter that goes up."""
        self._watch.link_is(self._name, is_up=False)
        self._watch.fault(self._name, error)
        kind = (error.reason, error.cause)
        if was_up or kind not in self._told:
            self._told.add(kind)
            self._log_fault(error)

    def _log_fault(self, error: BrokerError) -> None:
        at, cause = error.params.get("address"), error.cause
        _log.warning(
            "transport.broker_fault", link=self._name, address=at, reason=error.reason, cause=cause, error=error
        )


class _Declaring:
    """Declares the topology, a channel per thing: what cannot be declared is told, and keeps nothing from working."""

    def __init__(self, link: Link, connection: Connection, done: Callable[[], None]) -> None:
        self._link, self._connection, self._done = link, connection, done
        self._steps: list[Callable[[Channel, Callable[[object], None]], None]] = [
            *(_exchange_step(each.name, each.kind, is_durable=each.is_durable) for each in EXCHANGES),
            *(_queue_step(each.name, dict(each.arguments)) for each in LAYOUT),
            *(_binding_step(each.name, each.exchange, each.key) for each in LAYOUT),
        ]
        self._at = 0

    def go_on(self) -> None:
        """Declare what is left on a channel of its own."""
        self._connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_close)
        self._next(channel)

    def _next(self, channel: Channel) -> None:
        if self._at == len(self._steps):
            channel.close()
            return
        self._steps[self._at](channel, lambda _frame: self._advance(channel))

    def _advance(self, channel: Channel) -> None:
        self._at += 1
        self._next(channel)

    def _on_close(self, _channel: Channel, reason: Exception) -> None:
        if not self._connection.is_open:
            return
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            self._link.note(self._link.explain(reason))
            self._at += 1
            self.go_on()
        else:
            self._done()


def _exchange_step(name: str, kind: str, *, is_durable: bool) -> Callable[[Channel, Callable[[object], None]], None]:
    return lambda channel, done: channel.exchange_declare(name, kind, durable=is_durable, callback=done)


def _queue_step(name: str, arguments: dict[str, object]) -> Callable[[Channel, Callable[[object], None]], None]:
    return lambda channel, done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done)


def _binding_step(name: str, exchange: str, key: str) -> Callable[[Channel, Callable[[object], None]], None]:
    return lambda channel, done: channel.queue_bind(name, exchange, key, callback=done)
