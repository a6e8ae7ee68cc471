"""Real processes of a node under trial: started, killed with -9, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["Fleet"]


class Fleet:
    """The processes of one node, one per role. Only processes started here are ever ended, by pid."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment = os.environ | environment
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._starting = ThreadPoolExecutor(1, "starting")
        self._has_ended = False
        self.kills: dict[str, int] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, role: str, *options: str) -> None:
        """Start a role's process; its log goes to a file of its own.

        A thread does it that no signal interrupts: a process that was just made would be nobody's.
        """
        self._starting.submit(self._start, role, options).result()

    def _start(self, role: str, options: Sequence[str]) -> None:
        with (self._logs / f"{role}.log").open("ab") as log:
            self._running[role] = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "gateway", role, *options],
                env=self._environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def kill(self, role: str, *options: str, pause: float = 0.3) -> None:
        """kill -9, wait until it is gone, start it again; nothing once all are told to stop."""
        with self._lock:
            if self._has_ended:
                return
            process = self._running[role]
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.kills[role] = self.kills.get(role, 0) + 1
            time.sleep(pause)
            self.start(role, *options)

    def dead(self) -> list[str]:
        """Roles whose process ended by itself: a fault of the node."""
        return [role for role, process in self._running.items() if process.poll() is not None]

    def last_words(self, role: str) -> str:
        """The last line of a role's log, beside its name: why it is not there."""
        lines = (self._logs / f"{role}.log").read_text("utf-8", "replace").splitlines()
        return f"{role}: {lines[-1] if lines else '–'}"

    def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM to all, then wait; SIGKILL for what does not end in time. None is started afterwards."""
        with self._lock:
            self._has_ended = True
        self._starting.shutdown()
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + timeout
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
