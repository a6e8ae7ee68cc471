"""Lanes: a few threads for each kind of work, so that a crowd of one kind never keeps another waiting.

Threads of executors of our own instead of anyio's limiters: the same bound at a third of the cost per hop, and the
hot routes make three.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["Lane", "settle_on_loop"]

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Lane:
    """A bounded number of threads, made as they are needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"api-{name}")

    def run(self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> asyncio.Future[Result]:
        """Do `work` in one of the threads; await what comes of it on the loop."""
        return asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))

    def chain(self, work: Callable[[], Future[Result]]) -> asyncio.Future[Result]:
        """Do `work` in one of the threads and await the future that it gives: one wake-up of the loop, not two."""
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def step() -> None:
            try:
                work().add_done_callback(lambda done: settle_on_loop(waiting, done))
            except BaseException as why:  # noqa: BLE001 - whoever waits gets it
                failed: Future[Result] = Future()
                failed.set_exception(why)
                settle_on_loop(waiting, failed)

        self._pool.submit(step)
        return waiting

    def close(self) -> None:
        """Finish what is queued. Safe to repeat."""
        self._pool.shutdown(wait=True)


def settle_on_loop(waiting: asyncio.Future[Result], done: Future[Result]) -> None:
    """Give a waiter on the loop what another thread's future holds. Harmless where nobody waits any more."""

    def settle() -> None:
        if waiting.done():
            return
        why = done.exception()
        if why is None:
            waiting.set_result(done.result())
        else:
            waiting.set_exception(why)

    try:
        waiting.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has ended
        pass
