"""Named places where a process may be killed: fault tests enumerate them and kill a real one at each.

A crash point stands after every step that changes what survives a crash: commit, fsync, rename, confirm,
hand-over.  The module that does the step declares the name with its meaning at import, passes it at run time,
and lists it in the docstring of the function under `Crash points:`:

    declare("folder.staged", "bytes written under a temporary name, not yet synced")
    …
    crash_point("folder.staged")

Nothing happens unless the process was started with `TRUC_CRASH_AT=name[:N]` in its environment: then the
N-th passing (default the first) kills the process with SIGKILL, so that no clean-up runs.
It lives in the lowest layer because every layer has such places; it costs one global look-up when not set.
"""

from __future__ import annotations

import os
import re
import signal
from itertools import count
from typing import Final

__all__ = ["ENVIRONMENT", "POINTS", "crash_point", "declare"]

ENVIRONMENT: Final = "TRUC_CRASH_AT"
"""The variable that names where this process dies; read once, when this module is imported."""

POINTS: Final[dict[str, str]] = {}
"""Every declared crash point with its meaning. Complete once the modules that declare them are imported."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def declare(name: str, meaning: str) -> str:
    """Enter a crash point `noun.step` with what has survived when the process dies there; gives `name` back.

    Raises ValueError on a name that is not well made, or that already means something else (a defect).
    Repeating the same declaration changes nothing.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"crash point {name!r} is not of the form noun.step")
    if POINTS.setdefault(name, meaning) != meaning:
        raise ValueError(f"crash point {name!r} already means {POINTS[name]!r}")
    return name


def _read_target(value: str | None) -> tuple[str, int] | None:
    """`name[:N]` as (name, N), None where not set. ValueError on anything else: no test runs unarmed."""
    if not value:
        return None
    name, _, number = value.partition(":")
    passing = int(number or "1")
    if not _NAME.fullmatch(name) or passing < 1:
        raise ValueError(f"{ENVIRONMENT}={value!r} is not of the form noun.step[:N]")
    return name, passing


_target = _read_target(os.environ.get(ENVIRONMENT))
_passings = count(1)  # next() of it is one step under the interpreter's lock: threads need no other


def crash_point(name: str) -> None:
    """Die here, if this process was told to. Under 100 ns where it was not.

    In an armed process an undeclared name raises LookupError: a misspelt one cannot pass for survived.
    """
    if _target is None:
        return
    _pass_armed(name, *_target)


def _pass_armed(name: str, wanted: str, passing: int) -> None:
    if name not in POINTS:
        raise LookupError(f"crash point {name!r} is not declared")
    if name == wanted and next(_passings) == passing:
        os.kill(os.getpid(), signal.SIGKILL)
