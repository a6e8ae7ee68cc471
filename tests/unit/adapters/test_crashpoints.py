"""edxml.crashpoints: a named place costs nothing, and kills for certain when told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import timeit

import pytest

from edxml.crashpoints import ENVIRONMENT, POINTS, crash_point, declare

SCRIPT = """
from edxml.crashpoints import crash_point, declare
declare("trial.step", "a step")
for number in range(3):
    crash_point("trial.step")
    print(number, flush=True)
"""


def run(target: str, script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, ENVIRONMENT: target}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(("target", "printed"), [("trial.step", ""), ("trial.step:3", "0\n1\n")])
def test_the_nth_passing_kills(target: str, printed: str) -> None:
    done = run(target)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, printed)


@pytest.mark.parametrize("target", ["trial.other", "trial.step:4", ""])
def test_another_place_does_not(target: str) -> None:
    assert run(target).returncode == 0


@pytest.mark.parametrize("target", ["trial", "trial.step:0", "trial.step:x", "Trial.Step"])
def test_a_target_that_is_not_well_made_stops_the_process_at_import(target: str) -> None:
    done = run(target)
    assert done.returncode == 1
    assert "ValueError" in done.stderr


def test_an_armed_process_refuses_an_undeclared_name() -> None:
    done = run("trial.step", "from edxml.crashpoints import crash_point\ncrash_point('trial.mispelt')")
    assert "LookupError" in done.stderr


def test_a_name_has_one_meaning() -> None:
    try:
        assert declare("trial.meaning", "one") == "trial.meaning"
        declare("trial.meaning", "one")
        with pytest.raises(ValueError, match="already means"):
            declare("trial.meaning", "two")
    finally:
        POINTS.pop("trial.meaning", None)
    with pytest.raises(ValueError, match="form"):
        declare("nodots", "x")


def test_it_costs_next_to_nothing() -> None:
    rounds = 20_000
    best = min(timeit.repeat(lambda: crash_point("folder.staged"), number=rounds, repeat=7)) / rounds
    assert best < 400e-9  # promised: 100 ns; the limit leaves room for a busy machine and the lambda
