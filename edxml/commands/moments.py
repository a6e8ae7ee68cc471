"""Days and moments as people type them, always in Việt Nam's time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from edxml.commands.exits import InputWrong
from edxml.zone import VIETNAM

__all__ = ["parse_day", "parse_moment"]


def parse_day(text: str) -> date:
    """A day like 2026-07-01 or 1/7/2026. Raises InputWrong `cli.bad_time`."""
    try:
        if "/" not in text:
            return date.fromisoformat(text)
        day, month, year = (int(part) for part in text.split("/"))
        return date(year, month, day)
    except ValueError as why:
        raise InputWrong("cli.bad_time", text=text) from why


def parse_moment(text: str, *, is_end: bool = False) -> datetime:
    """A day or a moment, aware; a day that ends a period is meant whole. Raises InputWrong `cli.bad_time`."""
    try:
        moment = datetime.combine(parse_day(text), time()) if "/" in text else datetime.fromisoformat(text)
    except ValueError as why:
        raise InputWrong("cli.bad_time", text=text) from why
    if is_end and len(text) <= len("2026-07-01"):
        moment = moment + timedelta(days=1) if moment.date() < date.max else moment.replace(hour=23, minute=59)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=VIETNAM)
