"""Ctrl+C and SIGTERM at any moment of a command: a sentence once the program is loaded, never a trace of calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import os, sys, weakref
from gateway.__main__ import run

module, number, is_thrown_away = sys.argv[1], int(sys.argv[2]), bool(sys.argv[3])

class Stopper:
    def find_spec(self, name, path=None, target=None):
        if name != module:
            return
        if not is_thrown_away:
            os.kill(os.getpid(), number)
            return
        thing = Stopper()
        self.watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))

sys.meta_path.insert(0, Stopper())
del sys.argv[1:4]
run()
"""
"""`truc`, to which a signal comes while it loads a module, or while something is thrown away there."""


def stopped(
    module: str, number: signal.Signals, *arguments: str, is_thrown_away: bool = False
) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-c", _RUN, module, str(int(number)), "1" if is_thrown_away else "", *arguments],
            cwd=Path(__file__).parents[4], stdin=reading, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    finally:
        os.close(reading)
        os.close(writing)


def test_ctrl_c_while_the_program_is_loaded_leaves_no_trace_of_calls() -> None:
    done = stopped("gateway.cli", signal.SIGINT, "version")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_told_to_stop_says_so(number: signal.Signals, code: int, tmp_path: Path) -> None:
    done = stopped("gateway.cli.packet", number, "packet", "check", str(tmp_path), "--lang", "en")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "Stopped as asked.\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_nobody_can_be_told_of_is_said_again(number: signal.Signals, code: int) -> None:
    """It came within a callback of something that is thrown away: Python prints a trace, and goes on."""
    done = stopped("gateway.cli.packet", number, "packet", "check", "-", "--lang", "en", is_thrown_away=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "Stopped as asked.\n")


def test_a_part_of_a_node_is_ended_by_a_signal_that_comes_before_it_listens() -> None:
    done = stopped("gateway.cli.node", signal.SIGTERM, "relay")
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
