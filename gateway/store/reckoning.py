"""How long a hand-over may still land, whatever the clocks do (protocol §4, §13).

An attempt says how long it lasts at the most, and when that is over by two clocks: the store's (`over_by`), which
everybody can read and anybody may set, and the boot-time clock of the machine that sends, which nobody can.

    sent from this machine, since it was started ── its boot-time clock tells, exactly
    from another, or before                      ── the store's clock tells, where this process saw it run evenly since
                                                    the attempt began; else the whole of its time is waited out once
                                                    more, from when this process first saw it
    the same, asked by a command                 ── over as well where two clocks say so: the store's, and those of the
                                                    machines that sent and that ask; it does not live to wait

So a database's clock that jumps, by an hour and back, makes nothing look over that may still land.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Connection, Engine, and_, bindparam, event, or_
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.model.instants import CLOCKS_APART, DAY, SECOND, Instant
from gateway.store.months.partitions import made_at
from gateway.store.schema import attempts

__all__ = ["LOOKS_APART", "MAY_LAND", "Clock", "Landing", "Reckoning", "go_with", "may_land", "reckoning_of"]

_KEPT_AS: Final = "truc_reckoning"

LOOKS_APART: Final = 10 * SECOND
"""Of a clock that was not looked at for longer nobody knows that it ran evenly."""
_EVENLY: Final = 1 * SECOND
"""How far it may be from where it should be, by all that it was slewed since it is known to run evenly."""
_NEVER: Final = 1 << 62
_REMEMBERED: Final = DAY
"""What nobody asked about for so long, or twice that, is forgotten; asked about again it is waited out once more."""


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
    first: int  #: how far it was ahead of the boot-time clock then
    ahead: int  #: the same, when it was last looked at
    looked: int  #: by the boot-time clock


class Reckoning:
    """What one process knows of its store's clock beside its machine's boot-time clock. May be used by any thread.

    `is_brief`: a command's, which ends before it could have waited for anything.
    """

    def __init__(self, clock: Clock, *, is_brief: bool = False) -> None:
        self.clock = clock
        self._is_brief = is_brief
        self._lock = threading.Lock()
        self._even = _Even(since=_NEVER, first=0, ahead=0, looked=-_NEVER)
        self._jumped = 0
        self._seen: dict[str, int] = {}  # attempts of which nothing else is known, of this day
        self._seen_before: dict[str, int] = {}
        self._day_began = -_NEVER

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
            if abs(ahead - even.first) <= _EVENLY and after - even.looked <= LOOKS_APART:
                self._even = _Even(even.since, even.first, ahead, after)
            else:
                jump = 0 if even.looked == -_NEVER else ahead - even.ahead
                if abs(jump) > max(CLOCKS_APART, abs(self._jumped)):
                    self._jumped = jump
                self._even = _Even(told, ahead, ahead, after)

    def take_jump(self) -> int:
        """By how many microseconds the store's clock jumped since this was asked before, 0: it did not; below 0: back.
        Of several jumps the farthest: there and back is told too. Steps within `CLOCKS_APART` are none."""
        with self._lock:
            jumped, self._jumped = self._jumped, 0
        return jumped

    def left(self, attempt: Any) -> int | None:
        """For how many microseconds it may still land, below 0 how long that is over; None: `over_by` tells."""
        if not attempt.boot:
            return None
        now = self.clock.boot_now()
        if attempt.boot == self.clock.boot:
            return int(attempt.boot_over - now)
        even = self._even
        if attempt.began_at >= even.since and now - even.looked <= LOOKS_APART:
            return None
        left = int(self._first_seen(attempt.id, now) + attempt.lasts - now)
        return min(left, self._left_by_two_clocks(attempt, now + even.ahead)) if self._is_brief else left

    def _left_by_two_clocks(self, attempt: Any, told: int) -> int:
        """By the store's clock, which tells `told`, and by when the sender's machine made the attempt's id: whichever
        is later. On SQLite both are this machine's."""
        by_machines = made_at(attempt.id) + attempt.lasts - self.clock.now()
        return int(max(attempt.over_by - told, by_machines) + CLOCKS_APART)

    def may_land(self, attempt: Any, now: int) -> bool:
        """Whether it may still land, if it is in doubt; `now` by the store's clock."""
        left = self.left(attempt)
        return now < attempt.over_by if left is None else left > 0

    def _first_seen(self, attempt_id: str, now: int) -> int:
        with self._lock:
            if now - self._day_began > _REMEMBERED:
                self._seen_before, self._seen, self._day_began = self._seen, {}, now
            first = self._seen.get(attempt_id)
            if first is None:
                first = self._seen[attempt_id] = self._seen_before.pop(attempt_id, now)
            return first


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
    found: Reckoning = connection.info[_KEPT_AS]
    return found


def go_with(engine: Engine, reckoning: Reckoning) -> None:
    """Every connection that this engine makes from now on knows its store's reckoning.

    (An option of the engine does as well, and every transaction pays for it.)
    """

    @event.listens_for(engine, "connect")
    def _know(_made: Any, record: ConnectionPoolEntry) -> None:
        record.info[_KEPT_AS] = reckoning
