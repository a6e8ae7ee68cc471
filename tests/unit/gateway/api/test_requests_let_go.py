"""A request that was answered is let go at once: nothing of it holds itself until the collector of garbage comes."""

from __future__ import annotations

import asyncio
import gc
from typing import Any
from weakref import ref

import uvicorn
from uvicorn.server import ServerState

from gateway.api.asked import Asked
from gateway.api.protocol import HeadBoundProtocol
from tests.unit.gateway.api.test_connection_waits import Line, settle


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await Asked(scope, receive, send, {}).answer(200, scope["path"].encode())


def test_a_request_that_was_answered_is_let_go_at_once() -> None:
    async def main() -> None:
        line = Line()
        config = uvicorn.Config(_answer, log_config=None, access_log=False)
        protocol = HeadBoundProtocol(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(line)  # type: ignore[arg-type]
        protocol.data_received(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await settle()
        first = ref(protocol.cycle)
        assert first() is not None, "the connection keeps its last one"
        protocol.data_received(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        await settle()
        assert line.written.count(b"HTTP/1.1 200 OK") == 2
        assert first() is None
        protocol.connection_lost(ConnectionError())
        await settle()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
