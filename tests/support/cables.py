"""Cables between processes: a TCP proxy that passes, cuts, crawls, swallows or resets, as networks do.

    with Cable(("127.0.0.1", 5432)) as cable:        cable.port stands in for 5432
        cable.set(CableFault.HALF_OPEN)                  bytes vanish, nobody is told
        cable.set(CableFault.NONE)                  heals; whoever lost bytes meanwhile is reset

One thread with a loop of its own serves all connections of a cable.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

__all__ = ["Cable", "CableFault"]

_PIECE: Final = 1 << 16
_CRAWL_PIECE: Final = 1 << 10
_RESET: Final = struct.pack("ii", 1, 0)


class CableFault(StrEnum):
    """What a cable does to what goes through it."""

    NONE = "none"
    CUT = "cut"  #: everything open is reset, everything new too
    SLOW = "slow"  #: some KiB a second
    HALF_OPEN = "half_open"  #: connections stay open and new ones are taken, no byte comes through
    RESET = "reset"  #: each connection is reset in the middle of what it carries


@dataclass(eq=False, slots=True)
class _Way:
    """One connection: both its ends, and what it has carried towards the target."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    carried: int = 0
    is_torn: bool = False

    def reset(self) -> None:
        """End both ends as a broken network does, without a goodbye."""
        for end in (self.near, self.far):
            if end is not None:
                sock = end.get_extra_info("socket")
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()


@dataclass(slots=True)
class Cable:
    """A proxy on a port of its own to `target`. `crawl`: bytes a second where slow; `reset_after`: bytes of a body."""

    target: tuple[str, int]
    crawl: int = 4_000
    reset_after: int = 2_000
    port: int = 0
    fault: CableFault = CableFault.NONE
    swallowed: int = 0  #: bytes that went in and never came out
    _ways: set[_Way] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True, name=f"cable-{self.port}")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join(10)

    def set(self, fault: CableFault) -> None:
        """From now on; returns when it holds. Whatever lost bytes under the fault before is reset."""
        asyncio.run_coroutine_threadsafe(self._set(fault), self._loop).result(10)

    async def _set(self, fault: CableFault) -> None:
        self.fault = fault
        for way in tuple(self._ways):
            if fault is CableFault.CUT or way.is_torn:
                way.reset()

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connected, sock=listener))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        for way in tuple(self._ways):
            way.reset()
        self._loop.run_until_complete(self._wait_all())
        self._loop.close()
        listener.close()

    async def _wait_all(self) -> None:
        mine = asyncio.current_task()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not mine), return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = _Way(writer)
        self._ways.add(way)
        try:
            if self.fault is CableFault.CUT:
                return
            far_reader, way.far = await asyncio.open_connection(*self.target)
            await _both(self._carry(way, reader, way.far, counts=True), self._carry(way, far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the cable ends, the target is away, or one end broke: the other one is told by a reset
        finally:
            way.reset()
            self._ways.discard(way)

    async def _carry(
        self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        while data := await reader.read(_PIECE):
            if self.fault is CableFault.HALF_OPEN:
                way.is_torn = True
                self.swallowed += len(data)
                continue
            if way.is_torn:
                raise ConnectionResetError("bytes were lost")
            if counts:
                way.carried += len(data)
            if self.fault is CableFault.RESET and way.carried > self.reset_after:
                writer.write(data[: len(data) // 2])
                raise ConnectionResetError("told to")
            await self._write(writer, data)
        if writer.can_write_eof():
            writer.write_eof()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = _CRAWL_PIECE if self.fault is CableFault.SLOW else len(data)
            writer.write(data[at : at + size])
            await writer.drain()
            at += size
            if self.fault is CableFault.SLOW:
                await asyncio.sleep(_CRAWL_PIECE / self.crawl)


async def _both(*ways: Coroutine[Any, Any, None]) -> None:
    """Until both ended, or one broke."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
