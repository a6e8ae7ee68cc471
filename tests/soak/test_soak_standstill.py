"""The clock that stands while the machine does."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.soak.standstill import MachineClock
from tests.support.patience import until


def test_a_machine_that_stood_is_not_counted_and_is_told(tmp_path: Path) -> None:
    clock = MachineClock(tmp_path)
    for elapsed in (0.25, 0.3, 54.0, 0.25):
        clock.take(elapsed)
    assert clock.seconds == 0.25 + 0.3 + 1.0 + 0.25
    assert [seconds for _, seconds in clock.stands] == [54.0]
    assert clock.line() == "the machine stood 1 times, 54 s in all, 54 s at the longest"


def test_whoever_does_not_end_in_time_is_told_from_who_does(tmp_path: Path) -> None:
    with MachineClock(tmp_path) as clock:
        until(lambda: clock.seconds > 0)
        sleeper = subprocess.Popen(["sleep", "600"])
        try:
            assert not clock.wait(sleeper, 0.1)
        finally:
            sleeper.kill()
        assert clock.wait(sleeper, 60)
        sleeper.wait()
