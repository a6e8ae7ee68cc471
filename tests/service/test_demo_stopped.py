"""A demo that is told to end takes its processes and its folder along, however far it had come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.trial.processes import Fleet
from tests.support.patience import until


def users_of(folder: Path) -> list[int]:
    """Processes whose settings name something in the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TRUC_DATA={folder}".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue  # gone meanwhile
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_demo_that_is_ended_while_it_begins_leaves_nothing(number: signal.Signals, code: int, tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    demo = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "gateway", "demo", "--lang", "en"],
        env=own | {"TMPDIR": str(tmp_path)}, cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: users_of(tmp_path) or demo.poll() is not None)
        demo.send_signal(number)
        _, err = demo.communicate(timeout=240)
        left = users_of(tmp_path)
    finally:
        demo.kill()
        for pid in users_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
    assert (demo.returncode, left, list(tmp_path.iterdir())) == (code, [], [])
    assert err.endswith("Stopped as asked.\n")


def start_and_wait(fleet: Fleet) -> None:
    fleet.start("relay")
    time.sleep(60)  # the interrupt comes between two steps of the interpreter


def test_a_process_that_was_just_made_as_the_signal_came_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def make(*given: Any, **named: Any) -> subprocess.Popen[bytes]:
        made.append(popen(*given, **named))
        os.kill(os.getpid(), signal.SIGINT)
        return made[0]

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's job in the background
    fleet = Fleet({"TRUC_DATA": str(tmp_path / "nut")}, tmp_path / "logs")
    try:
        with monkeypatch.context() as patched:
            patched.setattr("subprocess.Popen", make)
            with pytest.raises(KeyboardInterrupt):
                start_and_wait(fleet)
        fleet.stop()
        is_left = made[0].poll() is None
    finally:
        signal.signal(signal.SIGINT, before)
        for process in made:
            process.kill()
            process.wait()
    assert not is_left
