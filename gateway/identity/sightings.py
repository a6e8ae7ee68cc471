"""When systems called and inboxes were asked for, as this process saw it; written down once a minute at most.

What is noted first after a quiet minute is written at once, the rest with what comes after the next one: so what stands
in the store is at most a minute older than the truth, and a node that nobody calls writes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from gateway.store import Store, sightings
from gateway.store.sightings import Sighting, Whose

__all__ = ["Sightings"]

_EVERY: Final = 60.0


class Sightings:
    """What one process saw. May be used from any thread."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[Sighting, int] = {}
        self._write_at = clock()

    def note(self, whose: Whose, name: str) -> bool:
        """Seen now; `name` is the id of the system or the inbox's agency. True where the caller is to `flush` soon."""
        with self._lock:
            self._seen[whose, name] = self._store.clock.now()
            now = self._clock()
            if now < self._write_at:
                return False
            self._write_at = now + _EVERY
            return True

    def flush(self) -> None:
        """Write down what was seen since the last time. Raises StoreBusy: it is kept then. Safe to repeat."""
        with self._lock:
            seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            with self._store.write() as connection:
                sightings.note(connection, seen)
        except BaseException:
            with self._lock:
                self._seen = seen | self._seen
            raise
