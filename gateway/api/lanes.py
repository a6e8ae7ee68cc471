"""Lanes: a few threads for each kind of work, so that a crowd of one kind never keeps another waiting.

Threads of our own instead of anyio's limiters or executors: the same bound at a fraction of the cost per hop, and the
hot routes make four of them for every document.  What threads have for a loop they lay into its mailbox, and the loop
is woken once for all of it: a group of thirty outcomes costs one wake-up, not thirty.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, ref

from gateway.exchange.group import Settle

__all__ = ["Lane", "ask"]

Given = ParamSpec("Given")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Lane:
    """A fixed number of threads, started with the first piece of work."""

    def __init__(self, name: str, threads: int) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"api-{name}-{number}", daemon=True) for number in range(threads)
        ]
        self._starting = threading.Lock()
        self._has_started = False

    def run(self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> asyncio.Future[Result]:
        """Do `work` in one of the threads; await what comes of it on the loop."""
        waiting, settle = _promise()

        def step() -> None:
            try:
                result = work(*args, **kwargs)
            except BaseException as why:  # noqa: BLE001 - whoever waits gets it
                settle(None, why)
            else:
                settle(result, None)

        self._submit(step)
        return waiting

    def chain(self, work: Callable[[Settle[Result]], None]) -> asyncio.Future[Result]:
        """Do `work` in one of the threads, which sees to it that what it is given is called, there or later."""
        waiting, settle = _promise()

        def step() -> None:
            try:
                work(settle)
            except BaseException as why:  # noqa: BLE001 - whoever waits gets it
                settle(None, why)

        self._submit(step)
        return waiting

    def close(self, timeout: float = 10.0) -> None:
        """Finish what is queued, then end the threads. Safe to repeat."""
        with self._starting:
            has_started, self._has_started = self._has_started, True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads if has_started else ():
            thread.join(timeout)

    def _submit(self, step: Callable[[], None]) -> None:
        if not self._has_started:
            with self._starting:
                if not self._has_started:
                    self._has_started = True
                    for thread in self._threads:
                        thread.start()
        self._queue.put(step)

    def _work(self) -> None:
        while (step := self._queue.get()) is not None:
            step()
            del step  # what it holds is not kept until the next one comes


def ask(give: Callable[[Item, Settle[Result]], None], item: Item) -> asyncio.Future[Result]:
    """Give `item` to somebody who settles later, from any thread; await the outcome on the loop."""
    waiting, settle = _promise()
    give(item, settle)
    return waiting


def _promise() -> tuple[asyncio.Future[Any], Settle[Any]]:
    """A future of the running loop, and what settles it from any thread."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[Any] = loop.create_future()
    return waiting, partial(_mailbox_of(loop).put, waiting)


class _Mailbox:
    """What threads have for one loop, delivered in the order in which it came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = ref(loop)  # not the loop itself: a mailbox must not keep the loop whose it is
        self._letters: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_called = False

    def put(self, waiting: asyncio.Future[Any], outcome: Any, why: BaseException | None) -> None:
        """From any thread. `_is_called` is set after the letter lies there and cleared before letters are taken, so
        no letter is left behind; at worst the loop is called once too often."""
        self._letters.append((waiting, outcome, why))
        if self._is_called:
            return
        self._is_called = True
        loop = self.loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop has ended, and whoever waited with it
            self._letters.clear()

    def _deliver(self) -> None:
        self._is_called = False
        while self._letters:
            waiting, outcome, why = self._letters.popleft()
            if waiting.done():
                continue
            if why is None:
                waiting.set_result(outcome)
            else:
                waiting.set_exception(why)


_mailboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox] = WeakKeyDictionary()
_latest: _Mailbox | None = None
"""The mailbox that was asked for last: a process has one loop, but for tests."""


def _mailbox_of(loop: asyncio.AbstractEventLoop) -> _Mailbox:
    global _latest  # noqa: PLW0603 - see there
    found = _latest
    if found is None or found.loop() is not loop:
        found = _mailboxes.get(loop)
        if found is None:
            found = _mailboxes[loop] = _Mailbox(loop)
        _latest = found
    return found
