"""How long a hand-over may still land, whatever the clocks do (protocol §4, §13).

An attempt says how long it lasts at the most, and when that is over by two clocks: the store's (`over_by`), which
everybody can read and anybody may set, and the boot-time clock of the machine that sends, which nobody can.

    sent from this machine, since it was started ── its boot-time clock tells, exactly
    from another, or before                      ── the store's clock tells, where this process saw it run evenly since
                                                    the attempt began; else the whole of its time is waited out once
                                                    more, from when this process first saw it

So a database's clock that jumps, by an hour and back, makes nothing look over that may still land.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Connection, and_, bindparam, or_

from gateway.model.instants import SECOND, Instant
from gateway.store.schema import attempts

__all__ = ["HOW", "LOOKS_APART", "MAY_LAND", "Clock", "Landing", "Reckoning", "may_land", "reckoning_of"]

HOW: Final = "truc_reckoning"
"""The option of an engine, and of its connections, that holds the store's `Reckoning`."""

LOOKS_APART: Final = 10 * SECOND
"""Of a clock that was not looked at for longer nobody knows that it ran evenly."""
_EVENLY: Final = 1 * SECOND
"""How far it may be from where it should be: clocks that are slewed drift by far less between two looks."""
_NEVER: Final = 1 << 62
_MOST_SEEN: Final = 50_000


class Clock(Protocol):
    """Where time comes from in this process. Replaceable as a whole (tests)."""

    def now(self) -> Instant:
        """Microseconds since 1970 UTC: the store's time on SQLite; on PostgreSQL the database tells that."""

    @property
    def boot(self) -> str:
        """Names this machine's kernel since it was started; "": unknown."""

    def boot_now(self) -> int:
        """Microseconds since then, suspended time included: a clock that nobody can set (`CLOCK_BOOTTIME`)."""


class Landing(NamedTuple):
    """Until when something may land that begins now: columns of an attempt, times in microseconds."""

    over_by: int  #: by the store's clock
    lasts: int
    boot: str  #: the machine that sends, since it was started
    boot_over: int  #: by its boot-time clock


@dataclass(frozen=True, slots=True)
class _Even:
    """The store's clock runs evenly."""

    since: int  #: by itself
    ahead: int  #: of the boot-time clock, when it was last looked at
    looked: int  #: by the boot-time clock


class Reckoning:
    """What one process knows of its store's clock beside its machine's boot-time clock. May be used by any thread."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._even = _Even(since=_NEVER, ahead=0, looked=-_NEVER)
        self._seen: dict[str, int] = {}  # attempts of which nothing else is known, oldest first

    def begins(self, now: int, lasts: int, *, boot_now: int) -> Landing:
        """What begins at `now` and can land for `lasts` microseconds; `boot_now` was read before `now` was."""
        return Landing(over_by=now + lasts, lasts=lasts, boot=self.clock.boot, boot_over=boot_now + lasts)

    def note(self, before: int, told: int, after: int) -> None:
        """The store's clock told `told` between two readings of the boot-time clock."""
        with self._lock:
            even = self._even
            if after < even.looked:
                return  # another thread has looked since
            ahead = min(max(even.ahead, told - after), told - before)
            if abs(ahead - even.ahead) <= _EVENLY and after - even.looked <= LOOKS_APART:
                self._even = _Even(even.since, ahead, after)
            else:
                self._even = _Even(told, ahead, after)

    def left(self, attempt: Any) -> int | None:
        """For how many microseconds it may still land, below 0 how long that is over; None: `over_by` tells."""
        if not attempt.boot:
            return None
        now = self.clock.boot_now()
        if attempt.boot == self.clock.boot:
            return int(attempt.boot_over - now)
        if attempt.began_at >= self._even.since:
            return None
        return int(self._first_seen(attempt.id, now) + attempt.lasts - now)

    def may_land(self, attempt: Any, now: int) -> bool:
        """Whether it may still land, if it is in doubt; `now` by the store's clock."""
        left = self.left(attempt)
        return now < attempt.over_by if left is None else left > 0

    def _first_seen(self, attempt_id: str, now: int) -> int:
        with self._lock:
            if attempt_id not in self._seen and len(self._seen) >= _MOST_SEEN:
                self._seen.pop(next(iter(self._seen)))
            return self._seen.setdefault(attempt_id, now)


MAY_LAND: Final = or_(
    and_(attempts.c.boot == bindparam("r_boot"), attempts.c.boot != "", attempts.c.boot_over > bindparam("r_boot_now")),
    and_(or_(attempts.c.boot != bindparam("r_boot"), attempts.c.boot == ""), attempts.c.over_by > bindparam("r_now")),
)
"""Attempts that may still land, if they are in doubt, as far as a statement can tell: `Reckoning.left` may know better,
of another machine's."""


def may_land(connection: Connection, now: int) -> dict[str, int | str]:
    """What `MAY_LAND` has to be told in a statement on this connection; `now` by the store's clock."""
    clock = reckoning_of(connection).clock
    return {"r_now": now, "r_boot": clock.boot, "r_boot_now": clock.boot_now()}


def reckoning_of(connection: Connection) -> Reckoning:
    """The reckoning of the store whose connection this is."""
    found: Reckoning = connection.get_execution_options()[HOW]
    return found
