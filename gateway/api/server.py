"""The server: uvicorn on a socket of ours, one worker."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from gateway.api.app import create_app
from gateway.api.front import Front
from gateway.api.protocol import HeadBoundProtocol, widen_descriptors
from gateway.node import Node
from gateway.settings import Settings
from monitoring import log

__all__ = ["ApiServer", "Listening", "run_api"]

_log = log.get("api.server")

_KEEP_ALIVE = 75
_GRACE = 20.0
_LAST = 2.5
_BACKLOG = 2_048
_TICK = 1.0

Listening = Callable[[str, int], None]


class ApiServer(uvicorn.Server):
    """One API process's server. `stop` may be called from any thread.

    `grace`: seconds that what was begun has to be answered once it ends.
    """

    grace = _GRACE

    def __init__(
        self,
        front: Front,
        settings: Settings,
        on_listening: Listening | None = None,
        on_told: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                front,
                loop="uvloop",
                http=HeadBoundProtocol,
                ws="none",
                lifespan="on",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE,
                backlog=_BACKLOG,
            )
        )
        self._front = front
        self._socket = _listen(settings.host, settings.port)
        self._on_listening = on_listening
        self._on_told = on_told
        self._was_told = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that it really has."""
        return int(self._socket.getsockname()[1])

    def serve_until_stopped(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; then answer what was begun, for at most 20 s, and end."""
        try:
            self.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Take no new connections, send long polls home, end. Safe to repeat."""
        self.should_exit = True
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)

    async def main_loop(self) -> None:
        """Once a second what uvicorn does ten times a second: half of an idle node's processor time were its wakes."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._ending.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends what was begun; the second ends the process at once, as the system does it."""
        if self._was_told:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._was_told = self.should_exit = True
        if self._on_told is not None:
            self._on_told()
        self._wake()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT while serving, in the main thread. uvicorn would raise them again at the end and so
        kill the process; whoever runs us still has a node to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            host = str(self._socket.getsockname()[0])
            _log.info("api.listening", port=self.port)
            if self._on_listening is not None:
                self._on_listening(host, self.port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._front.edge.bell.send_everybody_home()
        await super().shutdown(sockets)

    async def _wait_tasks_to_complete(self) -> None:
        """As uvicorn's own, which would wait without an end; whoever is cut off then is told, and all are one line."""
        try:
            async with asyncio.timeout(self.grace):
                await super()._wait_tasks_to_complete()
        except TimeoutError:
            left = set(self.server_state.tasks)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=_LAST)
            _log.info("api.cut_off", count=self._front.cut_off)


def _listen(host: str, port: int) -> socket.socket:
    """Raises OSError where the port is taken or is not ours to have."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except BaseException:
        opened.close()
        raise
    opened.set_inheritable(False)
    return opened


def run_api(
    node: Node,
    settings: Settings,
    *,
    on_listening: Listening | None = None,
    on_told: Callable[[], None] | None = None,
) -> None:
    """Serve the API until the process is told to end; `on_listening(host, port)` when it takes connections, `on_told()`
    when a signal tells it to end (from the signal's handler), before what was begun is answered.

    Raises OSError where the address cannot be had. The node stays open: whoever built it closes it.
    """
    widen_descriptors()
    ApiServer(create_app(node, settings), settings, on_listening, on_told).serve_until_stopped()
