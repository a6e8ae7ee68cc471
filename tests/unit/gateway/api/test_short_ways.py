"""The short ways through uvicorn say, byte for byte, what the long ones say, and are taken only where they may be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.api.asked import Asked, ClientGone
from gateway.api.cycle import CYCLE, SMALL
from gateway.api.protocol import MOST_HEAD, HeadBoundProtocol
from tests.unit.gateway.api.test_connection_waits import Line, settle

HEADERS = ((b"truc-key", b"abc"), (b"cache-control", b"private, no-store"))


class _Api:
    """An application of ours on one connection; `is_short`: by the short ways, else by those of ASGI alone."""

    def __init__(
        self, *, is_short: bool = True, body: bytes = b"{}", headers: Any = HEADERS, status: int = 200
    ) -> None:
        self.is_short, self.body, self.headers, self.status = is_short, body, headers, status
        self.sent = 0  #: messages that went the long way
        self.bodies: list[bytes | None] = []
        self.faults: list[Exception] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.line = Line()
        config = uvicorn.Config(self, log_config=None, access_log=False, server_header=False)
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"Fri, 27 Nov 2026 00:00:00 GMT")]
        self.protocol = HeadBoundProtocol(config, self.state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.line)  # type: ignore[arg-type]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def count(message: Any) -> None:
            self.sent += 1
            await send(message)

        if not self.is_short:
            del scope[CYCLE]
        asked = Asked(scope, receive, count, {})
        asked.request_id = "r-1"
        try:
            self.bodies.append(asked.take_whole())
            await self.may_answer.wait()
            if scope["method"] == "POST":
                self.bodies.append(await asked.small_body())
            await asked.answer(self.status, self.body or scope["path"].encode(), headers=self.headers)
        except (ClientGone, ValueError) as why:
            self.faults.append(why)

    async def say(self, *pieces: bytes) -> bytes:
        await settle()
        for piece in pieces:
            self.protocol.data_received(piece)
            await settle()
        written, self.line.written = self.line.written, b""
        return written

    async def end(self) -> None:
        self.protocol.connection_lost(ConnectionError())
        await settle()


@pytest.mark.parametrize("status", [200, 202, 404, 503])
@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", b"HEAD / HTTP/1.1", b"GET / HTTP/1.0", b"POST / HTTP/1.1"])
def test_what_is_written_is_what_uvicorn_writes(first: bytes, more: bytes, status: int) -> None:
    async def main() -> None:
        said, closed, totals = [], [], []
        for is_short in (True, False):
            api = _Api(is_short=is_short, status=status)
            said.append(await api.say(first + b"\r\nHost: x\r\nContent-Length: 0\r\n" + more + b"\r\n"))
            closed.append(api.line.is_closing())
            totals.append(api.state.total_requests)
            assert api.sent == (0 if is_short else 2)
            assert api.protocol.cycle.response_complete
            await api.end()
        assert said[0] == said[1] != b""
        assert closed[0] == closed[1]
        assert totals == [1, 1]

    asyncio.run(main())


_HEADS = [
    b"GET /v1/inbox?agency=na-xa-1&limit=25 HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\n",
    b"POST /v1/c%C3%A1i%2F%zz?a=%20#b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: something\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n",
    b"HEAD http://x/abc?d HTTP/1.0\r\nConnection: keep-alive\r\n",
    b"GET / HTTP/1.0\r\n",
    b"DELETE /a?b?c=? HTTP/1.1\r\nHOST: x\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n",
]


@pytest.mark.parametrize("root", ["", "/truc"])
@pytest.mark.parametrize("head", _HEADS)
def test_what_the_application_is_told_is_what_uvicorn_tells(head: bytes, root: str) -> None:
    async def main() -> None:
        told = []
        for kind in (HeadBoundProtocol, HttpToolsProtocol):
            line, seen = Line(), asyncio.Event()

            async def serve(_scope: Any, _receive: Any, _send: Any, seen: asyncio.Event = seen) -> None:
                await seen.wait()

            config = uvicorn.Config(serve, log_config=None, access_log=False, root_path=root)
            protocol = kind(config, ServerState(), {"kept": 1}, asyncio.get_running_loop())
            protocol.connection_made(line)  # type: ignore[arg-type]
            protocol.data_received(head + b"\r\n")
            await settle()
            cycle = protocol.cycle
            if cycle is None:
                told.append((line.written.split(b"\r\n", 1)[0], line.is_closing()))
            else:
                scope = {name: value for name, value in cycle.scope.items() if name != CYCLE}
                told.append((scope, cycle.keep_alive, cycle.waiting_for_100_continue, cycle.more_body))
            protocol.connection_lost(ConnectionError())
            seen.set()
            await settle()
        assert told[0] == told[1]

    asyncio.run(main())


def test_what_comes_together_is_answered_in_order() -> None:
    async def main() -> None:
        api = _Api(body=b"")
        api.may_answer.clear()
        assert await api.say(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5))) == b""
        api.may_answer.set()
        for _ in range(5):
            await settle()
        said = await api.say()
        assert [answer[-2:] for answer in said.split(b"HTTP/1.1 ")[1:]] == [b"/%d" % number for number in range(5)]
        assert api.sent == 0
        await api.end()

    asyncio.run(main())


BAD = [
    b"\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * MOST_HEAD,
]


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_read_is_no_answer_to_what_came_before_it(bad: bytes) -> None:
    async def main() -> None:
        api = _Api(body=b"")
        api.may_answer.clear()
        first, second = (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"a", b"b"))
        assert await api.say(first + second + bad, bad, first) == b""
        api.may_answer.set()
        said = await api.say()
        assert [part[-2:] for part in said.split(b"HTTP/1.1 200 OK\r\n")] == [b"", b"/a", b"/b"]
        assert api.line.is_closing()
        await api.end()

    asyncio.run(main())


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_read_is_said_amid_no_answer(bad: bytes) -> None:
    """Its bytes would be the document's."""

    async def main() -> None:
        api, may_end = _Api(), asyncio.Event()

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            asked = Asked(scope, receive, send, {})
            await asked.begin(200, b"text/plain", 8)
            await asked.send_piece(b"half", is_last=False)
            await may_end.wait()
            await asked.send_piece(b"rest", is_last=True)

        api.protocol.app = serve
        assert (await api.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bad)).endswith(b"\r\n\r\nhalf")
        may_end.set()
        assert await api.say() == b"rest"
        assert api.line.is_closing()
        await api.end()

    asyncio.run(main())


