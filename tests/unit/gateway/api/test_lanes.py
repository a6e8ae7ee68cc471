"""Lanes: bounded, in threads, answers and failures come back to the loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from gateway.api.lanes import Lane, on_loop


def test_work_runs_elsewhere_and_its_answer_comes_back() -> None:
    async def ask() -> tuple[int, int]:
        return await lane.run(threading.get_ident), await lane.run(lambda a, b: a + b, 1, b=2)

    lane = Lane("t", 2)
    ident, total = asyncio.run(ask())
    lane.close()
    assert ident != threading.get_ident()
    assert total == 3


def test_a_failure_comes_back() -> None:
    lane = Lane("t", 1)

    async def ask() -> None:
        await lane.run(int, "x")

    with pytest.raises(ValueError):
        asyncio.run(ask())
    lane.close()


def test_never_more_at_once_than_threads() -> None:
    lane, lock = Lane("t", 3), threading.Lock()
    now = most = 0
    gate = threading.Event()

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == 3:
                gate.set()
        gate.wait(5)
        with lock:
            now -= 1

    async def ask() -> None:
        await asyncio.gather(*(lane.run(work) for _ in range(20)))

    asyncio.run(ask())
    lane.close()
    assert most == 3


def test_a_chain_waits_for_the_inner_future() -> None:
    lane = Lane("t", 1)
    inner: Future[str] = Future()

    async def ask() -> str:
        waiting = lane.chain(lambda: inner)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        threading.Timer(0.05, inner.set_result, ("xong",)).start()
        return await waiting

    assert asyncio.run(ask()) == "xong"
    lane.close()


def test_on_loop_takes_answers_and_failures() -> None:
    async def ask() -> str:
        good: Future[str] = Future()
        bad: Future[str] = Future()
        good.set_result("được")
        bad.set_exception(KeyError("không"))
        with pytest.raises(KeyError):
            await on_loop(bad)
        return await on_loop(good)

    assert asyncio.run(ask()) == "được"


def test_closing_finishes_what_is_queued_and_may_be_repeated() -> None:
    lane, done = Lane("t", 1), []

    async def ask() -> None:
        first = lane.run(done.append, 1)
        second = lane.run(done.append, 2)
        await asyncio.get_running_loop().run_in_executor(None, lane.close)
        await asyncio.gather(first, second)

    asyncio.run(ask())
    lane.close()
    Lane("unused", 2).close()
    assert done == [1, 2]
