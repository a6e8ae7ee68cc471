"""Runs of pytest in a copy of the program, each in a process of its own that need not import the libraries anew.

    with WarmRuns(folder) as runs:                     one process, which imports nothing of the program
        done = runs.run(["-q", "tests/unit"], seconds=60)

That process forks for each run, and has imported what the runs before used of the libraries: half of what a short run
costs.  Of the program it never imports anything: each run sees the files of the folder as they are then.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import pytest

__all__ = ["WarmRuns"]

_LIBRARIES: Final = tuple(sysconfig.get_path(where) for where in ("stdlib", "platstdlib", "purelib", "platlib"))


class WarmRuns:
    """Runs of one folder, one at a time. The children keep nothing compiled: of two defects of the same length that
    are planted within a second the second would be taken for the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRUC_", "PYTEST_"))}
        environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def run(self, arguments: list[str], *, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run pytest with these arguments; a run that takes longer is killed, and its code is that of a kill."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as output:
            self._process.stdin.write(json.dumps([arguments, output.name, seconds]) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(arguments, code, stdout=output.read(), stderr="")


def _serve() -> None:
    """Run what is asked for, line by line, until there is nobody who asks."""
    for line in sys.stdin:
        arguments, output, seconds = json.loads(line)
        assert threading.active_count() == 1, "a copy of a process has one thread"
        with tempfile.TemporaryFile("w+", encoding="utf-8") as used:
            if (child := os.fork()) == 0:
                _run(arguments, output, used)
            code = _end_of(child, seconds)
            used.seek(0)
            _import_too(used.read().split())
        print(code, flush=True)


def _run(arguments: list[str], output: str, used: IO[str]) -> None:
    """The child's life: what it says goes to `output`, which libraries it took to `used`. Never returns."""
    os.setpgid(0, 0)
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, output, os.O_WRONLY)):
        opened = os.open(path, mode | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    code = 70
    try:
        code = int(pytest.main([*arguments, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
        print(*(name for name, module in list(sys.modules.items()) if _is_library(name, module)), file=used, flush=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_library(name: str, module: Any) -> bool:
    """Whether a module was imported under its own name from a file of Python or of an installed library."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None) or ""
    return getattr(spec, "name", None) == name and origin.startswith(_LIBRARIES)


def _import_too(names: list[str]) -> None:
    """Import what a child used, so that the next one has it. What cannot be imported alone, that one imports itself."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def _end_of(child: int, seconds: float) -> int:
    """Wait for a run; whoever takes longer is killed with all that it started."""
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    _serve()
