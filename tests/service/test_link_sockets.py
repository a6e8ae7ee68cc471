"""A link that ends while it connects leaves no socket to the garbage collector, wherever it stood."""

from __future__ import annotations

import gc
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.transport.broker import BrokerAccess, BrokerError
from gateway.transport.rabbitmq.link import Connection, Link
from tests.support.listening import Listening
from tests.support.patience import PATIENCE, until
from tests.support.tls_listener import TlsListener, Vouched


class _Silent(Listening):
    """Takes connections and says nothing until its end."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.enough = threading.Event(), threading.Event()

    def _speak(self, connection: socket.socket) -> None:
        self.came.set()
        self.enough.wait(PATIENCE)


class _Mute(TlsListener, _Silent):
    """Shows its certificate, and then says nothing."""

    def _speak(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True):
            _Silent._speak(self, connection)


class _Resetting(Listening):
    """Takes connections and resets them at once."""

    def _speak(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Nobody:
    """Watches and lives on a link that never opens."""

    def __init__(self) -> None:
        self.faults: list[BrokerError] = []

    def link_is(self, _link: str, *, is_up: bool) -> None:
        assert not is_up

    def fault(self, _link: str, error: BrokerError) -> None:
        self.faults.append(error)

    def begin(self, _connection: Connection, _done: object) -> None:
        raise AssertionError("it never opens")

    def lost(self) -> None:
        """Nothing was open."""

    def tick(self) -> None:
        """Nothing was open."""


@contextmanager
def _nothing_left() -> Iterator[None]:
    """No socket more than before, though nobody collects garbage."""
    gc.collect()
    gc.disable()
    before = _sockets()
    try:
        yield
        until(lambda: _sockets() <= before)
    finally:
        gc.enable()


def _sockets() -> int:
    found = 0
    for one in os.scandir("/proc/self/fd"):
        try:
            found += os.readlink(one.path).startswith("socket:")
        except FileNotFoundError:  # the descriptor of this very look
            continue
    return found


def _ended(url: str, server: Listening, **files: str) -> _Nobody:
    nobody = _Nobody()
    link = Link("publish", "thử", BrokerAccess.parse(url, **files), nobody, nobody)
    link.start()
    if isinstance(server, _Silent):
        assert server.came.wait(PATIENCE)
    else:
        until(lambda: len(nobody.faults) >= 3)
    link.close(PATIENCE)
    if isinstance(server, _Silent):
        server.enough.set()
    return nobody


def test_before_the_first_word_of_amqp() -> None:
    with _nothing_left(), _Silent() as server:
        _ended(f"amqp://127.0.0.1:{server.port}/truc", server)


def test_in_the_middle_of_the_handshake(tmp_path: Path) -> None:
    ca_file = Vouched.make(tmp_path / "that").ca_file
    with _nothing_left(), _Silent() as server:
        _ended(f"amqps://localhost:{server.port}/truc", server, ca_file=ca_file)


def test_after_the_handshake(tmp_path: Path) -> None:
    vouched = Vouched.make(tmp_path / "that")
    with _nothing_left(), _Mute(vouched) as server:
        _ended(f"amqps://localhost:{server.port}/truc", server, ca_file=vouched.ca_file)


def test_where_the_other_side_resets_at_once() -> None:
    """pika meets a connection that is none any more with an error out of its loop."""
    with _nothing_left(), _Resetting() as server:
        said = _ended(f"amqp://127.0.0.1:{server.port}/truc", server)
    assert {error.reason for error in said.faults} == {"broker.away"}
