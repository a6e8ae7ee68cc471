"""HTTP/1.1 as uvicorn speaks it, with bounds on the head of a request: its size, and the time it may take.

uvicorn with httptools has neither, so that a thousand connections that say nothing, or one header without an end,
would cost a thousand sockets or all memory.
"""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edxml.messages import Language
from gateway.api.asked import request_id_of
from gateway.api.problems import PROBLEM_JSON, Crowded, HeadTooLong, problem_of
from gateway.model.errors import BadRequest, GatewayError

__all__ = ["MOST_HEAD", "HeadBoundProtocol", "most_connections", "widen_descriptors"]

MOST_HEAD = 64 * 1024
"""Bytes of request line and headers."""

_HEAD_WAIT = 30.0
"""Seconds from the first byte of a connection or request to the end of its headers."""


_SMALL = 64 * 1024
"""Bytes up to which pieces are joined; larger ones are written as they come, never copied."""


_DESCRIPTORS = 65_536


def widen_descriptors() -> None:
    """Let this process open as many files and connections as it may, up to 65,536: systems begin at 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Half of the descriptors that the process may have now; the other half is for the work: spools, packets, rows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) // 2)


class Joining:
    """A transport that writes what was said within one step of the loop in one go: uvicorn writes the head of an
    answer and its body by themselves, and each write is a call into the system and a packet on the line."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """At the end of this step of the loop, or at once where it is large; in order."""
        if len(data) > _SMALL:
            self._flush()
            self._transport.write(data)
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Close when all was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HeadBoundProtocol(HttpToolsProtocol):
    """Ends connections that are too many (503), and whose request heads are too long (431) or too slow (closed
    without a word)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joining(transport, self.loop))  # type: ignore[arg-type]  # it is one in all that is used
        self._head_bytes = 0
        self._is_in_head = True
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(_HEAD_WAIT, self._give_up)
        most = most_connections()
        if len(self.connections) > most:
            self._say(Crowded(most=most))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD:
                self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_WAIT, self._give_up)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_timer()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MOST_HEAD:
            self._refuse_head()
            raise ValueError("head too long")
        super().on_headers_complete()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self._say(HeadTooLong("api.head_too_long", limit=MOST_HEAD))

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read: uvicorn's sentence for it stays in the log."""
        if not self.transport.is_closing():
            self._say(BadRequest("api.bad_http"))

    def _say(self, why: GatewayError) -> None:
        """A problem and the end of the connection. Nobody read the headers: Vietnamese first, both languages in it."""
        request_id = request_id_of(())
        problem = problem_of(why, request_id)
        body = problem.body(Language.VI, request_id)
        head = (
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\ncontent-type: {PROBLEM_JSON}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n"
        )
        more = (b"%b: %b\r\n" % line for line in (*problem.headers, *self.server_state.default_headers))
        self.transport.write(b"".join((head.encode(), *more, b"\r\n", body)))
        self.transport.close()

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
