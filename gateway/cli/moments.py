"""Moments as people type them, as the store counts them."""

from __future__ import annotations

from edxml.commands import moments
from edxml.commands.moments import parse_day
from gateway.model.instants import Instant, as_instant

__all__ = ["INSTANTS", "parse_day", "parse_moment"]

INSTANTS = frozenset(
    {"at", "since", "waits_until", "accepted_at", "reported_at", "recorded_at", "head_since", "signed_at", "checked_at"}
    | {"valid_from", "valid_to", "judged_at", "claimed_at", "stamped_at"}
)
"""Fields of read models that are instants; as JSON they are told as the API tells them, in ISO 8601."""


def parse_moment(text: str, *, is_end: bool = False) -> Instant:
    """A day or a moment; a day that ends a period is meant whole. Raises InputWrong `cli.bad_time`."""
    return as_instant(moments.parse_moment(text, is_end=is_end))
