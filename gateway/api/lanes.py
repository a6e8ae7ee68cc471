"""Lanes: a few threads for each kind of work, so that a crowd of one kind never keeps another waiting.

Threads of our own instead of anyio's limiters or executors: the same bound at a fraction of the cost per hop, and the
hot routes make four of them for every document.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

__all__ = ["Lane", "on_loop"]

Given = ParamSpec("Given")
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
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def step() -> None:
            try:
                result = work(*args, **kwargs)
            except BaseException as why:  # noqa: BLE001 - whoever waits gets it
                _call(waiting, _fail, waiting, why)
            else:
                _call(waiting, _settle, waiting, result)

        self._submit(step)
        return waiting

    def chain(self, work: Callable[[], Future[Result]]) -> asyncio.Future[Result]:
        """Do `work` in one of the threads and await the future that it gives: one wake-up of the loop, not two."""
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def step() -> None:
            try:
                given = work()
            except BaseException as why:  # noqa: BLE001 - whoever waits gets it
                _call(waiting, _fail, waiting, why)
            else:
                given.add_done_callback(lambda done: _hand_over(waiting, done))

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


def on_loop(given: Future[Result]) -> asyncio.Future[Result]:
    """Await another thread's future on the loop."""
    waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    given.add_done_callback(lambda done: _hand_over(waiting, done))
    return waiting


def _hand_over(waiting: asyncio.Future[Result], done: Future[Result]) -> None:
    why = done.exception()
    if why is None:
        _call(waiting, _settle, waiting, done.result())
    else:
        _call(waiting, _fail, waiting, why)


def _call(waiting: asyncio.Future[Result], then: Callable[..., None], *args: object) -> None:
    try:
        waiting.get_loop().call_soon_threadsafe(then, *args)
    except RuntimeError:  # the loop has ended, and whoever waited with it
        pass


def _settle(waiting: asyncio.Future[Result], result: Result) -> None:
    if not waiting.done():
        waiting.set_result(result)


def _fail(waiting: asyncio.Future[Result], why: BaseException) -> None:
    if not waiting.done():
        waiting.set_exception(why)
