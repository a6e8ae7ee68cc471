"""Whoever ends a soak leaves nothing running, whatever the soak had started and however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_HOUSE = Path(__file__).parents[2]
_SOAK = """
import os, signal, subprocess, sys, time
from tests.soak.guard import guarded

def work():
    away = subprocess.Popen(["sleep", "600"], start_new_session=True)   # as a server's own children are
    stopped = subprocess.Popen(["sleep", "600"])
    stopped.send_signal(signal.SIGSTOP)
    print(os.getpid(), away.pid, stopped.pid, flush=True)
    {then}

sys.exit(guarded(work, grace={grace}))
"""


def begin(then: str, grace: float = 60) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SOAK.format(then=then, grace=grace)], cwd=_HOUSE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 3
    return process, pids


def end(process: subprocess.Popen[str], pids: list[int]) -> int:
    code = process.wait(90)
    assert process.stdout is not None
    process.stdout.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_end_takes_everything_along(number: signal.Signals) -> None:
    process, pids = begin("time.sleep(600)")
    process.send_signal(number)
    assert end(process, pids) == 128 + signal.SIGTERM


def test_the_soak_takes_down_its_province_before(tmp_path: Path) -> None:
    mark = tmp_path / "down"
    process, pids = begin(
        f"\n    try:\n        time.sleep(600)\n    finally:\n        open({str(mark)!r}, 'w').close()"
    )
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    end(process, pids)
    assert mark.exists()


def test_one_that_heeds_nothing_is_killed() -> None:
    process, pids = begin("\n    while True:\n        try: time.sleep(600)\n        except SystemExit: pass", grace=0.2)
    process.send_signal(signal.SIGTERM)
    assert end(process, pids) == 128 + signal.SIGKILL


def test_a_soak_that_is_killed_or_ends_by_itself_leaves_nothing_either() -> None:
    process, pids = begin("time.sleep(600)")
    os.kill(pids[0], signal.SIGKILL)
    assert end(process, pids) == 128 + signal.SIGKILL
    process, pids = begin("return 3")
    assert end(process, pids) == 3
