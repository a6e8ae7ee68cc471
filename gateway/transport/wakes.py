"""Wake-ups (gọi dậy): telling whoever waits, in any process of the node, that something changed."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from gateway.transport.ear import LARGEST_MESSAGE
from gateway.transport.rendezvous import Address, Rendezvous
from monitoring import log

__all__ = ["EVERY_TOPIC", "Carry", "Datagrams", "WakeBoard", "WakeLine"]

EVERY_TOPIC: Final = "*"

_MOST_PENDING: Final = 10_000  # different topics
_SEND_LIMIT: Final = 0.1  # seconds for one datagram to one process
_FROZEN_FOR: Final = 5.0  # seconds in which a process that takes nothing is left alone

_log = log.get("gateway.transport")

Carry = Callable[[tuple[bytes, ...], int], int]
"""Takes messages with so many topics to the other processes; gives how many topics were lost. Runs in the board's
thread: it may take a moment."""


class WakeLine(Protocol):
    """Carries wake-ups to the node's processes on other machines; nothing of it blocks or raises.

    `home` names the processes that hear each other without it.
    """

    def open(self, home: str, hear: Callable[[bytes], None], on_back: Callable[[], None]) -> None:
        """Hear what is sent from other homes; `on_back()` whenever something may have been missed."""

    def send(self, home: str, words: Sequence[bytes]) -> int:
        """Send topics to other homes; gives how many are lost."""

    def close(self) -> None:
        """Let go, once what waits is sent. Safe to repeat."""


class WakeBoard:
    """Collects topics and calls them out in a thread of its own, so that waking never waits for anybody.

    A topic called again before it went out goes out once: a thousand wakes of one topic are one message.
    Whoever subscribed is called at least once after the last of them.
    """

    def __init__(self, name: str, carry: Carry, *, on_lost: Callable[[int], None]) -> None:
        self._name = name
        self._carry = carry
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._here: dict[str, None] = {}
        self._named: dict[str, None] = {}
        self._elsewhere: dict[str, None] = {}
        self._callbacks: dict[int, tuple[frozenset[str], Callable[[str], None]]] = {}
        self._keys = itertools.count()
        self._running: int | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def post(self, topic: str) -> None:
        """Call `topic` out, here and in the other processes."""
        with self._changed:
            if self._is_closed:
                return
            self._note_here(topic)
            if len(self._elsewhere) < _MOST_PENDING:
                self._elsewhere[topic] = None
            else:
                self._on_lost(1)
            self._ring()

    def hear(self, message: bytes) -> None:
        """Call out here what another process sent."""
        with self._changed:
            for topic in message.decode(errors="replace").split("\n"):
                self._note_here(topic)
            self._ring()

    def call_named(self, topics: Sequence[str] = ()) -> None:
        """Call those subscribers of this process that named one of `topics`, or that named any: something may have
        been missed."""
        with self._changed:
            named = frozenset[str]().union(*(wanted for wanted, _ in self._callbacks.values())) - {EVERY_TOPIC}
            self._named |= dict.fromkeys(named & frozenset(topics) if topics else named)
            self._ring()

    def subscribe(self, topics: Sequence[str], callback: Callable[[str], None]) -> int:
        """Call `callback` for these topics from now on; gives the key to end it by."""
        with self._changed:
            key = next(self._keys)
            self._callbacks[key] = (frozenset(topics), callback)
            return key

    def unsubscribe(self, key: int, timeout: float) -> None:
        """Call it no more; wait up to `timeout` seconds for a call that is under way. Safe to repeat."""
        with self._changed:
            self._callbacks.pop(key, None)
            if self._thread is not threading.current_thread():
                self._changed.wait_for(lambda: self._running != key, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Call out nothing more here; what was posted still goes to the other processes, in up to `timeout` seconds.

        Waits as long for the callback that runs. Safe to repeat.
        """
        with self._changed:
            self._is_closed = True
            self._callbacks.clear()
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _note_here(self, topic: str) -> None:
        if any(topic in topics or EVERY_TOPIC in topics for topics, _ in self._callbacks.values()):
            if len(self._here) < _MOST_PENDING:
                self._here[topic] = None
            else:
                self._on_lost(1)

    def _ring(self) -> None:
        if self._is_closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._call_out, name=f"{self._name}-wakes", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _call_out(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._here or self._named or self._elsewhere or self._is_closed)
                is_last = self._is_closed
                here, self._here = self._here, {}
                named, self._named = self._named, {}
                elsewhere, self._elsewhere = self._elsewhere, {}
            for topic in here:
                self._call_here(topic)
            for topic in named:
                self._call_here(topic, everybody=False)
            if elsewhere:
                self._call_elsewhere(tuple(elsewhere))
            if is_last:
                return

    def _call_here(self, topic: str, *, everybody: bool = True) -> None:
        with self._changed:
            wanted = [
                (key, callback)
                for key, (topics, callback) in self._callbacks.items()
                if topic in topics or (everybody and EVERY_TOPIC in topics)
            ]
        for key, callback in wanted:
            with self._changed:
                if key not in self._callbacks:
                    continue
                self._running = key
            try:
                callback(topic)
            except Exception:  # noqa: BLE001 - one bad callback must not silence the others
                _log.exception("transport.callback_failed")
            finally:
                with self._changed:
                    self._running = None
                    self._changed.notify_all()

    def _call_elsewhere(self, topics: tuple[str, ...]) -> None:
        lost = self._carry(tuple(_pack(topics)), len(topics))
        if lost:
            self._on_lost(lost)


class Datagrams:
    """Carries wake-ups to the other processes of this machine, one datagram per message and process."""

    def __init__(self, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous
        self._frozen_until: dict[Address, float] = {}
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.settimeout(_SEND_LIMIT)

    def carry(self, messages: tuple[bytes, ...], count: int) -> int:
        """Send all messages to every process that listens; `count` topics are lost per process that takes none."""
        now = time.monotonic()
        self._frozen_until = {peer: end for peer, end in self._frozen_until.items() if end > now}
        lost = 0
        for peer in self._rendezvous.others("wake"):
            if peer in self._frozen_until or not all(self._send(peer, each) for each in messages):
                lost += count
        return lost

    def close(self) -> None:
        """Send nothing more. Safe to repeat."""
        self._sender.close()

    def _send(self, peer: Address, message: bytes) -> bool:
        try:
            self._sender.sendto(message, self._rendezvous.path(peer.name))
        except TimeoutError:
            self._frozen_until[peer] = time.monotonic() + _FROZEN_FOR
        except ConnectionRefusedError:
            self._rendezvous.forget_if_dead(peer)
        except OSError:
            pass
        else:
            return True
        return False


def _pack(topics: Sequence[str]) -> Iterator[bytes]:
    """Topics as few messages, a line each. What does not fit into any message is left out."""
    lines: list[bytes] = []
    size = 0
    for line in (topic.encode() for topic in topics):
        if len(line) > LARGEST_MESSAGE:
            continue
        if size + len(line) >= LARGEST_MESSAGE:
            yield b"\n".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield b"\n".join(lines)
