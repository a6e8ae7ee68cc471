"""A stand-in server: listens on a port of its own until its block ends, and answers one connection after the other."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from typing import Self

__all__ = ["Listening"]


class Listening(ABC):
    """Listens on `port` of this machine until its block ends."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    @abstractmethod
    def _speak(self, connection: socket.socket) -> None:
        """Answer one connection; an OSError ends it, because whoever asked may go at any moment."""

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = self._listening.accept()
                connection.settimeout(10)
                with connection, contextlib.suppress(OSError):
                    self._speak(connection)
