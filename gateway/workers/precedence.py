"""Precedence (khẩn đi trước): between two steps, ordinary work of a process waits a moment for urgent documents.

From its acceptance to its recipient's answer an urgent document passes some sixty hand-overs of the processor.  Beside
a draining backlog it waits its turn at each of them, because ordinary groups want every processor all the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gateway.exchange.urgency import URGENT_COMES
from gateway.transport.contract import Subscription, Transport

__all__ = ["Precedence"]

_EXPECTED: Final = 0.1
"""Seconds from the word of an urgent document in which its ticket is waited for: it may go to another process."""
_SHARE: Final = 0.6
"""Of all time ordinary work waits for no more than this: a backlog drains, however many urgent documents come."""
_MOST: Final = 0.3
"""Seconds that ordinary work waits at once, at most."""
_IN_TURN: Final = 1.0
"""Seconds that a step waits for a place, at most: who has one may wait for locks, and leases run meanwhile."""
_LATELY: Final = 10.0
"""Seconds after an urgent document in which ordinary groups step a few at a time: the next one finds few in its way."""


class Precedence:
    """What one process knows of urgent documents on their way, and how long its ordinary work may still wait for them.

    It hears of them by a topic of the transport; where that word is lost, ordinary work does not wait before their
    tickets are here.  Any thread may call.
    """

    def __init__(self, transport: Transport, *, places: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        """`places`: ordinary steps at once while urgent ones come; `now`: seconds on a clock that nobody sets."""
        self._now = now
        self._changed = threading.Condition()
        self._places = places
        self._under_way = self._waiting = self._stepping = self._queued = 0
        self._expected_until = self._since = self._lately_until = float("-inf")
        self._left, self._left_at = _MOST, now()
        self._is_closed = False
        self._hearing: Subscription = transport.on_wake([URGENT_COMES], self._hear)

    def _hear(self, topic: str) -> None:
        if topic != URGENT_COMES:  # something else may have changed
            return
        with self._changed:
            self._expected_until = self._now() + _EXPECTED
            self._lately_until = self._now() + _LATELY

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While something urgent is worked on in this process."""
        with self._changed:
            self._under_way += 1
            self._expected_until = float("-inf")
            self._lately_until = self._now() + _LATELY
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    @property
    def pause(self) -> float:
        """Seconds that ordinary work would wait now, if nothing changes meanwhile; nought or less for not at all."""
        with self._changed:
            return self._pause()

    @property
    def waiting(self) -> int:
        """How many threads wait now for what is urgent."""
        return self._waiting

    @property
    def queued(self) -> int:
        """How many threads wait now for a place."""
        return self._queued

    def give_way(self) -> None:
        """Between two steps of ordinary work, no transaction open: wait while something urgent is here or expected.

        Returns at the latest when the ordinary work of this process, all threads together, has waited its share.
        """
        with self._changed:
            if self._pause() <= 0:
                return
            if not self._waiting:
                self._left, self._left_at = self._may_wait(), self._now()
                self._since = self._left_at
            self._waiting += 1
            try:
                while (pause := self._pause()) > 0:
                    self._changed.wait(pause)
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._left -= self._now() - self._since
                    self._left_at = self._now()

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step of ordinary work that asks the database: gives way before it, as `give_way` does.

        While something urgent came lately only so many threads as there are places are in their block at once; the
        others wait for their turn, which is nobody's share, and no longer than a second: those before them work.
        """
        with self._changed:
            self.give_way()
            until = self._now() + _IN_TURN
            while self._is_full() and self._now() < until:
                self._queue(until)
                self.give_way()
            self._stepping += 1
        try:
            yield
        finally:
            with self._changed:
                self._stepping -= 1
                self._changed.notify_all()

    def _queue(self, until: float) -> None:
        self._queued += 1
        try:
            self._changed.wait(min(self._lately_until, until) - self._now())
        finally:
            self._queued -= 1

    def _is_full(self) -> bool:
        return self._stepping >= self._places and self._now() < self._lately_until and not self._is_closed

    def _pause(self) -> float:
        if self._is_closed:
            return 0.0
        wanted = _MOST if self._under_way else self._expected_until - self._now()
        return min(wanted, self._may_wait())

    def _may_wait(self) -> float:
        """Seconds left of the share: it grows while nobody waits and shrinks while somebody does."""
        now = self._now()
        if self._waiting:
            return self._left - (now - self._since)
        return min(_MOST, self._left + _SHARE / (1 - _SHARE) * (now - self._left_at))

    def close(self) -> None:
        """Hear no more; nobody waits any longer. Safe to repeat."""
        self._hearing.close()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