@pytest.mark.parametrize("split", [0, 10, 40_000])
@pytest.mark.parametrize("fits", [True, False])
def test_a_head_behind_another_request_is_measured_by_itself(split: int, fits: bool) -> None:
    """It may come in one piece with all of what is before it."""

    async def main() -> None:
        api = _Api(body=b"")
        before = b"POST /a HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
        head = b"GET /b HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * (MOST_HEAD - (100 if fits else 0)))
        pieces = [before + head[:split], head[split:]] if split else [before + head]
        said = await api.say(*pieces)
        for _ in range(5):
            said += await api.say()
        answers = said.partition(b"HTTP/1.1 431 ")[0].split(b"HTTP/1.1 200 OK\r\n")
        assert [one[-2:] for one in answers] == [b"", b"/a", *([b"/b"] if fits else [])]
        assert api.line.is_closing() is not fits
        await api.end()

    asyncio.run(main())


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n"


def test_a_body_that_cannot_be_read_is_told_to_whoever_sent_it() -> None:
    async def main() -> None:
        api = _Api()
        assert (await api.say(CHUNKED + b"zz\r\n")).startswith(b"HTTP/1.1 400 ")
        assert api.line.is_closing()
        await api.end()
        assert [type(fault) for fault in api.faults] == [ClientGone]

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"", b"4\r\nabcd\r\n"])
def test_whose_body_cannot_be_read_is_not_waited_for_when_his_turn_comes(body: bytes) -> None:
    async def main() -> None:
        api = _Api(body=b"")
        api.may_answer.clear()
        post = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert await api.say(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + post + body, b"zz\r\n") == b""
        api.may_answer.set()
        assert (await api.say()).endswith(b"/a")
        assert api.line.is_closing()
        await api.end()

    asyncio.run(main())


def test_what_comes_behind_a_body_is_no_header() -> None:
    async def main() -> None:
        api = _Api()
        said = await api.say(CHUNKED + b"0\r\nAuthorization: Bearer x\r\n\r\n")
        assert said.endswith(b"{}")
        assert [name for name, _ in api.protocol.headers] == [b"host", b"transfer-encoding"]
        assert (await api.say(b"GET / HTTP/1.1\r\nX: 1\r\n\r\n")).endswith(b"{}")
        await api.end()

    asyncio.run(main())


