"""Maintenance windows (khung giờ bảo trì): when nothing is handed over on a channel, once or every night, as data.

    22:00-05:00                                      every night, in Việt Nam's time
    T7,CN 00:00-24:00                                on these days (T2 … T7, CN): the day on which it begins
    2026-11-28T22:00/2026-11-29T05:00                once; with an offset where it is not Việt Nam's time

Time limits go on counting: a window keeps nothing alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from gateway.model.instants import VIETNAM, as_datetime, as_instant

__all__ = ["Window", "WindowMalformed", "held_until", "parse_window", "parse_windows"]

_DAYS: Final = ("T2", "T3", "T4", "T5", "T6", "T7", "CN")
"""Monday to Sunday, as a Vietnamese calendar writes them."""
_NIGHTLY: Final = re.compile(
    r"(?:((?:T[2-7]|CN)(?:,(?:T[2-7]|CN))*) )?([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))"
)
_MOST_CHAINED: Final = 1_000


class WindowMalformed(ValueError):
    """What is written is no window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window. Once: from `begins` up to `ends` (instants). Else daily: minutes of the day, Việt Nam's time.

    A daily one that ends at or before its beginning goes on into the next day.  `days`: on which it begins, 0 Monday.
    """

    text: str
    begins: int = 0
    ends: int = 0
    from_minute: int = -1
    to_minute: int = 0
    days: frozenset[int] = frozenset(range(7))

    def end_at(self, now: int) -> int | None:
        """When the window that holds at `now` ends; None where none does."""
        if self.from_minute < 0:
            return self.ends if self.begins <= now < self.ends else None
        local = as_datetime(now).astimezone(VIETNAM)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        length = (self.to_minute - self.from_minute) % 1440 or 1440
        for day in (midnight - timedelta(days=1), midnight):
            begins = day + timedelta(minutes=self.from_minute)
            if day.weekday() in self.days and begins <= local < begins + timedelta(minutes=length):
                return as_instant(begins + timedelta(minutes=length))
        return None


def parse_window(text: str) -> Window:
    """One window as it is written. Raises WindowMalformed."""
    if found := _NIGHTLY.fullmatch(text):
        days = frozenset(_DAYS.index(day) for day in found[1].split(",")) if found[1] else frozenset(range(7))
        from_minute = int(found[2]) * 60 + int(found[3])
        to_minute = int(found[4] or found[6]) * 60 + int(found[5] or found[7])
        return Window(text=text, from_minute=from_minute, to_minute=to_minute, days=days)
    try:
        first, last = (_moment(part) for part in text.split("/"))
    except (ValueError, OverflowError) as why:
        raise WindowMalformed(text) from why
    if last <= first:
        raise WindowMalformed(text)
    return Window(text=text, begins=first, ends=last)


def _moment(text: str) -> int:
    read = datetime.fromisoformat(text)
    if "T" not in text:
        raise ValueError(text)
    return as_instant((read if read.tzinfo else read.replace(tzinfo=VIETNAM)).astimezone(UTC))


@lru_cache(maxsize=4096)
def parse_windows(texts: tuple[str, ...]) -> tuple[Window, ...]:
    """Windows as they are written. Raises WindowMalformed."""
    return tuple(parse_window(text) for text in texts)


def held_until(windows: Iterable[Window], now: int) -> int | None:
    """Until when nothing is handed over, windows that follow on one another taken together; None where it is now.

    Where they never end (every day, all day) what is given is the end of some far window.
    """
    windows = tuple(windows)
    end: int | None = None
    for _ in range(_MOST_CHAINED):
        ends = [found for window in windows if (found := window.end_at(now if end is None else end)) is not None]
        if not ends:
            break
        end = max(ends)
    return end
