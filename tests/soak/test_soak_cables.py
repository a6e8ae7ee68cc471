"""What a cable does to what goes through it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.cables import Cable, CableFault


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that gives back what it gets; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.fixture
def cable(echo: int) -> Iterator[Cable]:
    with Cable(("127.0.0.1", echo)) as laid:
        yield laid


def connect(cable: Cable) -> socket.socket:
    return socket.create_connection(("127.0.0.1", cable.port), timeout=20)


def said(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    found = b""
    while len(found) < len(words) and (piece := connection.recv(1 << 16)):
        found += piece
    return found


def talk_on(connection: socket.socket, words: bytes) -> None:
    """Until it breaks; an orderly end is none."""
    while True:
        connection.sendall(words)
        assert connection.recv(1 << 16) != b"", "ended as if all were well"


def talk_on_anew(cable: Cable) -> None:
    with connect(cable) as connection:
        talk_on(connection, b"x")


def test_a_sound_cable_passes_everything_and_ends_when_either_does(cable: Cable) -> None:
    with connect(cable) as connection:
        words = bytes(range(256)) * 4_000
        sender = threading.Thread(target=connection.sendall, args=(words,))
        sender.start()
        found = b""
        while len(found) < len(words):
            found += connection.recv(1 << 16)
        sender.join()
        assert found == words
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_a_cut_cable_resets_what_is_open_and_what_is_new_until_it_is_whole(cable: Cable) -> None:
    with connect(cable) as connection:
        assert said(connection, b"xin") == b"xin"
        cable.set(CableFault.CUT)
        with pytest.raises(ConnectionError):
            assert connection.recv(1) != b""
    with pytest.raises(ConnectionError):  # perhaps while it connects
        talk_on_anew(cable)
    cable.set(CableFault.NONE)
    with connect(cable) as connection:
        assert said(connection, b"chao") == b"chao"


def test_a_half_open_cable_swallows_and_tells_nobody_until_it_heals(cable: Cable) -> None:
    with connect(cable) as connection, connect(cable) as idle:
        assert said(connection, b"xin") == b"xin"
        assert said(idle, b"xin") == b"xin"
        cable.set(CableFault.HALF_OPEN)
        connection.sendall(b"mat")
        end = time.monotonic() + 20
        while cable.swallowed < 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert cable.swallowed == 3
        assert select.select([connection], [], [], 0)[0] == []
        cable.set(CableFault.NONE)
        with pytest.raises(ConnectionError):
            assert connection.recv(1) != b""
        assert said(idle, b"con") == b"con"  # it lost nothing


def test_a_resetting_cable_breaks_in_the_middle_of_a_body(cable: Cable) -> None:
    cable.set(CableFault.RESET)
    with connect(cable) as connection:
        assert said(connection, b"x" * 1_000) == b"x" * 1_000
        with pytest.raises(ConnectionError):
            talk_on(connection, b"x" * 3_000)


def test_a_slow_cable_passes_everything(cable: Cable) -> None:
    cable.set(CableFault.SLOW)
    with connect(cable) as connection:
        assert said(connection, b"cham" * 500) == b"cham" * 500


def test_a_cable_to_nobody_resets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Cable(("127.0.0.1", port)) as cable, pytest.raises(ConnectionError):
        talk_on_anew(cable)
