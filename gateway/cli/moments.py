"""Days and moments as people type them, always in Vietnam's time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from gateway.model.errors import BadRequest
from gateway.model.instants import VIETNAM, Instant, as_instant

__all__ = ["INSTANTS", "parse_day", "parse_moment"]

INSTANTS = frozenset(
    {"at", "since", "waits_until", "accepted_at", "reported_at", "recorded_at", "head_since", "signed_at", "checked_at"}
    | {"valid_from", "valid_to", "judged_at", "claimed_at", "stamped_at"}
)
"""Fields of read models that are instants; as JSON they are told as the API tells them, in ISO 8601."""


def parse_day(text: str) -> date:
    """A day like 2026-07-01 or 1/7/2026. Raises BadRequest `cli.bad_time`."""
    try:
        if "/" not in text:
            return date.fromisoformat(text)
        day, month, year = (int(part) for part in text.split("/"))
        return date(year, month, day)
    except ValueError as why:
        raise BadRequest("cli.bad_time", text=text) from why


def parse_moment(text: str, *, is_end: bool = False) -> Instant:
    """A day or a moment; a day that ends a period is meant whole. Raises BadRequest `cli.bad_time`."""
    try:
        moment = datetime.combine(parse_day(text), time()) if "/" in text else datetime.fromisoformat(text)
    except ValueError as why:
        raise BadRequest("cli.bad_time", text=text) from why
    if is_end and len(text) <= len("2026-07-01"):
        moment = moment + timedelta(days=1) if moment.date() < date.max else moment.replace(hour=23, minute=59)
    return as_instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=VIETNAM))
