"""Sockets: pika's services on one loop, which remember what they opened and send what waits in few pieces.

pika closes a socket when its loop runs to the connection's end.  A loop that is stopped while it connects, or that an
error ends, would leave the socket to the garbage collector, and its descriptor open until that comes.

A message is three frames, and pika sends each by itself, at once: three calls of the kernel, three packets on the way,
and a broker that wakes up for each of them.  What waits for the socket is joined before it is sent.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

__all__ = ["Sockets"]

_AT_ONCE: Final = 64 * 1024
"""Bytes that are joined at most: of what the kernel does not take at once the rest is copied."""


class Sockets(SelectorIOServicesAdapter):  # type: ignore[misc]  # pika tells no types
    """For one connection; `close` when its loop has ended."""

    def __init__(self, loop: object) -> None:
        super().__init__(loop)
        self._opened: list[socket.socket] = []
        self._handshakes: list[Any] = []
        self._transports: list[Any] = []

    def connect_socket(self, sock: socket.socket, resolved_addr: tuple[str, int], on_done: Callable[..., None]) -> Any:
        """As pika's own, noted."""
        self._opened.append(sock)
        return super().connect_socket(sock, resolved_addr, on_done)

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], Any],
        sock: socket.socket,
        on_done: Callable[[Any], None],
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> Any:
        """As pika's own, noted: with TLS, another socket takes the place of the one that connected."""

        def noted(result: Any) -> None:
            if not isinstance(result, BaseException):
                self._transports.append(result[0])
            on_done(result)

        begun = super().create_streaming_connection(protocol_factory, sock, noted, ssl_context, server_hostname)
        self._handshakes.append(begun)
        return begun

    def set_writer(self, fd: int, on_writable: Callable[[], None]) -> None:
        """As pika's own; what waits by then is sent in few pieces."""
        super().set_writer(fd, partial(self._send, on_writable))

    def _send(self, on_writable: Callable[[], None]) -> None:
        for transport in self._transports:
            _join(transport._tx_buffers)  # pika has no way to give it several frames as one
        on_writable()

    def close(self) -> None:
        """Close whatever is open still, in whatever state. Does not raise; safe to repeat."""
        for handshake in self._handshakes:
            handshake.cancel()
        for transport in self._transports:
            if transport._sock is not None:  # pika has no way to close one whose loop does not run
                transport._sock.close()
        for opened in self._opened:
            opened.close()


def _join(waiting: deque[bytes]) -> None:
    """Make few pieces of many. The first never becomes shorter: TLS may be in the midst of it."""
    if len(waiting) < 2:
        return
    joined: list[bytes] = []
    piece: list[bytes] = []
    size = 0
    for frame in waiting:
        if piece and size + len(frame) > _AT_ONCE:
            joined.append(b"".join(piece))
            piece, size = [], 0
        piece.append(frame)
        size += len(frame)
    waiting.clear()
    waiting.extend([*joined, b"".join(piece)])
