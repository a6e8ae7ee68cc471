"""Time as the machine counts it, and ids that sort by time.

An `Instant` is an integer: microseconds since 1970-01-01 UTC.  It compares, adds and stores alike in Python,
SQLite and PostgreSQL; people get aware datetimes (Asia/Ho_Chi_Minh), made at the border by `as_datetime`.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NewType
from zoneinfo import ZoneInfo

__all__ = [
    "CLOCKS_APART", "DAY", "HOUR", "MINUTE", "SECOND", "VIETNAM", "Instant", "as_datetime", "as_instant", "as_local",
    "boot_now", "id_floor", "kernel_boot", "local_iso", "micros", "new_id", "new_id_after", "random_bytes", "wall_now",
]  # fmt: skip

Instant = NewType("Instant", int)

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CLOCKS_APART = 5 * SECOND
"""How far two looks at one clock may be apart at once: of more, one was wrong (protocol §13)."""

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
"""The one zone that people see (QĐ 28/2018 art. 14.4)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_datetime(instant: int) -> datetime:
    """The same moment as an aware UTC datetime; beyond the calendar (of strangers' clocks) its end."""
    try:
        return _EPOCH + timedelta(microseconds=instant)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if instant > 0 else datetime.min.replace(tzinfo=UTC)


def as_instant(moment: datetime) -> Instant:
    """The same moment as microseconds. Raises TypeError for a naive datetime: a time without a zone is a guess."""
    return Instant((moment - _EPOCH) // timedelta(microseconds=1))


def as_local(instant: int) -> datetime:
    """The same moment in Việt Nam's time; in UTC where no zone can be told: in the calendar's last hours, where
    certificates without an end (RFC 5280 4.1.2.5) have theirs, and before 1906, when clocks went by the sun and were
    off by seconds, which RFC 3339 cannot write."""
    moment = as_datetime(instant)
    try:
        local = moment.astimezone(VIETNAM)
    except OverflowError:
        return moment
    return local if local.second == moment.second else moment


def local_iso(instant: int) -> str:
    """ISO 8601 with +07:00, to the millisecond: what answers and logs carry."""
    seconds, rest = divmod(instant, SECOND)
    told = _second_iso(seconds)
    return f"{told[:19]}.{rest // 1000:03d}{told[19:]}"


@lru_cache(maxsize=64)
def _second_iso(seconds: int) -> str:
    """What happens now is told many times in a second, and a calendar costs ten times what the rest does."""
    return as_local(seconds * SECOND).isoformat(timespec="seconds")


def micros(span: timedelta) -> int:
    """A span of time in microseconds."""
    return span // timedelta(microseconds=1)


def wall_now() -> Instant:
    """This process's wall clock. Only `Clock` objects call it; the machine asks the store."""
    return Instant(time.time_ns() // 1000)


def boot_now() -> int:
    """Microseconds since this machine was started, suspended time included. Nobody can set this clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def kernel_boot() -> str:
    """Names this machine's kernel since it was started, the same in all its containers; "" where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class _Dice:
    """The system's random bytes, asked for by the page: each question lets go of the interpreter, and a document
    needs some twenty numbers.  A forked child throws its copy away.  May be used from any thread."""

    _PAGE = 4096

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._page = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock, self._page, self._at = threading.Lock(), b"", 0

    def throw(self, count: int) -> bytes:
        """`count` bytes (at most a page) that nobody gets a second time."""
        with self._lock:
            if self._at + count > len(self._page):
                self._page, self._at = os.urandom(self._PAGE), 0
            begin, self._at = self._at, self._at + count
            return self._page[begin : self._at]


random_bytes = _Dice().throw

_last_tick = 0
_tick_lock = threading.Lock()
_TICKS = (1 << 60) - 1
_VARIANTS = {f"{digit:x}": f"{8 | digit & 3:x}" for digit in range(16)}
"""A random hexadecimal digit as the one that carries the variant in its upper two bits."""


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text: sorts by creation time, and within this process always after the one before.

    48 bits of milliseconds, 12 bits of their fraction (method 3 of its §6.2), never the same or less twice in a
    process; the rest is random.
    """
    global _last_tick  # noqa: PLW0603 - the one counter that makes ids monotone
    now = time.time_ns()
    tick = (now << 12) // 1_000_000
    with _tick_lock:
        if tick <= _last_tick:
            tick = _last_tick + 1
        _last_tick = tick
    time_digits, rest = f"{tick & _TICKS:015x}", random_bytes(8).hex()
    variant = _VARIANTS[rest[0]]
    return f"{time_digits[:8]}-{time_digits[8:12]}-7{time_digits[12:]}-{variant}{rest[1:4]}-{rest[4:]}"


def new_id_after(*others: str) -> str:
    """A new id that sorts after these, which other machines may have made: in the millisecond after the latest where
    our clock is behind theirs."""
    made, latest = new_id(), max(others)
    if made > latest:
        return made
    digits = f"{int(latest[:8] + latest[9:13], 16) + 1:012x}"
    return f"{digits[:8]}-{digits[8:]}{made[13:]}"


def id_floor(instant: int) -> str:
    """What every id made at `instant` or later sorts after."""
    if instant <= 0:
        return ""
    digits = f"{min(instant // 1000, (1 << 48) - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"
