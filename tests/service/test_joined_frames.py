"""Frames that wait for the broker's socket go out in few pieces, in their order, with TLS and without."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from pika.adapters.select_connection import IOLoop

from gateway.transport.rabbitmq.sockets import Sockets
from tests.support.listening import Listening
from tests.support.patience import PATIENCE
from tests.support.tls_listener import TlsListener, Vouched

_DATA_SEGMENTS_OUT = struct.Struct("=156xI")  # tcp_info.tcpi_data_segs_out


class _Reading(Listening):
    """Reads until `wanted` bytes have come, slowly where it is told to; `digest` and `size` are of all that came."""

    is_slow, wanted = False, 0

    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self.digest, self.size, self.is_read = hashlib.sha256(), 0, threading.Event()

    def _speak(self, connection: socket.socket) -> None:
        while self.size < self.wanted and (piece := connection.recv(1 << 16)):
            self.digest.update(piece)
            self.size += len(piece)
            if self.is_slow:
                threading.Event().wait(0.001)
        self.is_read.set()
        connection.recv(1)  # the other side ends it


class _ReadingTls(_Reading, TlsListener):
    def _speak(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as secured:
            _Reading._speak(self, secured)


class _Protocol:
    """Ends the loop with the connection."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _error: BaseException | None) -> None:
        self._loop.stop()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        """The other side says nothing of its own."""


def _send(server: _Reading, rounds: list[list[bytes]], trust: ssl.SSLContext | None = None) -> int:
    """Give the transport one round after the other, each in one step of the loop; how many packets with data left."""
    server.is_slow, server.wanted = len(rounds) > 1, sum(len(frame) for frames in rounds for frame in frames)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as pika does
        plain.setblocking(False)
        loop = IOLoop()
        sockets, protocol, left = Sockets(loop), _Protocol(loop), iter(rounds)
        counted: list[int] = []

        def go_on() -> None:
            transport = protocol.transport
            if (frames := next(left, None)) is not None:
                for frame in frames:
                    transport.write(frame)
                loop.call_later(0, go_on)
            elif not server.is_read.is_set():
                loop.call_later(0.005, go_on)
            else:
                counted.append(_segments(transport._sock))
                transport.abort()

        def begin(result: Any) -> None:
            assert not isinstance(result, BaseException), result
            counted.append(_segments(protocol.transport._sock))
            go_on()

        sockets.create_streaming_connection(
            lambda: protocol, plain, begin, ssl_context=trust, server_hostname="localhost" if trust else None
        )
        loop.call_later(PATIENCE, loop.stop)
        try:
            loop.start()
        finally:
            sockets.close()
            loop.close()
    assert server.is_read.is_set()
    return counted[1] - counted[0]


def _segments(connected: socket.socket) -> int:
    found: int = _DATA_SEGMENTS_OUT.unpack(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160))[0]
    return found


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[_Reading, ssl.SSLContext | None]:
    if not request.param:
        return _Reading(), None
    vouched = Vouched.make(tmp_path / "that")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(vouched.ca_file)
    return _ReadingTls(vouched), trust


def test_a_thousand_frames_are_few_packets(serving: tuple[_Reading, ssl.SSLContext | None]) -> None:
    frames = [b"%04d" % number * 20 for number in range(1_000)]
    with serving[0] as server:
        assert _send(server, [frames], serving[1]) <= 12
        assert (server.size, server.digest.hexdigest()) == (80_000, hashlib.sha256(b"".join(frames)).hexdigest())


def test_nothing_is_lost_or_out_of_order_while_the_other_side_is_slow(
    serving: tuple[_Reading, ssl.SSLContext | None],
) -> None:
    """More comes while a piece is half sent: it grows behind what is under way."""
    chance = random.Random(7)
    rounds = [
        [chance.randbytes(chance.choice((8, 90, 4_000, 131_072))) for _ in range(chance.randrange(1, 40))]
        for _ in range(60)
    ]
    whole = b"".join(frame for frames in rounds for frame in frames)
    with serving[0] as server:
        _send(server, rounds, serving[1])
        assert (server.size, server.digest.hexdigest()) == (len(whole), hashlib.sha256(whole).hexdigest())
