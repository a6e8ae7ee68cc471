"""Ear: one thread that waits on all sockets of a transport, asleep in the kernel until one has something."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from monitoring import log

__all__ = ["LARGEST_MESSAGE", "Answer", "Ear"]

LARGEST_MESSAGE: Final = 60_000
"""Bytes in one message between processes, either way."""

Answer = Callable[[bytes], bytes | None]
"""Gets one message; gives the answer to send back, if any. Runs in the ear's thread: it must not block."""

_PER_TURN: Final = 64  # messages read from one socket before the others get their turn

_log = log.get("gateway.transport")


class Ear:
    """Reads messages from listening and datagram sockets and answers them.

    The thread starts with the first socket.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._selector = selectors.DefaultSelector()
        self._errands: deque[Callable[[], None]] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._bell, selectors.EVENT_READ, self._run_errands)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def attend(self, opened: socket.socket, answer: Answer) -> None:
        """Read `opened` from now on. A listening socket's connections are read until they end."""
        listens = opened.type != socket.SOCK_DGRAM
        read = (lambda: self._accept(opened, answer)) if listens else (lambda: self._read(opened, answer))
        self._send_errand(lambda: self._register(opened, read))

    def leave(self, opened: socket.socket) -> None:
        """Read `opened` no more and close it. Connections made through it stay."""
        self._send_errand(lambda: self._hang_up(opened))

    def close(self, timeout: float = 5.0) -> None:
        """Close all sockets and end the thread, waiting up to `timeout` seconds. Safe to repeat."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            thread = self._thread
            if not was_closed and thread is not None:
                os.eventfd_write(self._bell, 1)
        if thread is None:
            if not was_closed:
                self._close_all()
        elif thread is not threading.current_thread():
            thread.join(timeout)

    def _send_errand(self, errand: Callable[[], None]) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._errands.append(errand)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name=f"{self._name}-ear", daemon=True)
                self._thread.start()
            os.eventfd_write(self._bell, 1)

    def _listen(self) -> None:
        try:
            while not self._is_closed:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            self._close_all()

    def _run_errands(self) -> None:
        os.eventfd_read(self._bell)
        while self._errands:
            self._errands.popleft()()

    def _register(self, opened: socket.socket, read: Callable[[], None]) -> None:
        self._selector.register(opened, selectors.EVENT_READ, read)

    def _accept(self, listening: socket.socket, answer: Answer) -> None:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        except OSError:
            # Out of file descriptors: the connection stays in the backlog and would wake us at once again.
            _log.exception("transport.accept_failed")
            time.sleep(0.1)
            return
        connection.setblocking(False)
        self._register(connection, lambda: self._read(connection, answer))

    def _read(self, opened: socket.socket, answer: Answer) -> None:
        """Read what is there. A message that makes no sense ends its connection, not the ear."""
        is_connection = opened.type != socket.SOCK_DGRAM
        try:
            for _ in range(_PER_TURN):
                message = opened.recv(LARGEST_MESSAGE)
                if is_connection and not message:
                    self._hang_up(opened)
                    return
                reply = answer(message)
                if reply is not None:
                    opened.send(reply)
        except BlockingIOError:
            return
        except ConnectionError:
            self._hang_up(opened)
        except Exception:  # noqa: BLE001 - whatever a stranger sends, the ear goes on
            _log.exception("transport.message_unread")
            if is_connection:
                self._hang_up(opened)

    def _hang_up(self, opened: socket.socket) -> None:
        try:
            self._selector.unregister(opened)
        except (KeyError, ValueError):
            pass
        opened.close()

    def _close_all(self) -> None:
        with self._lock:  # whoever rings the bell holds it
            errands = tuple(self._errands)
        for errand in errands:
            errand()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._bell)
