"""Sockets: pika's services on one loop, which remember what they opened.

pika closes a socket when its loop runs to the connection's end.  A loop that is stopped while it connects, or that an
error ends, would leave the socket to the garbage collector, and its descriptor open until that comes.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

__all__ = ["Sockets"]


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

    def close(self) -> None:
        """Close whatever is open still, in whatever state. Does not raise; safe to repeat."""
        for handshake in self._handshakes:
            handshake.cancel()
        for transport in self._transports:
            if transport._sock is not None:  # pika has no way to close one whose loop does not run
                transport._sock.close()
        for opened in self._opened:
            opened.close()
