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

from gateway.exchange.accept import URGENT_COMES
from gateway.transport.contract import Subscription, Transport

__all__ = ["Precedence"]

_EXPECTED: Final = 0.1
"""Seconds from the word of an urgent document in which its ticket is waited for: it may go to another process."""
_SHARE: Final = 0.6
"""Of all time ordinary work waits for no more than this: a backlog drains, however many urgent documents come."""
_MOST: Final = 0.3
"""Seconds that ordinary work waits at once, at most."""


class Precedence:
    """What one process knows of urgent documents on their way, and how long its ordinary work may still wait for them.

    It hears of them by a topic of the transport; where that word is lost, ordinary work does not wait before their
    tickets are here.  Any thread may call.
    """

    def __init__(self, transport: Transport, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds on a clock that nobody sets."""
        self._now = now
        self._changed = threading.Condition()
        self._under_way = self._waiting = 0
        self._expected_until = self._since = float("-inf")
        self._left, self._left_at = _MOST, now()
        self._is_closed = False
        self._hearing: Subscription = transport.on_wake([URGENT_COMES], lambda _topic: self._expect())

    def _expect(self) -> None:
        with self._changed:
            self._expected_until = self._now() + _EXPECTED

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While something urgent is worked on in this process."""
        with self._changed:
            self._under_way += 1
            self._expected_until = float("-inf")
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
        """How many threads wait now."""
        return self._waiting

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
