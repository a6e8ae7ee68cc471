"""Sums of what a process counts and times, kept cheaply: hot paths add here, a scrape reads all of it.

One plain dict of sums and one lock: `+=` on a dict's value is a read and a write, between which the interpreter may go
to another thread, so that without the lock counts would get lost.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable

__all__ = ["Key", "Tallies", "Timed"]

Key = tuple[str, ...]
"""A series: the metric's name and the values of its labels, in their order."""


class Timed:
    """Observations of one series: how many fell into each bucket and into none, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def copy(self) -> Timed:
        """The same at this moment."""
        other = Timed(self.bounds)
        other.counts, other.total = self.counts.copy(), self.total
        return other


class Tallies:
    """All sums of one process. May be used from any thread; what was added before a read is in it, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Key, int] = {}
        self._timed: dict[Key, Timed] = {}

    def add(self, key: Key, times: int) -> None:
        """Count a series `times` more. Raises ValueError for fewer than none."""
        if times < 0:
            raise ValueError("a counter only grows")
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + times

    def observe(self, key: Key, value: float, times: int, bounds: tuple[float, ...]) -> None:
        """`times` observations of the same `value`; a bucket takes what is at most its bound."""
        bucket = bisect_left(bounds, value)
        with self._lock:
            timed = self._timed.get(key)
            if timed is None:
                timed = self._timed[key] = Timed(bounds)
            timed.counts[bucket] += times
            timed.total += value * times

    def counts(self, name: str) -> Iterable[tuple[Key, int]]:
        """The sums of one metric by the values of its labels, in the order in which they first came."""
        with self._lock:
            return [(key[1:], count) for key, count in self._counts.items() if key[0] == name]

    def timed(self, name: str) -> Iterable[tuple[Key, Timed]]:
        """The observations of one metric, likewise."""
        with self._lock:
            return [(key[1:], timed.copy()) for key, timed in self._timed.items() if key[0] == name]