@pytest.mark.parametrize("piece", [b"X-A: %b\r\n" % bytes(1000).replace(b"\0", b"a"), b"a" * 1000])
def test_what_comes_behind_a_body_is_as_short_as_a_head(piece: bytes) -> None:
    async def main() -> None:
        api = _Api()

        async def serve(_scope: Any, receive: Any, _send: Any) -> None:
            while (await receive()).get("more_body"):
                pass

        api.protocol.app = serve
        chunks = [b"%x\r\n%b\r\n" % (MOST_HEAD, bytes(MOST_HEAD))] * 3
        assert await api.say(CHUNKED, *chunks, b"".join(chunks), b"0\r\nX: ", *[piece] * (MOST_HEAD // 1000)) == b""
        assert (await api.say(*[b"a" * 1000] * 8)).startswith(b"HTTP/1.1 431 ")
        assert api.line.is_closing()
        await api.end()

    asyncio.run(main())


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"


def test_a_body_that_is_there_is_taken_and_what_follows_waits_as_ever() -> None:
    async def main() -> None:
        api = _Api()
        assert (await api.say(POST + b"\r\nabcd")).endswith(b"{}")
        assert api.bodies == [b"abcd", b""]
        api.may_answer.clear()
        await api.say(POST + b"\r\nef", b"gh")
        api.may_answer.set()
        assert (await api.say()).endswith(b"{}")
        assert api.bodies[2:] == [None, b"efgh"]
        await api.end()

    asyncio.run(main())


def test_behind_a_body_that_was_taken_there_is_nothing_but_the_end() -> None:
    async def main() -> None:
        api = _Api()
        api.may_answer.clear()
        await api.say(POST + b"\r\nabcd")
        following = asyncio.ensure_future(api.protocol.cycle.receive())
        await settle()
        assert not following.done()
        await api.end()
        assert (await following)["type"] == "http.disconnect"
        api.may_answer.set()
        await settle()

    asyncio.run(main())


@pytest.mark.parametrize("pieces", [(b"\r\n", b"abcd"), (b"\r\nabcd",)])
def test_who_waits_to_be_told_to_go_on_is_told(pieces: tuple[bytes, ...]) -> None:
    async def main() -> None:
        api = _Api()
        said = await api.say(POST + b"Expect: 100-continue\r\n" + pieces[0], *pieces[1:])
        assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert api.bodies == [None, b"abcd"]
        await api.end()

    asyncio.run(main())


@pytest.mark.parametrize(("said", "faults"), [(POST + b"\r\nab", [ClientGone]), (b"GET / HTTP/1.1\r\n\r\n", [])])
def test_of_whom_is_gone_nothing_is_taken_and_nothing_written(said: bytes, faults: list[type[Exception]]) -> None:
    async def main() -> None:
        api = _Api()
        api.may_answer.clear()
        await api.say(said)
        await api.end()
        api.may_answer.set()
        await settle()
        assert api.line.written == b""
        assert [type(fault) for fault in api.faults] == faults

    asyncio.run(main())


@pytest.mark.parametrize("size", [SMALL, SMALL + 1])
def test_large_answers_and_full_lines_go_the_long_way(size: int) -> None:
    async def main() -> None:
        api = _Api(body=bytes(size))
        assert len(await api.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) > size
        assert api.sent == (0 if size == SMALL else 2)
        api.protocol.pause_writing()
        assert await api.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b"", "the line is full"
        api.protocol.resume_writing()
        await settle()
        assert len(await api.say()) > size
        await api.end()

    asyncio.run(main())


@pytest.mark.parametrize("evil", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
def test_no_header_becomes_two(evil: bytes) -> None:
    async def main() -> None:
        api = _Api(headers=((b"truc-key", evil),))
        said = await api.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [type(fault) for fault in api.faults] == [ValueError]
        assert said.startswith(b"HTTP/1.1 500 ")
        await api.end()

    asyncio.run(main())


def test_an_answer_that_is_broken_off_is_cut_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        api = _Api()

        async def begin(scope: Any, receive: Any, send: Any) -> None:
            asked = Asked(scope, receive, send, {})
            await asked.begin(200, b"text/plain", 9)
            await asked.send_piece(b"half", is_last=False)
            assert asked.break_off()

        api.protocol.app = begin
        assert (await api.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"half")
        assert api.line.is_closing()
        assert not api.state.tasks
        await api.end()

    asyncio.run(main())
    assert not caplog.records
