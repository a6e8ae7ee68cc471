"""Real processes of a node under test: `python -m gateway serve|api|relay|deliver|periodic|intake|inspect`.

    with NodeProcesses(home) as node:
        node.start("serve", crash_at="accept.committed")
        …                                             clients work
        node.wait_killed("serve")                     it died exactly there
        node.start("serve")                           and goes on

Ready is what the process itself says (`--ready-fd`).  Ports are 0 at first and kept over restarts.  Only processes
that were started here are ever ended, each by its pid.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from edxml.crashpoints import ENVIRONMENT

__all__ = ["ROLES", "NodeProcesses", "SmallDisk", "free_ports", "need_program"]

ROLES: Final = ("api", "relay", "deliver", "periodic", "intake", "inspect")
"""The parts of a node that may run apart."""

_REPOSITORY = Path(__file__).parents[2]
_START: Final = 300.0  # seconds, on a machine however busy
_SHRINKS: Final = 50  # tries


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those that the system gives to whoever connects: a server that is away
    for a while finds its own free again."""
    dice, opened = random.SystemRandom(), list[socket.socket]()
    while len(opened) < count:
        each = socket.socket()
        try:
            each.bind(("127.0.0.1", dice.randrange(12_000, 32_000)))
        except OSError:
            each.close()
            continue
        opened.append(each)
    ports = [int(each.getsockname()[1]) for each in opened]
    for each in opened:
        each.close()
    return ports


def need_program(program: str, package: str) -> str:
    """The path of a program, installing its Debian package where it is missing. Raises AssertionError; never skips.

    Several test processes may ask at once: one installs, the others wait for it.
    """
    if (found := shutil.which(program)) is not None:
        return found
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(Path(tempfile.gettempdir()) / "truc-test-packages.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shutil.which(program) is None:
            for command in (
                ["apt-get", "update", "-q"],
                ["apt-get", "install", "-qy", "--no-install-recommends", package],
            ):
                subprocess.run([*_as_root(), *command], env=quiet, check=True, capture_output=True, timeout=300)
    found = shutil.which(program)
    assert found is not None, f"{program} is missing, and the Debian package {package} did not bring it"
    return found


def _as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


@dataclass(slots=True)
class SmallDisk:
    """A disk of its own for a test (tmpfs): `with SmallDisk(path, mib=8) as disk`. Needs root or sudo; never skips."""

    path: Path
    mib: int

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self._mount("tmpfs", f"size={self.mib}m,mode=0777")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*_as_root(), "umount", "-l", str(self.path)], check=True, capture_output=True)

    def remount(self, options: str) -> None:
        """Change it while it is used: `ro`, `rw`, `size=64m`."""
        self._mount("tmpfs", f"remount,{options}")

    def shrink(self, room: int) -> None:
        """Leave `room` bytes beside what is used; measured anew where somebody wrote more before the disk shrank."""
        for _ in range(_SHRINKS):
            seen = os.statvfs(self.path)
            used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize
            done = self._try_mount("tmpfs", f"remount,size={(used + room) >> 10}k")
            if done.returncode == 0:
                return
        raise AssertionError(f"a small disk did not shrink to what is used: {done.stderr}")

    def _mount(self, kind: str, options: str) -> None:
        done = self._try_mount(kind, options)
        assert done.returncode == 0, f"this test needs to mount a small disk: {done.stderr}"

    def _try_mount(self, kind: str, options: str) -> subprocess.CompletedProcess[str]:
        command = [*_as_root(), "mount", "-t", kind, "-o", options, "truc-test", str(self.path)]
        return subprocess.run(command, check=False, capture_output=True, text=True)


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    ready: IO[bytes]
    is_frozen: bool = False


