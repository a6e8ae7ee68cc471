"""A command that is told to stop: Ctrl+C and SIGTERM end it alike, by what every step does when it is interrupted.

A half-written file is removed, a program that was called is ended, a transaction is undone; then one sentence.  The
parts of a node end in their own way (`gateway.cli.process`).
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edxml.commands.exits import ExitCode

__all__ = ["Stopping", "stoppable"]

_AGAIN = 0.05
"""Seconds after which a signal that was lost is said again."""


class Stopping:
    """By what a command was stopped, as its exit code."""

    __slots__ = ("code",)

    def __init__(self) -> None:
        self.code = ExitCode.INTERRUPTED

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.code = ExitCode.TERMINATED
        raise KeyboardInterrupt

    def _on_unraisable(self, lost: sys.UnraisableHookArgs) -> None:
        """Where the signal came while something was thrown away, nobody could be told: it is said again."""
        if lost.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(lost)
            return
        number = signal.SIGTERM if self.code is ExitCode.TERMINATED else signal.SIGINT
        again = threading.Timer(_AGAIN, signal.pthread_kill, (threading.main_thread().ident, number))
        again.daemon = True
        again.start()


@contextmanager
def stoppable(*, by_sigterm: bool) -> Iterator[Stopping]:
    """Have SIGTERM interrupt what happens within as Ctrl+C does; whoever started us has Ctrl+C, or both, ignored at
    will. Nothing is changed in a thread other than the first."""
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as it is while the program is loaded
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hears = by_sigterm and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if hears:
        signal.signal(signal.SIGTERM, stopping._on_signal)
    before, sys.unraisablehook = sys.unraisablehook, stopping._on_unraisable
    try:
        yield stopping
    finally:
        sys.unraisablehook = before
        if hears:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
