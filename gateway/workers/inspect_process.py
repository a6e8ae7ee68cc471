"""The inspector's process as the node sees it: started when there is a file, asked one at a time, ended when idle.

Whatever a file does to it comes back as a verdict: too long, too much memory, or that it ended.  Where the process
cannot even begin (its cage, the folder of trust) no file is to blame, and the files stay due.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from gateway.inspector.jobs import MODULE, NO_ROOM, READY, Job, Orders, read_answer, write_line
from gateway.model.errors import GatewayError
from gateway.model.inspection import FileInspection, InspectionLimits, PdfVerdict
from monitoring import log

__all__ = ["InspectorProcess", "InspectorStopped", "InspectorUnavailable"]

_log = log.get("inspect")
_START: Final = 60.0  # seconds until it must be ready, on a machine that is busy
_GRACE: Final = 5.0  # seconds after which the process ends itself, where this one did not
_LONGEST: Final = 4 << 20  # bytes of an answer
_TRIES: Final = 2  # a process may also die of others: the machine's memory, somebody's kill
_KEPT: Final = ("PATH", "LANG", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables that it needs to start; of tokens, passwords and crash points it learns nothing."""
_SLOW: Final = (-signal.SIGXCPU, -signal.SIGALRM)


class InspectorUnavailable(GatewayError):
    """No file can be inspected now, and none is to blame: it goes on by itself. `reason` is the closest code."""

    code = "inspection.unavailable"
    retryable = True

    def __init__(self, reason: str = code) -> None:
        self.reason = reason
        super().__init__()


class InspectorStopped(InspectorUnavailable):
    """The node ends, perhaps in the middle of a file; it is looked at again after the next start."""

    code = "inspection.stopped"

    def __init__(self) -> None:
        super().__init__(self.code)


class InspectorProcess:
    """One process at a time, asked from one thread; `stop` may be called from another."""

    def __init__(self, limits: InspectionLimits, *, trust: Path, scratch: Path) -> None:
        self._limits = limits
        self._orders = Orders(
            trust=str(trust),
            scratch=str(scratch),
            file=limits.file,
            wall=limits.wall + _GRACE,
            cpu=limits.cpu,
            memory=limits.memory,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_at = self._started_at = 0.0
        self._is_stopped = False

    def ask(self, job: Job) -> FileInspection:
        """One file's inspection, whatever the file does. Raises InspectorUnavailable where it could not be begun."""
        for _ in range(_TRIES):
            answer = self._ask_once(job)
            self._asked_at = time.monotonic()
            if answer is not None:
                return answer
        return FileInspection(verdict=PdfVerdict.CRASHED)

    def end_idle(self) -> None:
        """End the process where it was not asked for so long as the limits say."""
        if self._process is not None and time.monotonic() - self._asked_at >= self._limits.idle:
            self._end()

    def stop(self) -> None:
        """End for good, also in the middle of a file: whoever is asking gets InspectorStopped. Safe to repeat."""
        self._is_stopped = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """After `stop`, once nobody asks any more: nothing of the process stays."""
        self._end()

    def _ask_once(self, job: Job) -> FileInspection | None:
        """None: the process ended, and nobody knows why."""
        if time.monotonic() - self._started_at >= self._limits.life:
            self._end()
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(write_line(job))
            process.stdin.flush()
            answer = read_answer(_read_line(process, self._limits.wall))
        except TimeoutError:
            self._end()
            return FileInspection(verdict=PdfVerdict.TIME)
        except (EOFError, BrokenPipeError, msgspec.DecodeError):
            code = self._end()
            if code == NO_ROOM:
                raise InspectorUnavailable from None
            _log.warning("inspector.ended", process="inspector", status=code)
            return FileInspection(verdict=PdfVerdict.TIME) if code in _SLOW else None
        if answer.is_last:
            self._end()
        return answer.found

    def _start(self) -> subprocess.Popen[bytes]:
        """Raises InspectorUnavailable where it does not get ready, with the reason that it gave."""
        if self._is_stopped:
            raise InspectorStopped
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own module, no shell, nothing of a packet
                [sys.executable, "-m", MODULE, write_line(self._orders).decode().strip()],
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it might quote what it reads
                start_new_session=True,  # a person's Ctrl-C is for the node, which then ends it
            )
        except OSError as why:  # the system has no place for one more process
            raise InspectorUnavailable from why
        try:
            said = _read_line(process, _START).strip()
        except (TimeoutError, EOFError):
            said = b""
        if said == READY:
            self._started_at = time.monotonic()
            return process
        self._end()
        raise InspectorUnavailable(said.decode("ascii", "replace") or InspectorUnavailable.code)

    def _end(self) -> int:
        """Let it go, by force where needed; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # the last job was still in the buffer
                continue
        try:
            return process.wait(0.05)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _read_line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next line. Raises TimeoutError, EOFError where the process ended or says no end."""
    assert process.stdout is not None
    descriptor, said, deadline = process.stdout.fileno(), b"", time.monotonic() + seconds
    waiting = selectors.PollSelector()  # select() refuses descriptors from 1,024 on
    waiting.register(descriptor, selectors.EVENT_READ)
    while not said.endswith(b"\n"):
        if not waiting.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        piece = os.read(descriptor, 1 << 16)
        if not piece or len(said) > _LONGEST:
            raise EOFError
        said += piece
    return said
