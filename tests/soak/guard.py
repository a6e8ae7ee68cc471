"""Whoever ends a soak leaves nothing running: a process above it that hears SIGTERM and SIGINT, and ends what is left.

The soak itself is a child in a process group of its own: told to end, it heals and takes down its province in the usual
way; what outlives it, in whatever group or session, is this process's by adoption and is killed one by one, by its id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

__all__ = ["guarded"]

_ADOPTS: Final = 36  # PR_SET_CHILD_SUBREAPER, prctl(2): orphans below become our children
_GRACE: Final = 60.0


def guarded(work: Callable[[], int], *, grace: float = _GRACE) -> int:
    """Do `work` in a child and give its exit code, or 128 + the signal that ended it. Nothing that it started is left.

    SIGTERM and SIGINT reach the child once, as SystemExit in its main thread; after `grace` seconds it is killed.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_ADOPTS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    told: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: told.append(got)) for number in _HEARD}
    child = os.fork()
    if child == 0:
        _work(work)
    try:
        return _watch(child, told, grace)
    finally:
        _end_all()
        for number, handler in before.items():
            signal.signal(number, handler)


_HEARD: Final = (signal.SIGTERM, signal.SIGINT)


def _work(work: Callable[[], int]) -> None:
    """The child; never returns. What follows the first signal is ignored: it is ending already."""
    os.setpgid(0, 0)

    def end(number: int, _frame: FrameType | None) -> None:
        for heard in _HEARD:
            signal.signal(heard, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 70
    try:
        code = work()
    except SystemExit as why:
        code = why.code if isinstance(why.code, int) else 1
    except BaseException:  # noqa: BLE001 - the child's last word; it must not run on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads that wait for a dead province are not waited for


def _watch(child: int, told: list[int], grace: float) -> int:
    deadline = None
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status)
        if told and deadline is None:
            os.kill(child, signal.SIGTERM)
            deadline = time.monotonic() + grace
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.1)


def _end_all() -> None:
    """Kill and bury everything below this process, until nothing is; a stopped one ends too."""
    while left := _children(os.getpid()):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _children(pid: int) -> list[int]:
    """Of every thread of a process."""
    return [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
