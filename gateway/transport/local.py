"""Local transport (chuyển phiếu nội bộ): tickets and wake-ups among the processes of one node, or within one.

No broker, no files but sockets: what is in flight is in memory, and lost with its process.  A ticket may be,
since it is a hint (protocol, rule 3).

    announce ─┬─ slots of this process that have room
              └─ an offer to every other listening process ── its ear ── its slots, as far as they have room
    wake ───── the wake board ─┬─ callbacks of this process
                               ├─ a datagram to every other process ── its ear ── its wake board
               └─ where there is a line: to processes on other machines ── their wake boards

An idle transport costs nothing: all its threads sleep in the kernel.
"""

from __future__ import annotations

import itertools
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.transport.contract import QUEUES, Handler, Subscription, Ticket
from gateway.transport.ear import Answer, Ear
from gateway.transport.peers import Peers, answer_offers
from gateway.transport.rendezvous import Address, Rendezvous
from gateway.transport.slots import Slots
from gateway.transport.wakes import Datagrams, WakeBoard, WakeLine
from monitoring import log

__all__ = ["LocalTransport", "MetricsHook", "TransportCount"]

_ANNOUNCE_LIMIT: Final = 0.8  # seconds, of the second that the contract allows
_DEPTHS_LIMIT: Final = 0.5  # seconds

_log = log.get("gateway.transport")


class TransportCount(StrEnum):
    """What a metrics hook is told about."""

    CONFIRMED = "confirmed"
    """Tickets that a listener has taken, per queue."""
    UNCONFIRMED = "unconfirmed"
    """Tickets that no listener had room for, per queue."""
    HANDLER_FAILED = "handler_failed"
    """Groups whose handler raised, per queue."""
    WAKE_LOST = "wake_lost"
    """Wake-ups that a process could not be given; the queue is "wake"."""


MetricsHook = Callable[[TransportCount, str, int], None]
"""Gets what happened, the queue, and how often. Called from any thread; it must be quick and not raise."""


def _count_nothing(_count: TransportCount, _queue: str, _number: int) -> None:
    """For those who count nothing."""


