"""Slots (chỗ làm việc): the threads that run a handler, and the few tickets that wait for one of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from gateway.transport.contract import Handler, Ticket
from monitoring import log

__all__ = ["Slots"]

_log = log.get("gateway.transport")


class Slots:
    """Runs `handler` on groups of up to `group` tickets, in up to `slots` threads: one at once, each other one when
    tickets wait and nobody rests.  Where the system refuses another thread, those there are do the work.

    At most `room` tickets wait, by default `slots * group`: what the slots can take up next. Whoever offers more
    keeps the rest, so that another process gets it. A group is whatever waits when a slot falls free, from one
    ticket on: nothing lingers to fill a group.
    """

    def __init__(
        self,
        queue: str,
        slots: int,
        handler: Handler,
        group: int,
        *,
        on_failure: Callable[[], None],
        room: int | None = None,
    ) -> None:
        if slots < 1 or group < 1:
            raise ValueError(f"slots and group are at least 1, not {slots} and {group}")
        self.queue = queue
        self._handler = handler
        self._group = group
        self._most = slots * group if room is None else room
        self._on_failure = on_failure
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._slots = slots
        self._resting = 0
        self._threads: list[threading.Thread] = []
        self._add_thread()

    def take(self, tickets: Sequence[Ticket]) -> int:
        """Take the first tickets, as many as there is room for; gives their number. Never blocks."""
        with self._changed:
            if self._is_closed:
                return 0
            taken = min(len(tickets), self._most - len(self._waiting))
            if taken > 0:
                self._waiting.extend(tickets[:taken])
                self._call_one()
            return taken

    @property
    def depth(self) -> int:
        """Tickets waiting for a slot; those in a running handler are not counted."""
        return len(self._waiting)

    def drop_waiting(self) -> None:
        """Forget what waits: whoever gave it will give it again."""
        with self._changed:
            self._waiting.clear()

    def close(self, timeout: float = 5.0) -> bool:
        """Drop what waits, take nothing more, wait up to `timeout` seconds for running handlers.

        Says whether all have ended. Safe to repeat; a handler may close its own slots (it is not waited for).
        """
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        until = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while group := self._next_group():
            try:
                self._handler(group)
            except Exception:  # noqa: BLE001 - the contract: logged and forgotten
                _log.exception("transport.handler_failed", queue=self.queue, count=len(group))
                self._on_failure()

    def _next_group(self) -> tuple[Ticket, ...]:
        """Wait for tickets; gives an empty group once closed."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._resting += 1
                self._changed.wait()
                self._resting -= 1
            size = min(self._group, len(self._waiting))
            group = tuple(self._waiting.popleft() for _ in range(size))
            if self._waiting:
                self._call_one()
            return group

    def _call_one(self) -> None:
        """Holding the lock: somebody for what waits. Whoever comes calls the next one while anything is left."""
        if self._resting:
            self._changed.notify()
        elif len(self._threads) < self._slots:
            try:
                self._add_thread()
            except RuntimeError:  # the next one to be free takes what waits
                _log.exception("transport.thread_refused", queue=self.queue, count=len(self._threads))

    def _add_thread(self) -> None:
        name = f"{self.queue}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)
