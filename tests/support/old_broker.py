"""A broker that is older than we need: speaks AMQP 0-9-1 as far as saying who it is and opening a connection."""

from __future__ import annotations

import socket
import struct

from tests.support.listening import Listening

__all__ = ["OldBroker"]

_START, _TUNE, _OPEN_OK, _CLOSE_OK = (10, 10), (10, 30), (10, 41), (10, 51)
_TUNE_OK, _OPEN, _CLOSE = (10, 31), (10, 40), (10, 50)


class OldBroker(Listening):
    """Takes anybody in and says that it is RabbitMQ `version`."""

    def __init__(self, version: str = "3.13.7") -> None:
        super().__init__()
        self._version = version.encode()

    def _speak(self, connection: socket.socket) -> None:
        connection.recv(8)  # AMQP 0 0 9 1
        said = _table({b"product": b"RabbitMQ", b"version": self._version})
        connection.sendall(_method(_START, b"\0\x09" + said + _long(b"PLAIN") + _long(b"en_US")))
        _read(connection)  # start-ok
        connection.sendall(_method(_TUNE, struct.pack(">HIH", 10, 131072, 0)))
        while method := _read(connection):
            if method == _OPEN:
                connection.sendall(_method(_OPEN_OK, b"\0"))
            elif method == _CLOSE:
                connection.sendall(_method(_CLOSE_OK, b""))
                return


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _table(values: dict[bytes, bytes]) -> bytes:
    return _long(b"".join(bytes([len(key)]) + key + b"S" + _long(value) for key, value in values.items()))


def _method(number: tuple[int, int], arguments: bytes) -> bytes:
    body = struct.pack(">HH", *number) + arguments
    return struct.pack(">BHI", 1, 0, len(body)) + body + b"\xce"


def _read(connection: socket.socket) -> tuple[int, int] | None:
    """The class and number of the next method; None at the end."""
    head = connection.recv(7, socket.MSG_WAITALL)
    if len(head) < 7:
        return None
    size = struct.unpack(">BHI", head)[2]
    body = connection.recv(size + 1, socket.MSG_WAITALL)
    return struct.unpack(">HH", body[:4])
