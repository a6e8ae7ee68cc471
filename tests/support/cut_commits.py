"""A cable to PostgreSQL that breaks at the COMMIT of a writing transaction: before the server got it, or after.

    with CutCommits(url) as cable:
        store = open_store(…, database=cable.url)
        cable.cut(Cut.ANSWER, nth=2)     the second COMMIT of a write from now on is done, and nobody is told

Reading transactions commit too and are not counted.  Nothing is timed: the cable breaks at the very message.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from enum import Enum, auto
from types import TracebackType
from typing import Final, Self

from sqlalchemy.engine import make_url

__all__ = ["Cut", "CutCommits"]

_COMMIT: Final = re.compile(rb"\x00COMMIT_\d+\x00")
"""The name under which it was prepared, where it is executed."""
_READY: Final = b"Z\x00\x00\x00\x05I"
"""The server's last words of a trip, where no transaction is open."""
_READS: Final = b"READ ONLY"
_LARGEST: Final = 1 << 16


class Cut(Enum):
    """What is lost."""

    COMMIT = auto()  #: the server never gets it: it undoes the transaction
    ANSWER = auto()  #: the server does it, and nobody is told


class CutCommits:
    """The cable. Connections through it end with it."""

    def __init__(self, url: str) -> None:
        address = make_url(url)
        self._server = (str(address.host), int(address.port or 5432))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = address.set(port=self._listening.getsockname()[1]).render_as_string(hide_password=False)
        self.cuts = 0  #: how often it broke
        self._cut: Cut | None = None
        self._left = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in tuple(self._threads):
            thread.join(10)
        self._listening.close()

    def cut(self, what: Cut, nth: int = 1) -> None:
        """Break once, at the nth COMMIT of a writing transaction from now on."""
        with self._lock:
            self._cut, self._left = what, nth

    def _begin(self, work: object, *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            readable, _, _ = select.select([self._listening], [], [], 0.1)
            if readable:
                client, _ = self._listening.accept()
                self._begin(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        """Both ways, until either side ends or the cable breaks."""
        with client, socket.create_connection(self._server) as server:
            said = b""  # what the client said since its last BEGIN
            while not self._stopping.is_set():
                readable, _, _ = select.select([client, server], [], [], 0.1)
                for one in readable:
                    try:
                        piece = one.recv(_LARGEST)
                    except ConnectionError:
                        return
                    if not piece:
                        return
                    if one is server:
                        client.sendall(piece)
                        continue
                    said = (said + piece)[-_LARGEST:]
                    begun = said.rpartition(b"BEGIN")[2] if b"BEGIN" in said else said
                    if _COMMIT.search(piece) and _READS not in begun and (cut := self._due()) is not None:
                        self._break(cut, piece, server)
                        return
                    server.sendall(piece)

    def _due(self) -> Cut | None:
        with self._lock:
            if self._cut is None:
                return None
            self._left -= 1
            if self._left:
                return None
            cut, self._cut = self._cut, None
            self.cuts += 1
            return cut

    @staticmethod
    def _break(cut: Cut, piece: bytes, server: socket.socket) -> None:
        if cut is Cut.ANSWER:
            server.sendall(piece)
            told = b""
            while not told.endswith(_READY) and (more := server.recv(_LARGEST)):
                told += more
