"""A process and all below it: a server of many processes is frozen, or lost with its machine, whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["end_family", "family", "signal_all"]

_GONE: Final = 120.0  # seconds, on a machine however busy


def family(pid: int) -> list[int]:
    """A process and all below it now, the parent first."""
    try:
        below = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        below = []
    return [pid, *(each for child in below for each in family(child))]


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def end_family(pid: int) -> None:
    """As when the machine fails: SIGKILL for all of it, and back only when none of it can do anything more.

    The first is stopped before the others are counted, so that none is born meanwhile.  It stays to be waited for.
    """
    signal_all([pid], signal.SIGSTOP)
    everybody = family(pid)
    signal_all(everybody, signal.SIGKILL)
    until = time.monotonic() + _GONE
    while any(map(_works, everybody)):
        assert time.monotonic() < until, f"of {everybody} some do not end"
        time.sleep(0.01)


def _works(pid: int) -> bool:
    """Whether it may still do something: no longer once nothing but its number is left."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
