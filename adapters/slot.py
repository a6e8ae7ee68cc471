"""A slot: work that may never return, such as a call into a file system that hangs, each in a thread of its own.

Such a call cannot be ended.  It is left to its thread, and until it returns the slot refuses everything else at once:
no more threads than were under way when it began to hang are held by it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["Late", "Slot"]

T = TypeVar("T")


class Late(Exception):
    """Something of this slot goes on for longer than whoever asked would wait; `seconds`: for how long by now."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Slot:
    """Any thread may call; `name` is that of its threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._late: dict[threading.Thread, float] = {}  # since when each goes on, on the monotonic clock

    def run(self, work: Callable[[], T], patience: float) -> T:
        """What `work` gives or raises; never called again while it goes on.

        Raises Late where it is not done in `patience` seconds, and at once while another call is late.
        """
        began = time.monotonic()
        with self._lock:
            if self._late:
                raise Late(began - min(self._late.values()))
        done: Future[T] = Future()
        thread = threading.Thread(target=_run, args=(work, done), name=self._name, daemon=True)
        thread.start()
        try:
            return done.result(patience)
        except TimeoutError:
            with self._lock:
                if done.done():  # its own, or it came at the last moment
                    return done.result()
                self._late[thread] = began
            done.add_done_callback(lambda _done: self._forget(thread))
            raise Late(patience) from None

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            del self._late[thread]


def _run(work: Callable[[], T], done: Future[T]) -> None:
    try:
        answer = work()
    except BaseException as why:  # noqa: BLE001 - whoever waits is told
        done.set_exception(why)
    else:
        done.set_result(answer)
