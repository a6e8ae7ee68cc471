"""Việt Nam's time: moments are aware UTC inside, and +07:00 wherever a person or another program reads them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

__all__ = ["VIETNAM", "in_vietnam", "iso_in_vietnam"]

VIETNAM = timezone(timedelta(hours=7))
"""No summer time, one zone since 1975."""


def in_vietnam(moment: datetime) -> datetime:
    """The same moment as clocks in Việt Nam show it; as it is in the last hours of the calendar, which has no more."""
    try:
        return moment.astimezone(VIETNAM)
    except OverflowError:
        return moment


def iso_in_vietnam(moment: datetime, timespec: str = "seconds") -> str:
    """ISO 8601 with +07:00: how JSON, files and logs tell a moment."""
    return in_vietnam(moment).isoformat(timespec=timespec)
