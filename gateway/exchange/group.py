"""Groups: flush at once when idle, gather while busy.

Whoever submits waits for its own outcome only.  While one group is in its transaction, newcomers gather; the next
group takes them all, up to `most`.  Under load this shares one commit among many; idle, a group has one member.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Grouper", "Settle", "gather"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

Settle: TypeAlias = Callable[[Outcome | None, BaseException | None], None]
"""Takes what came of an item, or None and why nothing came. Called once, from any thread; it never raises."""


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
        self._queue: queue.SimpleQueue[tuple[Item, Settle[Outcome]] | None] = queue.SimpleQueue()
        self._taken = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item, settle: Settle[Outcome]) -> None:
        """Queue one item; `settle` gets its outcome, or the exception that its group ended with."""
        self._queue.put((item, settle))

    def wait_until_taken(self, timeout: float) -> None:
        """Return when nothing waits for a group, or after `timeout` seconds: who makes items by groups makes the next
        one when the last has gone on, and so makes large ones."""
        with self._taken:
            self._taken.wait_for(self._queue.empty, timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Finish what is queued, then stop. Safe to repeat."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            with self._turn:
                group, is_last = gather(self._queue, first, self._most)
                with self._taken:
                    self._taken.notify_all()
                self._flush(group)
            if is_last:
                return

    def _flush(self, group: list[tuple[Item, Settle[Outcome]]]) -> None:
        try:
            outcomes = self._work([item for item, _ in group])
        except BaseException as why:  # noqa: BLE001 - each waiting caller gets it
            for _, settle in group:
                settle(None, why)
            return
        for (_, settle), outcome in zip(group, outcomes, strict=True):
            settle(outcome, None)


def gather(waiting: queue.SimpleQueue[Item | None], first: Item, most: int) -> tuple[list[Item], bool]:
    """`first` and what is queued now, up to `most`; and whether nothing more will come (None was in the queue)."""
    group = [first]
    while len(group) < most:
        try:
            more = waiting.get_nowait()
        except queue.Empty:
            break
        if more is None:
            return group, True
        group.append(more)
    return group, False
