"""Wake-ups (gọi dậy): telling whoever waits, in any process of the node, that something changed.

    wake ── the board ─┬─ callbacks of this process
                       └─ the line, where the node has other processes ── their boards

A wake-up is a hint: whoever waits also looks by itself from time to time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from monitoring import log

__all__ = ["EVERY_TOPIC", "WakeBoard", "WakeLine", "Waking"]

EVERY_TOPIC: Final = "*"
"""Subscribed to: any topic. Called out: anything may have changed."""

_MOST_PENDING: Final = 10_000  # different topics

_log = log.get("gateway.transport")


class WakeLine(Protocol):
    """Carries wake-ups to the node's other processes. Nothing of it blocks or raises."""

    def open(self, hear: Callable[[Sequence[str]], None], on_back: Callable[[], None]) -> None:
        """Call `hear(topics)` for what other processes send, `on_back()` when something may have been missed."""

    def send(self, topics: Sequence[str]) -> None:
        """Send topics to the other processes; some may be lost."""

    def close(self) -> None:
        """Let go, once what waits is sent. Safe to repeat."""


class WakeBoard:
    """Collects topics and calls them out in a thread of its own, so that waking never waits for anybody.

    A topic that is called again before it went out goes out once: a thousand wakes of one topic are one call.
    Whoever subscribed is called at least once after the last of them.
    """

    def __init__(self, name: str, line: WakeLine | None = None) -> None:
        """`line`: closed with the board; None: this process is alone."""
        self._name = name
        self._line = line
        self._is_line_open = False
        self._changed = threading.Condition()
        self._here: dict[str, None] = {}
        self._elsewhere: dict[str, None] = {}
        self._callbacks: dict[int, tuple[frozenset[str], Callable[[str], None]]] = {}
        self._keys = itertools.count()
        self._running: int | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def post(self, topic: str) -> None:
        """Call `topic` out, here and in the other processes. Does nothing after `close`."""
        with self._changed:
            if self._is_closed:
                return
            self._note(topic)
            if self._line is not None and len(self._elsewhere) < _MOST_PENDING:
                self._elsewhere[topic] = None
            self._ring()

    def hear(self, topics: Sequence[str]) -> None:
        """Call these topics out in this process alone."""
        with self._changed:
            for topic in topics:
                self._note(topic)
            self._ring()

    def call_everybody(self) -> None:
        """Call every subscriber of this process once, with "*": something may have been missed."""
        self.hear([EVERY_TOPIC])

    def subscribe(self, topics: Sequence[str], callback: Callable[[str], None]) -> Waking:
        """Call `callback` for these topics from now on. Raises RuntimeError after `close`."""
        with self._changed:
            if self._is_closed:
                raise RuntimeError("the transport is closed")
            key = next(self._keys)
            self._callbacks[key] = (frozenset(topics), callback)
            opens, self._is_line_open = not self._is_line_open, True
        if opens and self._line is not None:
            self._line.open(self.hear, self.call_everybody)
        return Waking(self, key)

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
        if self._line is not None:
            self._line.close()

    def _note(self, topic: str) -> None:
        if len(self._here) < _MOST_PENDING and any(_hears(topics, topic) for topics, _ in self._callbacks.values()):
            self._here[topic] = None

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
                self._changed.wait_for(lambda: self._here or self._elsewhere or self._is_closed)
                is_last = self._is_closed
                here, self._here = self._here, {}
                elsewhere, self._elsewhere = self._elsewhere, {}
            for topic in here:
                self._call_here(topic)
            if elsewhere and self._line is not None:
                self._line.send(tuple(elsewhere))
            if is_last:
                return

    def _call_here(self, topic: str) -> None:
        with self._changed:
            wanted = [(key, call) for key, (topics, call) in self._callbacks.items() if _hears(topics, topic)]
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


def _hears(topics: frozenset[str], topic: str) -> bool:
    return topic in topics or EVERY_TOPIC in topics or topic == EVERY_TOPIC


class Waking:
    """A callback on topics."""

    def __init__(self, board: WakeBoard, key: int) -> None:
        self._board, self._key = board, key

    def close(self, timeout: float = 5.0) -> None:
        """Call it no more; wait up to `timeout` seconds for a running call. Safe to repeat."""
        self._board.unsubscribe(self._key, timeout)
