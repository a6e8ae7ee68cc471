"""Joining: head and body of an answer leave together, in order, whatever their sizes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.api.protocol import Joining


class _Line:
    """A transport that remembers its writes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, name: str) -> str:
        return name


def _run(work: Any) -> _Line:
    async def main() -> _Line:
        line = _Line()
        await work(Joining(line, asyncio.get_running_loop()), line)  # type: ignore[arg-type]
        return line

    return asyncio.run(main())


def test_what_is_said_in_one_step_is_one_write() -> None:
    async def work(joining: Joining, line: _Line) -> None:
        joining.write(b"head ")
        joining.write(b"body")
        assert line.written == []
        await asyncio.sleep(0)
        joining.write(b"next")
        await asyncio.sleep(0)

    assert _run(work).written == [b"head body", b"next"]


def test_large_pieces_go_at_once_behind_what_was_said_before() -> None:
    large = bytes(70_000)

    async def work(joining: Joining, line: _Line) -> None:
        joining.write(b"head")
        joining.write(large)
        assert line.written == [b"head", large]
        assert line.written[1] is large, "it was copied"
        joining.write(b"end")
        await asyncio.sleep(0)

    assert _run(work).written == [b"head", large, b"end"]


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_closing_writes_what_was_said(pieces: int) -> None:
    async def work(joining: Joining, line: _Line) -> None:
        for _ in range(pieces):
            joining.write(b"x")
        joining.close()
        assert line.is_closed
        await asyncio.sleep(0)

    assert b"".join(_run(work).written) == b"x" * pieces


def test_all_else_is_the_transports_own() -> None:
    async def work(joining: Joining, line: _Line) -> None:
        assert joining.get_extra_info("peername") == "peername"

    _run(work)
