"""How long a connection may rest and a head may take: on a loop whose clock the test turns, and over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.api.protocol import HeadBoundProtocol
from tests.support.patience import PATIENCE

KEEP_ALIVE = 75
HEAD_WAIT = HeadBoundProtocol.head_wait
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class _TurnedLoop(asyncio.SelectorEventLoop):
    """A real loop; its clock stands until it is turned."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    async def pass_time(self, seconds: float) -> None:
        """So many seconds, in steps, each with all that it makes due."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 1.0, end)
            await settle()


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Line:
    """A transport that remembers what was written and whether it was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class _App:
    """Answers each request with its path, when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.may_answer.wait()
        body = scope["path"].encode()
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
        await send(head)
        await send({"type": "http.response.body", "body": body})


Scene = Callable[[_TurnedLoop, HeadBoundProtocol, Line, _App], Coroutine[Any, Any, None]]


def play(scene: Scene) -> None:
    """One connection to an API, on a loop with a turned clock."""
    loop = _TurnedLoop()

    async def main() -> None:
        app, line = _App(), Line()
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_keep_alive=KEEP_ALIVE)
        protocol = HeadBoundProtocol(config, ServerState(), {}, loop)
        protocol.connection_made(line)  # type: ignore[arg-type]
        await scene(loop, protocol, line, app)
        protocol.connection_lost(ConnectionError())
        await settle()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nSlow: "])
def test_a_head_that_does_not_end_ends_its_connection(said: bytes) -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        if said:
            protocol.data_received(said)
        for _ in range(int(HEAD_WAIT) - 1):
            if said:
                protocol.data_received(b"x")
            await loop.pass_time(1)
        assert not line.is_closing(), "it still had a second"
        await loop.pass_time(1)
        assert line.is_closing()
        assert line.written == b""

    play(scene)


def test_a_resting_connection_ends_and_one_that_asks_in_time_does_not() -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        for number in range(1, 5):
            protocol.data_received(GET)
            await settle()
            assert line.written.count(b"HTTP/1.1 200") == number
            await loop.pass_time(KEEP_ALIVE - 1)
            assert not line.is_closing(), "it asked a second before its time was over"
        await loop.pass_time(1)
        assert line.is_closing()

    play(scene)


def test_a_second_request_has_as_long_for_its_head_as_the_first() -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        protocol.data_received(GET)
        await loop.pass_time(KEEP_ALIVE - 1)
        protocol.data_received(GET[:10])
        await loop.pass_time(HEAD_WAIT - 1)
        assert not line.is_closing()
        await loop.pass_time(1)
        assert line.is_closing()

    play(scene)


@pytest.mark.parametrize("seconds", [HEAD_WAIT + 1, 10 * KEEP_ALIVE])
def test_who_waits_for_an_answer_is_not_cut_off_and_rests_from_its_end(seconds: float) -> None:
    """Nor is a request behind it whose head came half."""

    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        app.may_answer.clear()
        protocol.data_received(GET + GET[:10])
        await loop.pass_time(seconds)
        assert not line.is_closing()
        app.may_answer.set()
        protocol.data_received(GET[10:])
        await settle()
        assert line.written.count(b"HTTP/1.1 200") == 2
        await loop.pass_time(KEEP_ALIVE - 1)
        assert not line.is_closing()
        await loop.pass_time(1)
        assert line.is_closing()

    play(scene)


def test_a_head_that_came_half_before_an_answer_keeps_its_own_end() -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        app.may_answer.clear()
        protocol.data_received(GET + GET[:10])
        await loop.pass_time(10)
        app.may_answer.set()
        await loop.pass_time(HEAD_WAIT - 11)
        assert line.written.count(b"HTTP/1.1 200") == 1
        assert not line.is_closing()
        await loop.pass_time(1)
        assert line.is_closing()

    play(scene)


def test_a_body_that_comes_slowly_is_not_the_connections_business() -> None:
    """How slowly it may come is said where it is taken in."""

    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        protocol.data_received(GET)
        await settle()
        app.may_answer.clear()
        protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        await loop.pass_time(10 * KEEP_ALIVE)
        app.may_answer.set()
        await settle()
        assert line.written.count(b"HTTP/1.1 200") == 2
        await loop.pass_time(1)
        assert not line.is_closing()

    play(scene)


def test_what_is_no_request_does_not_keep_a_connection() -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        protocol.data_received(GET)
        await settle()
        for _ in range(KEEP_ALIVE):
            if not line.is_closing():
                protocol.data_received(b"\r\n")
                await loop.pass_time(1)
        assert line.is_closing()

    play(scene)


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        app.may_answer.clear()
        protocol.data_received(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        await settle()
        assert line.written == b""
        app.may_answer.set()
        for _ in range(5):
            await settle()
        assert [answer[-2:] for answer in line.written.split(b"HTTP/1.1 ")[1:]] == [b"/%d" % n for n in range(5)]

    play(scene)


def test_at_the_end_of_the_server_resting_connections_are_closed_and_others_answered_first() -> None:
    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        app.may_answer.clear()
        protocol.data_received(GET)
        await settle()
        protocol.shutdown()
        assert not line.is_closing()
        app.may_answer.set()
        await settle()
        assert b"connection: close" in line.written
        assert line.is_closing()

    play(scene)


def test_no_request_sets_a_timer() -> None:
    """uvicorn's own stays unset: where it sets it elsewhere than we know, this says so."""

    async def scene(loop: _TurnedLoop, protocol: HeadBoundProtocol, line: Line, app: _App) -> None:
        timer = protocol._timer  # what a look would replace
        for _ in range(3):
            protocol.data_received(GET)
            await settle()
            assert protocol.timeout_keep_alive_task is None
        assert protocol._timer is timer

    play(scene)


