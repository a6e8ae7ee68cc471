"""Refusals of callers as events: every one is counted, and nobody can fill the disk by being refused.

The first refusal of a kind (reason, system, agency) is written at once.  Identical ones within the next minute are
counted in this process and written as one event, `reason x<count>`, with the first refusal after that minute or by
`flush` (a loop beside the API calls it).  So a process that is killed forgets at most one minute's repeats of
something whose first occurrence is written.  At most 256 kinds are told apart in a minute; the rest share one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gateway.model.events import Event, EventKind
from gateway.model.instants import MINUTE
from gateway.store import Store, events

__all__ = ["Refusals", "refusal_event"]

_WINDOW = MINUTE
_MOST_KINDS = 256

Kind = tuple[str, str, str]
"""Reason, system id, agency id."""

_OTHERS: Kind = ("identity.many_refusals", "", "")


def refusal_event(kind: Kind, *, at: int, count: int = 1) -> Event:
    """`count` identical refusals as one event `caller.refused`; the actor is the refused system, or nobody known."""
    reason, system_id, agency_id = kind
    return Event(
        kind=EventKind.CALLER_REFUSED,
        at=at,
        actor=f"system:{system_id}" if system_id else "unknown",
        system_id=system_id,
        agency_id=agency_id,
        reason=reason if count == 1 else f"{reason} x{count}",
    )


@dataclass(slots=True)
class _Window:
    until: int
    count: int = 0
    last_at: int = 0


class Refusals:
    """Counts refusals of this process and writes them down. May be used from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._windows: dict[Kind, _Window] = {}

    def note(self, reason: str, *, system_id: str = "", agency_id: str = "") -> None:
        """One refusal. `agency_id` only where it is an agency that we know: never a text of the caller's.

        Raises StoreBusy where the event could not be written; the refusal itself stands.
        """
        now = self._store.clock.now()
        with self._lock:
            told = self._close_windows(now)
            kind = (reason, system_id, agency_id)
            if kind not in self._windows and len(self._windows) >= _MOST_KINDS:
                kind = _OTHERS
            window = self._windows.get(kind)
            if window is None:
                self._windows[kind] = _Window(until=now + _WINDOW)
                told.append(refusal_event(kind, at=now))
            else:
                window.count += 1
                window.last_at = now
        self._write(told)

    def flush(self, *, everything: bool = False) -> None:
        """Write the counts whose minute is over, or all of them (at the end of the process). Safe to repeat."""
        with self._lock:
            told = self._close_windows(self._store.clock.now(), everything=everything)
        self._write(told)

    def _close_windows(self, now: int, *, everything: bool = False) -> list[Event]:
        over = [kind for kind, window in self._windows.items() if everything or now >= window.until]
        closed = [(kind, self._windows.pop(kind)) for kind in over]
        return [refusal_event(kind, at=window.last_at, count=window.count) for kind, window in closed if window.count]

    def _write(self, told: list[Event]) -> None:
        if told:
            with self._store.write() as connection:
                events.append(connection, told, self._store.now(connection))
