"""When systems called and inboxes were asked for, as this process saw it; written down by whoever calls `flush`."""

from __future__ import annotations

import threading

from gateway.store import Store, sightings
from gateway.store.sightings import Sighting, Whose

__all__ = ["Sightings"]


class Sightings:
    """What one process saw. May be used from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._seen: dict[Sighting, int] = {}

    def note(self, whose: Whose, name: str) -> None:
        """Seen now; `name` is the id of the system or the inbox's agency. Asks the database nothing."""
        with self._lock:
            self._seen[whose, name] = self._store.clock.now()

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
