"""Agencies' own servers for the bench: one process that takes what `rest` channels post, and remembers the keys.

python -m benchmarks.province_sink     prints its port

POST /good/…     201 with the delivery's key at once
POST /crawl/…    takes everything and then says nothing: the sender waits as long as it is set to
GET  /good/…     404 with the key: it has not come (asked where an answer was lost)
GET  /count      {"arrived": distinct keys, "repeats": posts of a key that was there already}
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import httptools
import msgspec
import uvloop

__all__ = ["Count"]


class Count(msgspec.Struct, frozen=True):
    """What came to `/good`."""

    arrived: int
    repeats: int


_NOT_HERE: Final = 404
_TAKEN: Final = 201


class _Sinks:
    """All agencies of the bench."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._posts = 0

    def answer(self, method: bytes, path: bytes, key: str) -> bytes | None:
        """The answer's bytes; None: none ever comes."""
        if path == b"/count":
            body = msgspec.json.encode(Count(arrived=len(self._keys), repeats=self._posts - len(self._keys)))
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
        if path.startswith(b"/crawl"):
            return None
        if method == b"POST":
            self._keys.add(key)
            self._posts += 1
        status = _TAKEN if method == b"POST" or key in self._keys else _NOT_HERE
        return (f"HTTP/1.1 {status} .\r\nTruc-Key: {key}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").encode()


class _Server(asyncio.Protocol):
    """One connection, one request."""

    def __init__(self, sinks: _Sinks) -> None:
        self._sinks = sinks
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._key = b"", ""

    def connection_made(self, transport: Any) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"truc-key":
            self._key = value.decode("latin-1")

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        key = self._key or self._path.rpartition(b"/")[2].decode("latin-1")
        if (said := self._sinks.answer(method, self._path, key)) is not None:
            self._transport.write(said)
            self._transport.close()


async def _run() -> None:
    sinks = _Sinks()
    server = await asyncio.get_running_loop().create_server(lambda: _Server(sinks), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_run())