@dataclass(slots=True)
class NodeProcesses:
    """The processes of one node, one per role. `settings` are `TRUC_…` variables without the prefix."""

    data: Path
    settings: dict[str, str] = field(default_factory=dict)
    logs: Path | None = None
    port: int = 0  #: of the API, once one was started
    kills: int = 0
    freezes: int = 0
    _running: dict[str, _Running] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(patience=0.0 if kind else 15.0)

    @property
    def url(self) -> str:
        """Where the API listens."""
        assert self.port, "no API was started"
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        """What a process is started with: nothing of the tester's own TRUC_ variables."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
        values = {"data": str(self.data), "port": str(self.port), **self.settings, **more}
        return own | {f"TRUC_{name.upper()}": value for name, value in values.items()}

    def run(self, *arguments: str, crash_at: str = "") -> subprocess.CompletedProcess[str]:
        """A command that ends by itself, with the node's settings."""
        environment = self.environment() | ({ENVIRONMENT: crash_at} if crash_at else {})
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env=environment, cwd=_REPOSITORY, capture_output=True, text=True, timeout=_START, check=False,
        )  # fmt: skip

    def start(self, role: str, *, crash_at: str = "") -> None:
        """Start a role's process; returns when it says that it is ready, or has died at `crash_at`."""
        self.launch(role, crash_at=crash_at)
        self.await_ready(role, may_die=bool(crash_at))

    def launch(self, role: str, *, crash_at: str = "") -> None:
        """Start a role's process without waiting for it."""
        assert role not in self._running, f"{role} is running"
        environment = self.environment() | ({ENVIRONMENT: crash_at} if crash_at else {})
        reading, writing = os.pipe()
        try:
            with self.log(role).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "gateway", role, "--ready-fd", str(writing)],
                    env=environment, cwd=_REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=[writing],
                )  # fmt: skip
        finally:
            os.close(writing)
        self._running[role] = _Running(process, os.fdopen(reading, "rb", buffering=0))

    def await_ready(self, role: str, *, may_die: bool = False) -> None:
        """Wait for the READY line of a launched process."""
        one = self._running[role]
        said, deadline = b"", time.monotonic() + _START
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([one.ready], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"{role} was not ready in {_START:.0f} s:\n{self.tail(role)}"
            if not (piece := one.ready.read(4096)):
                code = one.process.wait()
                assert may_die, f"{role} ended with {code}:\n{self.tail(role)}"
                assert code == -signal.SIGKILL, f"{role} ended with {code}:\n{self.tail(role)}"
                return
            said += piece
        words = dict(word.split("=", 1) for word in said.decode().split() if "=" in word)
        if role in ("serve", "api"):
            self.port = int(words["port"])

    def log(self, role: str) -> Path:
        """The file that the role's processes write their log to."""
        folder = self.logs or self.data.parent / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{role}.log"

    def tail(self, role: str, lines: int = 25) -> str:
        """The end of the role's log, for the failing test's message."""
        return "\n".join(self.log(role).read_text("utf-8", "replace").splitlines()[-lines:])

    def pid(self, role: str) -> int:
        """The process id of a running role."""
        return self._running[role].process.pid

    def running(self) -> tuple[str, ...]:
        """Roles that were started and not ended by the test."""
        return tuple(self._running)

    def wait_killed(self, role: str, seconds: float = _START) -> None:
        """Wait until the process died by SIGKILL, as one does at its crash point."""
        one = self._running[role]
        try:
            code = one.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{role} did not die in {seconds:.0f} s:\n{self.tail(role)}") from None
        assert code == -signal.SIGKILL, f"{role} ended with {code}:\n{self.tail(role)}"
        self._forget(role)

    def kill(self, role: str) -> None:
        """kill -9, and wait until it is gone. A process that had died by itself is a defect."""
        one = self._running[role]
        assert one.process.poll() is None, f"{role} ended by itself with {one.process.returncode}:\n{self.tail(role)}"
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        self.kills += 1
        self._forget(role)

    def freeze(self, role: str) -> None:
        """SIGSTOP: as a machine that hangs."""
        self._running[role].process.send_signal(signal.SIGSTOP)
        self._running[role].is_frozen = True
        self.freezes += 1

    def thaw(self, role: str) -> None:
        """SIGCONT."""
        self._running[role].process.send_signal(signal.SIGCONT)
        self._running[role].is_frozen = False

    def process(self, role: str) -> subprocess.Popen[bytes]:
        """A process that was started here, for signals of the test's own."""
        return self._running[role].process

    def assert_alive(self) -> None:
        """No process ended by itself."""
        for role, one in self._running.items():
            assert one.process.poll() is None, f"{role} ended with {one.process.returncode}:\n{self.tail(role)}"

    def stop(self, patience: float = 35.0) -> None:
        """SIGTERM to all; what does not end in `patience` seconds is killed, and fails the test unless that is 0.

        Less than the 40 s after which a process that hangs cuts itself short (TRUC_END_WITHIN): that is no way to end.
        """
        for one in self._running.values():
            if one.is_frozen:
                one.process.send_signal(signal.SIGCONT)
            if one.process.poll() is None:
                one.process.terminate() if patience else one.process.kill()
        late, deadline = [], time.monotonic() + patience
        for role in tuple(self._running):
            process = self._running[role].process
            try:
                process.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                late.append(role)
            self._forget(role)
        assert not late or not patience, f"still running {patience:.0f} s after SIGTERM: {late}"

    def _forget(self, role: str) -> None:
        self._running.pop(role).ready.close()
