"""How long a test waits for what must come: minutes, since machines are busy; where it comes, nobody waits longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["PATIENCE", "until"]

PATIENCE: Final = 120.0
"""Seconds. What would hang without the thing under test must hang for longer."""


def until(is_so: Callable[[], object], what: object = "", *, timeout: float = PATIENCE, every: float = 0.02) -> None:
    """Wait for what gives no sign of itself; AssertionError with `what` (or what that tells) where it does not come."""
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end, f"not in {timeout:.0f} s: {what() if callable(what) else what}"
        time.sleep(every)