_KNOWN = {
    HttpToolsProtocol.on_message_begin: "96d377fdc7c2baef943c2bd245003abc53566ddb35777e0f4c7bc754198b5457",
    HttpToolsProtocol.on_header: "65d62c044f61fdbd354dcb3401aa590789259bfbdbc1c07512150ec924258cd6",
    HttpToolsProtocol.on_headers_complete: "1ea8589acfad92d8ff9182775f337d98fc469e0fa39642a83195fca920f5ca96",
    HttpToolsProtocol.on_message_complete: "1fbad42dc31fc01fd4106a9885b2a2e0f6ce8d38241a3df0f615c6a8663493e0",
    HttpToolsProtocol.on_response_complete: "64e254f28e389e7614f2c828176d639174e66aa9d814a4b06624ec86ec0a5b95",
    RequestResponseCycle.__init__: "4d2f220910c33c12f2891cbf2fb89ad364464e1a189e7492e8dc43167563057a",
    RequestResponseCycle.receive: "8124ae006be71184810da91d586b97c4b3b9ae43e28984bc94f81e26d20af3e6",
    RequestResponseCycle.send: "abdd8601b326a8da972436918d3a954e1ef39c6bf0cd9e1c1954c2e798d0bb9c",
}
"""What `HeadBoundProtocol` says anew, and what short ways go past: SHA-256 of uvicorn's own text."""


@pytest.mark.parametrize("known", _KNOWN, ids=lambda known: known.__qualname__)
def test_what_is_replaced_of_uvicorn_is_still_what_it_was(known: Callable[..., Any]) -> None:
    text = inspect.getsource(known)
    found = hashlib.sha256(text.encode()).hexdigest()
    assert found == _KNOWN[known], f"uvicorn changed {known}: read it again, then protocol.py and cycle.py\n{text}"


class _Hasty(HeadBoundProtocol):
    head_wait = 0.2


@pytest.mark.parametrize("said", [b"", b"GET / HT", GET])
def test_over_a_real_socket_it_is_the_same(said: bytes) -> None:
    answered = b"HTTP/1.1 200" if said == GET else b""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            _App(), loop="uvloop", http=_Hasty, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with socket.create_connection(listening.getsockname(), timeout=PATIENCE) as opened:
                opened.sendall(said)
                got = b"".join(iter(lambda: opened.recv(4096), b""))  # until it is closed
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
    assert not thread.is_alive()
    assert got.startswith(answered)
    assert got.count(b"HTTP/1.1") == (1 if answered else 0)
