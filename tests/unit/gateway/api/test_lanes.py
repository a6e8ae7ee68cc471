"""Lanes: bounded, in threads, answers and failures come back to the loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from gateway.api.lanes import Lane, ask
from gateway.exchange.group import Settle


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


def test_a_chain_waits_for_whoever_settles() -> None:
    lane = Lane("t", 1)

    async def ask_for_it() -> str:
        waiting: asyncio.Future[str] = lane.chain(held.append)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        threading.Timer(0.05, held[0], ("xong", None)).start()
        return await waiting

    held: list[Settle[str]] = []
    assert asyncio.run(ask_for_it()) == "xong"
    lane.close()


def test_a_chain_that_fails_before_it_hands_on_says_so() -> None:
    lane = Lane("t", 1)

    def work(settle: Settle[str]) -> None:
        raise KeyError("không")

    async def ask_for_it() -> None:
        await lane.chain(work)

    with pytest.raises(KeyError):
        asyncio.run(ask_for_it())
    lane.close()


def test_answers_and_failures_of_others_come_back() -> None:
    def give(item: str, settle: Settle[str]) -> None:
        why = None if item == "được" else KeyError(item)
        threading.Thread(target=settle, args=(item, why)).start()

    async def ask_for_it() -> str:
        with pytest.raises(KeyError):
            await ask(give, "không")
        return await ask(give, "được")

    assert asyncio.run(ask_for_it()) == "được"


def test_many_outcomes_from_many_threads_all_come_and_wake_the_loop_seldom() -> None:
    held: list[tuple[int, Settle[int]]] = []
    woken = 0

    async def ask_all() -> list[int]:
        nonlocal woken
        loop = asyncio.get_running_loop()
        threadsafe = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> asyncio.Handle:
            nonlocal woken
            woken += 1
            return threadsafe(*args, **kwargs)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        waiting = [ask(lambda item, settle: held.append((item, settle)), number) for number in range(2_000)]
        quarters = [held[start::4] for start in range(4)]
        threads = [threading.Thread(target=lambda part=part: [s(n, None) for n, s in part]) for part in quarters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # the loop stands still meanwhile
        return await asyncio.gather(*waiting)

    assert asyncio.run(ask_all()) == list(range(2_000))
    assert 1 <= woken <= 4, "one wake for what lies there, and at worst one more for each thread"


def test_an_outcome_for_a_loop_that_has_ended_harms_nobody() -> None:
    held: list[Settle[str]] = []

    async def give_up() -> None:
        waiting: asyncio.Future[str] = ask(lambda item, settle: held.append(settle), "x")
        waiting.cancel()

    asyncio.run(give_up())
    held[0]("muộn", None)


def test_a_mailbox_does_not_keep_its_loop() -> None:
    async def ask_for_it() -> weakref.ref[asyncio.AbstractEventLoop]:
        await ask(lambda item, settle: settle(item, None), 1)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(ask_for_it())
    gc.collect()
    assert loop() is None


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
