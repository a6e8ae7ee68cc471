"""Time as the machine counts it, and ids that sort by time.

An `Instant` is an integer: microseconds since 1970-01-01 UTC.  It compares, adds and stores alike in Python,
SQLite and PostgreSQL; people get aware datetimes (Asia/Ho_Chi_Minh), made at the border by `as_datetime`.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import NewType
from zoneinfo import ZoneInfo

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "VIETNAM",
    "Instant",
    "as_datetime",
    "as_instant",
    "local_iso",
    "micros",
    "new_id",
    "wall_now",
]

Instant = NewType("Instant", int)

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
"""The one zone that people see (QĐ 28/2018 art. 14.4)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_datetime(instant: int) -> datetime:
    """The same moment as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=instant)


def as_instant(moment: datetime) -> Instant:
    """The same moment as microseconds. Raises TypeError for a naive datetime: a time without a zone is a guess."""
    return Instant((moment - _EPOCH) // timedelta(microseconds=1))


def local_iso(instant: int) -> str:
    """ISO 8601 with +07:00, to the millisecond: what answers and logs carry."""
    return as_datetime(instant).astimezone(VIETNAM).isoformat(timespec="milliseconds")


def micros(span: timedelta) -> int:
    """A span of time in microseconds."""
    return span // timedelta(microseconds=1)


def wall_now() -> Instant:
    """This process's wall clock. Only `Clock` objects call it; the machine asks the store."""
    return Instant(time.time_ns() // 1000)


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text: 48 bits of milliseconds, then random; sorts by creation time."""
    value = (time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
