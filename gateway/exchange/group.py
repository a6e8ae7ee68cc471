"""Groups: flush at once when idle, gather while busy.

Whoever submits waits for its own outcome only.  While one group is in its transaction, newcomers gather; the next
group takes them all, up to `most`.  Under load this shares one commit among many; idle, a group has one member.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Grouper"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Grouper(Generic[Item, Outcome]):
    """Runs `work` on groups of items in one thread of its own; outcomes come back in the items' order."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Outcome]],
        *,
        most: int,
        name: str,
        turn: threading.Lock | None = None,
    ) -> None:
        """`turn`: shared by groupers that would only wait for each other inside `work`; their groups are gathered
        when it is their turn, and so are as large as they can be."""
        self._work = work
        self._turn = threading.Lock() if turn is None else turn
        self._most = most
        self._queue: queue.SimpleQueue[tuple[Item, Future[Outcome]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Future[Outcome]:
        """Queue one item; the future gets its outcome, or the exception that its group ended with."""
        future: Future[Outcome] = Future()
        self._queue.put((item, future))
        return future

    def close(self, timeout: float = 10.0) -> None:
        """Finish what is queued, then stop. Safe to repeat."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            with self._turn:
                group, is_last = self._gather(first)
                self._flush(group)
            if is_last:
                return

    def _gather(self, first: tuple[Item, Future[Outcome]]) -> tuple[list[tuple[Item, Future[Outcome]]], bool]:
        """What is queued now, up to `most`; and whether nothing more will come."""
        group = [first]
        while len(group) < self._most:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return group, True
            group.append(more)
        return group, False

    def _flush(self, group: list[tuple[Item, Future[Outcome]]]) -> None:
        try:
            outcomes = self._work([item for item, _ in group])
        except BaseException as why:  # noqa: BLE001 - each waiting caller gets it
            for _, future in group:
                future.set_exception(why)
            return
        for (_, future), outcome in zip(group, outcomes, strict=True):
            future.set_result(outcome)
