"""One request on a hot route, and the ways to answer it: raw ASGI, because a document passes here four times."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from edxml.messages import Language
from gateway.api.cycle import CYCLE, break_off, take_whole, write_whole
from gateway.api.problems import PROBLEM_JSON, Problem, language_of
from gateway.identity import Caller
from gateway.model.errors import BadRequest, TooLarge
from gateway.model.instants import new_id

__all__ = ["Asked", "ClientGone", "Headers", "Message", "Receive", "Send", "request_id_of"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_JSON = b"application/json"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PROCESS = new_id()
_NUMBERS = itertools.count(1)
"""Requests of this process are numbered: asking the kernel for random bits would give the interpreter away."""

_ONCE = frozenset({
    b"authorization", b"content-type", b"idempotency-key", b"if-range", b"range", b"truc-recipients",
})  # fmt: skip
"""Headers with one value: of two, a proxy before us may believe another one than we (RFC 9110, 5.3)."""

_SMALL = 64 * 1024
_SMALL_WAIT = 30.0
_LINGER = 1 << 20
_LINGER_WAIT = 2.0


class ClientGone(Exception):
    """The caller closed the connection before its request was whole."""


def request_id_of(headers: Headers) -> str:
    """The caller's own `X-Request-Id` where it is plain enough to be repeated, else this process's next one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"{_PROCESS}-{next(_NUMBERS)}"


class Asked:
    """A request and its answer. `status` is what was answered, 0 before; `is_told`: a failure was answered already."""

    __slots__ = (
        "_cycle", "_has_twice", "_headers", "_receive", "_send", "caller", "ids", "is_body_read", "is_told",
        "request_id", "scope", "status",
    )  # fmt: skip

    def __init__(self, scope: Message, receive: Receive, send: Send, ids: dict[str, str]) -> None:
        self.scope = scope
        # none where another server than ours runs the application; taken out, because it holds the scope: only the
        # collector of garbage lets go of what holds each other, and each request would wait for it with its headers
        self._cycle = scope.pop(CYCLE, None)
        self._receive = receive
        self._send = send
        self.ids = ids
        headers = scope["headers"]
        known: dict[bytes, bytes] = dict(headers)
        self._has_twice = len(headers) != len(known)
        self._headers = dict(reversed(headers)) if self._has_twice else known  # the first of a name
        self.request_id = request_id_of(headers if b"x-request-id" in self._headers else ())
        self.status = 0
        self.is_body_read = False
        self.is_told = False
        self.caller: Caller | None = None

    def header(self, name: bytes) -> str:
        """The first header of that name (small letters), "" where there is none.

        Raises BadRequest where one that has a single value comes more than once.
        """
        value = self._headers.get(name)
        if value is None:
            return ""
        if self._has_twice and name in _ONCE and sum(one == name for one, _ in self.scope["headers"]) > 1:
            raise BadRequest("api.header_twice", name=name.decode())
        return value.decode("latin-1")

    @property
    def language(self) -> Language:
        """What `Accept-Language` asks for."""
        return language_of(self.header(b"accept-language"))

    def content(self) -> dict[str, str]:
        """What the body is said to be, for `read_json`."""
        return {
            "content_type": self.header(b"content-type"),
            "content_encoding": self.header(b"content-encoding"),
        }

    @property
    def is_head(self) -> bool:
        """Whether only the headers are wanted."""
        return bool(self.scope["method"] == "HEAD")

    def query(self) -> list[tuple[str, str]]:
        """The query's pairs. Raises BadRequest where there are too many."""
        text = self.scope["query_string"]
        if not text:
            return []
        try:
            return parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=2_100)
        except ValueError:
            raise BadRequest("api.bad_query") from None

    async def receive(self) -> Message:
        """The next message of the body. Raises ClientGone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if not message.get("more_body", False):
            self.is_body_read = True
        return message

    def take_whole(self) -> bytes | None:
        """The body, where all of it came already; then it is read. Else None."""
        body = take_whole(self._cycle) if self._cycle is not None and not self.is_body_read else None
        self.is_body_read = self.is_body_read or body is not None
        return body

    def break_off(self) -> bool:
        """Cut an answer that has begun; False where another server than ours runs the application: it does it."""
        if self._cycle is not None:
            break_off(self._cycle)
        return self._cycle is not None

    async def small_body(self) -> bytes:
        """A body of a few words. Raises TooLarge, ClientGone, and TimeoutError after half a minute."""
        body = self.take_whole() or b""
        if not self.is_body_read:
            pieces, size = [], 0
            async with asyncio.timeout(_SMALL_WAIT):
                while not self.is_body_read and size <= _SMALL:
                    piece = (await self.receive()).get("body", b"")
                    size += len(piece)
                    pieces.append(piece)
            body = b"".join(pieces)
        if len(body) > _SMALL:
            raise TooLarge("submission.too_large", limit=_SMALL)
        return body

    async def watch_for_end(self) -> None:
        """Returns when the caller has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    # --- answering
    async def begin(self, status: int, kind: bytes, length: int, headers: Headers = ()) -> None:
        """Status and headers."""
        self.status = status
        lines = self._lines(kind, length, headers)
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    def _lines(self, kind: bytes, length: int, headers: Headers) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", kind),
            (b"content-length", b"%d" % length),
            (b"x-request-id", self.request_id.encode()),
            *headers,
        ]

    async def send_piece(self, piece: bytes, *, is_last: bool) -> None:
        """Bytes of the body; waits while the caller's socket is full."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": not is_last})

    async def answer(self, status: int, body: bytes, *, kind: bytes = _JSON, headers: Headers = ()) -> None:
        """A whole answer; `headers` do not speak of the connection."""
        sent = b"" if self.is_head else body
        if self._cycle is not None and write_whole(self._cycle, status, self._lines(kind, len(body), headers), sent):
            self.status = status
            return
        await self.begin(status, kind, len(body), headers)
        await self.send_piece(sent, is_last=True)

    async def refuse(self, problem: Problem) -> None:
        """A problem. Where the body is still coming the connection ends, after some of it was read and thrown away:
        a caller that is cut off while it sends may never see the answer."""
        body = problem.body(self.language, self.request_id)
        if self.is_body_read or self.scope["method"] in ("GET", "HEAD"):
            await self.answer(problem.status, body, kind=PROBLEM_JSON.encode(), headers=problem.headers)
            return
        await self.begin(
            problem.status, PROBLEM_JSON.encode(), len(body), (*problem.headers, (b"connection", b"close"))
        )
        await self.send_piece(body, is_last=False)
        await self._linger()
        await self.send_piece(b"", is_last=True)

    async def _linger(self) -> None:
        if self.header(b"expect").lower() == "100-continue":
            return
        read = 0
        try:
            async with asyncio.timeout(_LINGER_WAIT):
                while not self.is_body_read and read < _LINGER:
                    read += len((await self.receive()).get("body", b""))
        except (TimeoutError, ClientGone):
            pass
