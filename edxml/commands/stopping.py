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
"""Seconds between the times that a lost signal is said again."""


class Stopping:
    """By what a command was stopped, as its exit code."""

    __slots__ = ("_heard", "code")

    def __init__(self) -> None:
        self.code = ExitCode.INTERRUPTED
        self._heard = threading.Event()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.code = ExitCode.TERMINATED if number == signal.SIGTERM else ExitCode.INTERRUPTED
        self._heard.set()
        raise KeyboardInterrupt

    def _on_unraisable(self, lost: sys.UnraisableHookArgs) -> None:
        """Where the signal came while something was thrown away, nobody could be told: it is said again."""
        if lost.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(lost)
            return
        self._heard.clear()
        number = signal.SIGTERM if self.code is ExitCode.TERMINATED else signal.SIGINT
        threading.Thread(target=self._say_again, args=(number,), daemon=True).start()

    def _say_again(self, number: signal.Signals) -> None:
        """Until it is heard: one that comes just before the command begins to wait for input does not wake it."""
        first = threading.main_thread().ident
        assert first is not None
        while not self._heard.wait(_AGAIN):
            signal.pthread_kill(first, number)


@contextmanager
def stoppable(*, by_sigterm: bool) -> Iterator[Stopping]:
    """Have SIGTERM interrupt what happens within as Ctrl+C does; whoever started us has Ctrl+C, or both, ignored at
    will. Nothing is changed in a thread other than the first."""
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    if signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, signal.default_int_handler):
        signal.signal(signal.SIGINT, stopping._on_signal)
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
        if signal.getsignal(signal.SIGINT) == stopping._on_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)
