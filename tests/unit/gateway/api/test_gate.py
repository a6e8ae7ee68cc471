"""The gate: who was found goes on unasked, without a thread, and not for longer than is promised."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.api.gate import Gate
from gateway.api.lanes import Lane
from gateway.identity import Caller, Callers, register_system, revoke_tokens
from gateway.model.errors import Unauthenticated
from gateway.node import Node
from tests.support.stores import fresh_store

PROMISED = 1.25
"""Seconds after which a revoked token is refused at the latest."""


class _Scene:
    """A gate and its rows, both by a clock that the test turns; `asked` is who looked at the rows."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.store = fresh_store(folder)
        self.callers = Callers(self.store, clock=lambda: self.now)
        self.lane = Lane("gate", 1)
        self.asked: list[str] = []
        self.gate = Gate(cast(Node, SimpleNamespace(callers=self)), self.lane, clock=lambda: self.now)
        self.header = f"Bearer {register_system(self.store, 'Phần mềm A', actor='an').token}"
        self.recall = self.callers.recall
        self.sightings = self.callers.sightings

    def authenticate(self, authorization: str) -> Caller:
        self.asked.append(threading.current_thread().name)
        return self.callers.authenticate(authorization)

    async def is_in(self) -> bool:
        try:
            await self.gate.admit(self.header)
        except Unauthenticated:
            return False
        return True


@pytest.fixture
def scene(tmp_path: Path) -> _Scene:
    return _Scene(tmp_path)


def test_while_the_rows_are_fresh_no_thread_is_asked(scene: _Scene) -> None:
    async def ask() -> None:
        for _ in range(10):
            assert await scene.is_in()
            scene.now += 0.11
        assert scene.asked == ["api-gate-0"]
        assert await scene.is_in()
        assert len(scene.asked) == 1, "a quarter of a second after the last look at what is fresh is not over"
        scene.now += 0.25
        assert await scene.is_in()
        assert len(scene.asked) == 2

    asyncio.run(ask())
    scene.lane.close()


@pytest.mark.parametrize("before", [0.0, 0.3, 0.999])
def test_a_revoked_token_ends_when_it_is_promised(scene: _Scene, before: float) -> None:
    """However late the gate remembered it."""

    async def ask() -> None:
        assert await scene.is_in()
        revoke_tokens(scene.store, "Phần mềm A")
        scene.now += before
        assert await scene.is_in(), "nobody has looked since"
        scene.now += PROMISED - before
        assert not await scene.is_in()

    asyncio.run(ask())
    scene.lane.close()


def test_without_a_token_no_thread_is_asked(scene: _Scene) -> None:
    scene.header = ""
    assert not asyncio.run(scene.is_in())
    assert scene.asked == []
    scene.lane.close()
