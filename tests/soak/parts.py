"""The processes of a province under faults: ended in every way, and started again as a service manager would.

A process that ends by itself while its database or broker is away is no defect: it says so by its exit code, and comes
again.  One that ends by a defect (70), or says what a person must mend, fails the run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.exits import ExitCode
from tests.soak.standstill import MachineClock

__all__ = ["EXCUSED", "Part", "Watch", "environment"]

EXCUSED = frozenset({int(ExitCode.OK), int(ExitCode.STORE), int(ExitCode.BROKER), int(ExitCode.UNFINISHED)})
_GRACE = 45.0
"""Seconds to end in after SIGTERM, as systemd/ and docker/ give them; of a machine that runs."""


def environment(settings: Mapping[str, str], program: Path) -> dict[str, str]:
    """Of a process with these settings (TRUC_… without the prefix) that runs the program in that folder."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    given = {f"TRUC_{name.upper()}": value for name, value in settings.items()}
    return own | given | {"PYTHONPATH": str(program)}


@dataclass(slots=True)
class Part:
    """One process: its role, its settings (TRUC_… without the prefix), the folder of the program that it runs."""

    name: str
    role: str
    settings: Mapping[str, str]
    logs: Path
    program: Path
    clock: MachineClock
    more: Mapping[str, str] = field(default_factory=dict)
    command: str = ""  #: what is run in its place; "": its role
    ends: Counter[int] = field(default_factory=Counter)  #: exit codes of a process that ended by itself
    is_down: bool = False  #: a fault keeps it down
    lock: threading.Lock = field(default_factory=threading.Lock)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        with (self.logs / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway", self.command or self.role],
                env=environment(self.settings, self.program) | dict(self.more), cwd=self.program,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def look(self) -> None:
        """Start it again where it ended by itself; what it ended with is kept."""
        with self.lock:
            if self.is_down or self._process is None or (code := self._process.poll()) is None:
                return
            self.ends[code] += 1
            self.start()

    def take_down(self, how: signal.Signals) -> None:
        """End it by a signal and keep it down. One that does not heed SIGTERM in time is killed: a defect."""
        with self.lock:
            self.is_down = True
            process = self._process
        assert process is not None
        process.send_signal(how)
        if not self.clock.wait(process, _GRACE):
            process.kill()
            process.wait()
            self.ends[-signal.SIGALRM] += 1
        elif how is signal.SIGTERM and process.returncode not in (0, -how):  # -how: it had hardly begun
            self.ends[process.returncode] += 1

    def bring_up(self) -> None:
        """Start it again after `take_down`."""
        with self.lock:
            self.start()
            self.is_down = False

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """End it for good, in whatever state it is. Safe to repeat."""
        with self.lock:
            self.is_down = True
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    @property
    def defects(self) -> list[str]:
        """How it ended that nothing excuses."""
        codes = [code for code in self.ends if code not in EXCUSED]
        return [f"{self.name} ended with {code}, {self.ends[code]} times" for code in codes]

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join((self.logs / f"{self.name}.log").read_text("utf-8", "replace").splitlines()[-lines:])


class Watch(threading.Thread):
    """The service manager: looks at every part, again and again."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        super().__init__(daemon=True, name="watch")
        self._parts = parts
        self.done = threading.Event()

    def run(self) -> None:
        """Until told that it is enough."""
        while not self.done.wait(0.5):
            for part in self._parts.values():
                part.look()

    def stop(self) -> None:
        """Look no more."""
        self.done.set()
        self.join(30)
