"""A slot: threads of one channel's own for what touches its folder, so that a disk that hangs holds nobody else.

A call into a file system that hangs cannot be ended.  It is left to its thread, and until it returns the slot refuses
everything else at once: no more threads than were under way when the disk began to hang are held by it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from adapters.folder_layout import FolderFault

__all__ = ["HANGS", "Slot"]

HANGS = "channel.hangs"

T = TypeVar("T")


class Slot:
    """Runs what touches one folder, each call in a thread of its own; any thread may call."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._late = 0

    def run(self, work: Callable[[], T], patience: float) -> T:
        """What `work` gives or raises; never called again while it goes on.

        Raises FolderFault `channel.hangs` where it is not done in `patience` seconds, and at once while another call
        is late.
        """
        with self._lock:
            if self._late:
                raise self._fault()
        done: Future[T] = Future()
        threading.Thread(target=_run, args=(work, done), name=f"folder {self._root.name}", daemon=True).start()
        try:
            return done.result(patience)
        except TimeoutError:
            with self._lock:
                if done.done():  # its own, or it came at the last moment
                    return done.result()
                self._late += 1
            done.add_done_callback(self._is_done)
            raise self._fault() from None

    def _is_done(self, _done: Future[T]) -> None:
        with self._lock:
            self._late -= 1

    def _fault(self) -> FolderFault:
        return FolderFault(root=self._root, reason=HANGS)


def _run(work: Callable[[], T], done: Future[T]) -> None:
    try:
        answer = work()
    except BaseException as why:  # noqa: BLE001 - whoever waits is told
        done.set_exception(why)
    else:
        done.set_result(answer)