class LocalTransport:
    """The transport of a node on one machine; `gateway.transport.contract.Transport` says what it promises.

    Processes with the same data `folder` find each other under `<folder>/run`; names may repeat among them.
    A listener in the same process gets tickets first, then the others in turn. A file system that carries no
    sockets leaves a transport that works within its process and says so in the log.
    """

    def __init__(
        self,
        folder: Path,
        process_name: str,
        *,
        line: WakeLine | None = None,
        metrics_hook: MetricsHook | None = None,
    ) -> None:
        """Join the node at `folder`; `line` leads to its processes on other machines, and is closed with this.

        Raises OSError if `<folder>/run` cannot be made or read.
        """
        self._count = metrics_hook or _count_nothing
        self._rendezvous = Rendezvous(folder.absolute(), process_name)
        self._peers = Peers(self._rendezvous)
        self._ear = Ear(process_name)
        self._datagrams = Datagrams(self._rendezvous)
        self._line = line
        self._home = self._rendezvous.home
        self._board = WakeBoard(process_name, self._carry, on_lost=self._count_lost_wakes)
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[Slots, ...]] = {}
        self._turns = {queue: itertools.count() for queue in QUEUES}
        self._subscriptions: list[Subscription] = []
        self._hears_wakes = False
        self._is_closed = False

    @property
    def takes_tickets(self) -> bool:
        """Until it is closed: whether a listener has room is seen by announcing alone."""
        return not self._is_closed

    def announce(self, tickets: Sequence[Ticket]) -> tuple[Ticket, ...]:
        """Hand tickets over; gives those that a listener has in its memory, in the order given.

        Returns within a second, and never raises: tickets that nobody has room for, or that are on no known
        queue, are left out.
        """
        until = time.monotonic() + _ANNOUNCE_LIMIT
        by_queue: dict[str, list[int]] = {}
        for index, ticket in enumerate(tickets):
            by_queue.setdefault(ticket.queue, []).append(index)
        confirmed: set[int] = set()
        for queue, indexes in by_queue.items():
            taken = self._hand_over(queue, [tickets[index] for index in indexes], until)
            confirmed.update(index for index, is_taken in zip(indexes, taken, strict=True) if is_taken)
            self._count(TransportCount.CONFIRMED, queue, sum(taken))
            self._count(TransportCount.UNCONFIRMED, queue, len(taken) - sum(taken))
        return tuple(tickets[index] for index in sorted(confirmed))

    def listen(self, queue: str, slots: int, handler: Handler, *, group: int = 32) -> Subscription:
        """Run `handler` in up to `slots` threads on groups of up to `group` tickets.

        Up to `slots * group` tickets more wait in memory; others are not confirmed to whoever announces.

        Raises ValueError for an unknown queue or a number below one, RuntimeError after `close`.
        """
        if queue not in QUEUES:
            raise ValueError(f"there is no queue {queue!r}; there are {', '.join(QUEUES)}")
        with self._lock:
            self._refuse_if_closed()
            working = Slots(
                queue, slots, handler, group,
                on_failure=lambda: self._count(TransportCount.HANDLER_FAILED, queue, 1),
            )  # fmt: skip
            self._listeners[queue] = (*self._listeners.get(queue, ()), working)
            door = self._open_door(queue, socket.SOCK_SEQPACKET, answer_offers(working))
            subscription = _Listening(self, working, door)
            self._subscriptions.append(subscription)
        return subscription

    def wake(self, topic: str) -> None:
        """Call `topic` out in every process of the node. Returns at once; does nothing after `close`."""
        self._board.post(topic)

    def on_wake(self, topics: Sequence[str], callback: Callable[[str], None]) -> Subscription:
        """Call `callback(topic)` after wakes of `topics`, one call at a time; "*" is every topic.

        Wakes that come while the callback runs lead to another call. Raises RuntimeError after `close`.
        """
        with self._lock:
            self._refuse_if_closed()
            if not self._hears_wakes:
                self._hears_wakes = True
                if self._open_door("wake", socket.SOCK_DGRAM, self._board.hear) is None:
                    self._home = secrets.token_hex(8)  # nobody's datagrams come here: the line must bring all
                if self._line is not None:
                    self._line.open(self._home, self._board.hear, self._board.call_named)
            subscription = _Waking(self, self._board, self._board.subscribe(topics, callback))
            self._subscriptions.append(subscription)
        return subscription

    @property
    def has_outsiders(self) -> bool:
        """Sockets of the data folder are for the node's own processes."""
        return False

    def publish_event(self, topic: str, body: bytes) -> None:
        """Nobody outside listens to a local transport: nothing happens."""

    def depths(self) -> Mapping[str, int]:
        """Tickets waiting for a slot, per queue, in all processes of the node that answer in time."""
        until = time.monotonic() + _DEPTHS_LIMIT
        if self._is_closed:
            return dict.fromkeys(QUEUES, 0)
        return {
            queue: sum(slots.depth for slots in self._listeners.get(queue, ())) + self._peers.depth(queue, until)
            for queue in QUEUES
        }

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
        if self._line is not None:
            self._line.close()
        self._datagrams.close()
        self._ear.close()
        self._peers.close()
        self._rendezvous.close()

    def forget(self, subscription: Subscription, working: Slots | None = None) -> None:
        """For subscriptions that end: hand nothing to them any more."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            if working is not None:
                others = tuple(slots for slots in self._listeners.get(working.queue, ()) if slots is not working)
                self._listeners[working.queue] = others

    def shut_door(self, door: tuple[socket.socket, Address] | None) -> None:
        """For subscriptions that end: nobody finds the socket any more."""
        if door is not None:
            self._rendezvous.withdraw(door[1])
            self._ear.leave(door[0])

    def _hand_over(self, queue: str, tickets: list[Ticket], until: float) -> list[bool]:
        """One truth per ticket: whether somebody took it. Own slots first, the first of them in turn."""
        if queue not in QUEUES or self._is_closed:
            return [False] * len(tickets)
        listeners = self._listeners.get(queue, ())
        first = next(self._turns[queue]) % len(listeners) if listeners else 0
        taken = 0
        for slots in listeners[first:] + listeners[:first]:
            taken += slots.take(tickets[taken:])
        rest = tickets[taken:]
        return [True] * taken + (self._peers.offer(queue, rest, until) if rest else [])

    def _open_door(self, what: str, kind: socket.SocketKind, answer: Answer) -> tuple[socket.socket, Address] | None:
        try:
            opened, address = self._rendezvous.bind(what, kind)
        except OSError as error:
            _log.warning("transport.alone", queue=what, error=type(error).__name__)
            return None
        self._ear.attend(opened, answer)
        return opened, address

    def _carry(self, messages: tuple[bytes, ...], count: int) -> int:
        lost = self._datagrams.carry(messages, count)
        if self._line is not None:
            lost += self._line.send(self._home, [topic for message in messages for topic in message.split(b"\n")])
        return lost

    def _count_lost_wakes(self, number: int) -> None:
        self._count(TransportCount.WAKE_LOST, "wake", number)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise RuntimeError("the transport is closed")


class _Listening:
    """A handler on a queue."""

    def __init__(self, transport: LocalTransport, slots: Slots, door: tuple[socket.socket, Address] | None) -> None:
        self._transport, self._slots, self._door = transport, slots, door

    def close(self, timeout: float = 5.0) -> None:
        """Drop what waits, take nothing more; wait up to `timeout` seconds for running handlers."""
        door, self._door = self._door, None
        self._transport.shut_door(door)
        self._transport.forget(self, self._slots)
        self._slots.close(timeout)


class _Waking:
    """A callback on topics."""

    def __init__(self, transport: LocalTransport, board: WakeBoard, key: int) -> None:
        self._transport, self._board, self._key = transport, board, key

    def close(self, timeout: float = 5.0) -> None:
        """Call it no more; wait up to `timeout` seconds for a running call. Safe to repeat."""
        self._transport.forget(self)
        self._board.unsubscribe(self._key, timeout)
