"""A server of an agency inside the test's process: says what the test wants, keeps what it was asked.

with RestServer(lambda asked: answer(201, key=asked.key)) as server:
    sink = server.sink()
    …
    assert server.asked[0].headers["truc-kind"] == "new"
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedReader
from typing import Final, Self

from adapters.rest import rest_kind
from adapters.rest_sink import RestSink
from tests.support.certificates import Authority
from tests.support.recipient import read_headers

__all__ = ["SHORT", "SIGNER", "Asked", "RestServer", "answer"]

SIGNER = Authority("Nút thử").issue("Khóa niêm phong").signer()
"""The node's key of these tests."""
SHORT: Final[dict[str, object]] = {"connect_wait": 1, "idle_wait": 1, "answer_wait": 1, "sending_limit": 30}
"""Waits for a server that is to be given up: whoever is to be heard would miss them on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came: of the body only digest and size, and its first KiB."""

    method: str
    target: str
    headers: dict[str, str]
    digest: str
    size: int
    start: bytes

    @property
    def key(self) -> str:
        return self.headers.get("truc-key", "")


def answer(status: int, body: bytes = b"", *, key: str = "", **headers: str) -> bytes:
    """The bytes of an answer; header names with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}"]
    lines += [f"Truc-Key: {key}"] if key else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RestServer:
    """Answers each request with what `say` gives: bytes, or None to close without a word.

    `body_most`: bytes of a body after which it answers without reading on.  `pause`: seconds after each byte that it
    reads of a body, or writes of an answer.
    """

    def __init__(
        self,
        say: Callable[[Asked], bytes | None],
        *,
        tls: ssl.SSLContext | None = None,
        body_most: int | None = None,
        reads_at: float = 0,
        writes_at: float = 0,
    ) -> None:
        self._say = say
        self._tls = tls
        self._body_most = body_most
        self._reads_at = reads_at
        self._writes_at = writes_at
        self.asked: list[Asked] = []
        self._ends = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def settings(self, **more: object) -> dict[str, object]:
        """A channel's settings to this server, with waits that a busy machine keeps; see `SHORT`."""
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        return {
            "url": f"{scheme}://{host}:{self.port}/truc/den", "plain_http": True, "networks": ["127.0.0.0/8"],
            "connect_wait": 20, "idle_wait": 20, "answer_wait": 20, "sending_limit": 60, **more,
        }  # fmt: skip

    def sink(self, **more: object) -> RestSink:
        """A sink that posts to this server."""
        return rest_kind(lambda: SIGNER)(self.settings(**more), "kenh-thu").sink

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(30)
        try:
            channel = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
        except OSError:
            plain.close()
            return
        with channel, channel.makefile("rb") as stream:
            try:
                said = self._say(self._read(stream))
                for piece in self._pieces(said or b""):
                    channel.sendall(piece)
            except (OSError, ValueError):  # the sender is gone, or speaks something else
                return

    def _pieces(self, said: bytes) -> list[bytes] | Paced:
        return Paced(said, self._writes_at, self._ends) if self._writes_at else [said]

    def _read(self, stream: BufferedReader) -> Asked:
        method, target, _ = stream.readline().decode("latin-1").split()
        headers = read_headers(stream)
        left = min(int(headers.get("content-length", "0")), self._body_most or 1 << 62)
        seen, size, start = hashlib.sha256(), 0, b""
        while left > 0 and not self._ends.is_set():
            piece = stream.read(min(left, 1 if self._reads_at else 1 << 16))
            if not piece:
                raise ConnectionResetError("cut off")
            time.sleep(self._reads_at)
            seen.update(piece)
            size, left, start = size + len(piece), left - len(piece), (start + piece)[:1024]
        asked = Asked(method=method, target=target, headers=headers, digest=seen.hexdigest(), size=size, start=start)
        self.asked.append(asked)
        return asked


class Paced:
    """Bytes one by one, a pause after each."""

    def __init__(self, said: bytes, pause: float, ends: threading.Event) -> None:
        self._said, self._pause, self._ends = iter(said), pause, ends

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._ends.wait(self._pause):
            raise StopIteration
        return bytes((next(self._said),))
