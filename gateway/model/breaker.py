"""The breaker (cầu dao) of a channel: when to stop trying, when to look again, how fast to come back (protocol §8).

Pure: what is known of the channel and what happened in, what is to be known of it out.  Three faults in a row open
it for 30 s; every trial that fails doubles that, up to 10 minutes.  When the time is over the relay lets one
transfer through; a success closes the breaker, and 2, 4, … transfers are let through until `in_flight` is reached.
Faults of the channel are never counted against documents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.model.instants import MINUTE, SECOND

__all__ = ["FAULTS_TO_OPEN", "FIRST_PAUSE", "LONGEST_PAUSE", "Breaker", "after_fault", "after_success"]

FAULTS_TO_OPEN = 3
FIRST_PAUSE = 30 * SECOND
LONGEST_PAUSE = 10 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is remembered of one channel's health.

    `faults` in a row; `open_until`: nothing is handed over before that instant; `ramp`: how many at once while it
    comes back, 0 where nothing limits it but the channel's own `in_flight`.
    """

    faults: int = 0
    open_until: int = 0
    ramp: int = 0

    @property
    def is_broken(self) -> bool:
        """Open, or open until a trial succeeds."""
        return self.faults >= FAULTS_TO_OPEN

    @property
    def is_healthy(self) -> bool:
        """Nothing to remember: a success changes nothing, so the happy path writes nothing."""
        return not self.faults and not self.ramp and not self.open_until


def after_fault(known: Breaker, now: int) -> Breaker:
    """A hand-over failed by the channel's own fault.

    While the breaker is open, faults are late news of the same outage (several transfers were under way) and change
    nothing: only a trial made after `open_until` doubles the pause.
    """
    if known.is_broken and now < known.open_until:
        return known
    faults = known.faults + 1
    if faults < FAULTS_TO_OPEN:
        return replace(known, faults=faults, ramp=min(known.ramp, 1))
    doublings = min(faults - FAULTS_TO_OPEN, 16)
    return Breaker(faults=faults, open_until=now + min(FIRST_PAUSE << doublings, LONGEST_PAUSE))


def after_success(known: Breaker, in_flight: int) -> Breaker:
    """A hand-over arrived: whatever was known, the channel works. The trial was one; then 2, 4, … up to `in_flight`."""
    ramp = 2 if known.is_broken else known.ramp * 2
    return Breaker(ramp=ramp if ramp < in_flight else 0)
