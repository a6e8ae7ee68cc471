"""Calls into a device that may never come back: one at a time, and nobody waits for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final, Generic, TypeVar

__all__ = ["PATIENCE", "Turns"]

PATIENCE: Final = 5.0
"""Seconds for a turn and for what is done in it: hardware signs in milliseconds and logs in within a second or two."""

Result = TypeVar("Result")


class Turns:
    """The turns of one device, for every thread of this process.

    What hangs goes on hanging in a thread of its own, and the turn stays taken until the device answers: meanwhile
    everybody else is told at once, and no more threads are lost to it.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lock = Lock()
        self._since = 0.0

    def take(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, or raises. Raises TimeoutError where the device does not answer in time."""
        if not self._lock.acquire(timeout=self._left()):
            raise TimeoutError
        self._since = time.monotonic()
        call = _Call(work, self._lock)
        Thread(target=call.run, name="token", daemon=True).start()
        if not call.is_done.wait(self._patience):
            raise TimeoutError
        return call.result()

    def _left(self) -> float:
        """Seconds to wait for the turn: none where the call that has it is overdue itself."""
        is_overdue = self._lock.locked() and time.monotonic() - self._since > self._patience
        return 0.0 if is_overdue else self._patience


class _Call(Generic[Result]):
    """One call, in a thread that nobody waits for at the end of the process."""

    def __init__(self, work: Callable[[], Result], turn: Lock) -> None:
        self._work = work
        self._turn = turn
        self._result: list[Result] = []
        self._why: BaseException | None = None
        self.is_done = Event()

    def run(self) -> None:
        """Do it, and give the turn back when it is done, however late."""
        try:
            self._result.append(self._work())
        except BaseException as why:  # noqa: BLE001 - whoever waits gets it
            self._why = why
        finally:
            self._turn.release()
            self.is_done.set()

    def result(self) -> Result:
        """What came of it."""
        if self._why is not None:
            raise self._why
        return self._result[0]
