"""HTTP/1.1 as uvicorn speaks it, with bounds on the head of a request: its size, and the time it may take.

uvicorn with httptools has neither, so that a thousand connections that say nothing, or one header without an end,
would cost a thousand sockets or all memory. Nor does it take the body of a request that offers another protocol
beside it, as the HTTP client of Java does by itself (`Upgrade: h2c`), nor answer whoever ends his side of the
connection behind what he sends.  What it says of a request that cannot be read it says amid the answer to the last one.
"""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from edxml.messages import Language
from gateway.api.asked import request_id_of
from gateway.api.cycle import CYCLE, SMALL, break_off
from gateway.api.problems import PROBLEM_JSON, CodingUnknown, Crowded, HeadTooLong, problem_of
from gateway.model.errors import BadRequest, GatewayError

__all__ = ["MOST_HEAD", "HeadBoundProtocol", "most_connections", "widen_descriptors"]

MOST_HEAD = 64 * 1024
"""Bytes of request line and headers."""

_HEAD_WAIT = 30.0
"""Seconds from a connection's beginning to its first byte, and from a request's first byte to its head's end."""

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
        if len(data) > SMALL:
            self._flush()
            self._transport.write(data)
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def write_now(self, data: bytes) -> None:
        """At once, behind what was said before."""
        if self._held:
            self._flush()
        self._transport.write(data)

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

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
    """Ends connections that are too many (503), whose request heads are too long (431) or too slow, and that rest for
    longer than uvicorn's `timeout_keep_alive` (both closed without a word).

    A request costs no timer: it writes down when its connection's patience ends, and one timer of the connection looks
    at that whenever it goes off. As it is never set for longer than the shortest wait, it is never late.
    """

    head_wait = _HEAD_WAIT

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joining(transport, self.loop))  # type: ignore[arg-type]  # it is one in all that is used
        self._head_bytes = self._coming = 0
        self._is_in_head = True
        self._is_offer = self._is_behind_chunk = self._is_behind_another = self._has_ended = self._is_deaf = False
        self._look_every = min(self.head_wait, self.timeout_keep_alive)
        self._ends_at = self.loop.time() + self.head_wait
        self._timer = self.loop.call_later(self._look_every, self._look)
        most = most_connections()
        if len(self.connections) > most:
            self._say(Crowded(most=most))

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._coming = len(data)
        self._has_ended = False
        self._read(data)
        if self._is_in_head or self._is_behind_chunk:
            self._head_bytes += self._coming
            if self._head_bytes > MOST_HEAD:
                self._refuse_head()

    def _read(self, data: bytes) -> None:
        """Let the parser read. Behind a head that offers another protocol it skips the body: it gets the same head
        again without the offer, which a server may pass over (RFC 9110, 7.8)."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as behind:
                data = self._without_offer() + data[behind.args[0] :] if self._is_offer else b""
            except httptools.HttpParserError:
                self.send_400_response("")
                return

    def _without_offer(self) -> bytes:
        first = (self.parser.get_method(), self.url, b"HTTP/" + self.parser.get_http_version().encode())
        lines = (b"%b: %b" % line for line in self.headers if line[0] != b"upgrade")
        return b"\r\n".join((b" ".join(first), *lines, b"", b""))

    def eof_received(self) -> bool:  # type: ignore[override]  # true keeps the way back open
        """Whoever has sent all of his request and ends his side is answered, and then the connection ends. A request
        without a body is as good as given up: of whoever waits for news or fetches nobody else could tell that he is
        gone."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_complete or cycle.scope["method"] in ("GET", "HEAD"):
            return False
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """As uvicorn's own, whose scope is made when the head is whole."""
        self.url = b""
        self.headers = []
        self._is_in_head = True
        self._is_offer = False
        self._is_behind_another = self._has_ended
        self._head_bytes = -self._coming if self._has_ended else 0  # what came before it is not its own
        self._ends_at = self.loop.time() + self.head_wait

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what it means is looked at when the head is whole. What comes behind a body is none."""
        if self._is_in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._is_behind_another or self._head_bytes + self._coming > MOST_HEAD:  # else all that came is short enough
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MOST_HEAD:
                self._refuse_head()
                raise ValueError("head too long")
        method = self.parser.get_method()
        self._is_offer = self.parser.should_upgrade() and method != b"CONNECT"
        if self._is_offer:
            return
        known = dict(self.headers)
        if b"transfer-encoding" in known:
            codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
            if codings != [b"chunked"]:  # the parser sees the last one alone, and its bytes are no packet
                self._say(CodingUnknown("api.coding_unknown"))
                raise ValueError("unknown transfer coding")
        version = self.parser.get_http_version()
        may_wait = b"expect" in known and version != "1.0"  # who would not understand the answer
        self._begin(method.decode("ascii"), version, is_asking=may_wait and self._is_asking())

    def _is_asking(self) -> bool:
        """Whether the caller waits to be told to send the body."""
        return any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers)

    def _begin(self, method: str, version: str, *, is_asking: bool) -> None:
        """Start the application, or put the request behind the one being answered: as uvicorn does, which asks the
        parser everything once more and looks for offers and limits that we do not have."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "method": method,
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode("ascii") + url.path,
            "query_string": url.query or b"",
        }
        before = self.cycle
        self.cycle = scope[CYCLE] = RequestResponseCycle(
            scope, self.transport, self.flow, self.logger, self.access_logger, self.access_log,
            self.server_state.default_headers, asyncio.Event(), is_asking,
            version != "1.0" and self.parser.should_keep_alive(), self.on_response_complete,
        )  # fmt: skip
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_chunk_header(self) -> None:
        """Behind it come bytes of the body, or the fields that may follow a body: these are as short as a head."""
        self._is_behind_chunk = True
        self._head_bytes = -self._coming  # what else came with it is counted as the body's

    def on_body(self, body: bytes) -> None:
        """As uvicorn's own."""
        self._is_behind_chunk = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of the body is there."""
        self._is_behind_chunk = False
        self._has_ended = True
        if not (self._is_offer or self.cycle.response_complete):
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """As uvicorn's own, but for the timer. A head that is on its way keeps its own end."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._is_in_head:
            self._ends_at = self.loop.time() + self.timeout_keep_alive

    def _look(self) -> None:
        """Close the connection where its patience has ended, else look again. While an answer is being made the
        connection waits for us, and not we for it."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if now >= self._ends_at and not is_answering:
            self.transport.close()
            return
        wait = self._look_every if is_answering else min(self._look_every, self._ends_at - now)
        self._timer = self.loop.call_later(wait, self._look)

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self._say(HeadTooLong("api.head_too_long", limit=MOST_HEAD))

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read: uvicorn's sentence for it stays in the log."""
        if not self.transport.is_closing():
            self._say(BadRequest("api.bad_http"))

    async def _end(self, _scope: Any, _receive: Any, _send: Any) -> None:
        """The application of a request that will never be whole."""
        break_off(self.cycle)

    def _is_owing(self) -> bool:
        """Whether what is said next would be taken for the answer to an earlier request, or for bytes of it."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return not cycle.more_body or cycle.response_started or bool(self.pipeline)

    def _say(self, why: GatewayError) -> None:
        """A problem and the end of the connection. Nobody read the headers: Vietnamese first, both languages in it.

        Where earlier requests are still being answered they are, and the connection ends behind that without a word.
        """
        if self._is_owing():
            self._is_deaf = True
            self.cycle.keep_alive = False
            if self.pipeline and self.cycle.more_body:  # its turn comes, the rest of its body does not
                self.pipeline[0] = (self.cycle, self._end)
            return
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
