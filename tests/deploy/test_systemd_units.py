"""systemd/: the units as systemd reads them, how much they leave open, and that the node works inside them.

No machine of the tests runs systemd as its process 1, so no unit is started: the units' rules about system calls,
memory and time are held against what the node's processes really call.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from gateway.settings import Settings, find_misspelt, read_settings
from tests.support.clients import FAST, Users, make_home
from tests.support.patience import PATIENCE
from tests.support.processes import NodeProcesses, need_program

HOUSE = Path(__file__).parents[2]
UNITS = HOUSE / "systemd"
SCORE = 1.3  #: systemd's own measure of what a unit leaves open, 0 (nothing) to 10; docs/guides/systemd.md names it
_UNIT = "truc@.service"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's file system as the guide lays it, with systemd's own targets."""
    need_program("systemd-analyze", "systemd")
    place = tmp_path / "etc/systemd/system"
    (place / f"{_UNIT}.d").mkdir(parents=True)
    shutil.copy(UNITS / _UNIT, place)
    shutil.copy(UNITS / "truc.target", place)
    shutil.copy(UNITS / "truc-backup.timer", place)
    (place / "truc@backup.service.d").mkdir()
    shutil.copy(UNITS / "backup.conf", place / "truc@backup.service.d")
    shutil.copy(UNITS / "province.conf", place / f"{_UNIT}.d")
    shutil.copy(UNITS / "machines.conf", place / f"{_UNIT}.d")
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    program = tmp_path / "opt/truc/bin/truc"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def analyze(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", words[0], f"--root={root}", *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def verify(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return analyze(root, "verify", "--man=no", "--recursive-errors=no", "truc@deliver.service", "truc.target", *more)


def test_systemd_takes_the_units(root: Path) -> None:
    done = verify(root)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_takes_the_timer_of_backups(root: Path) -> None:
    """One backup an hour, in the cage of all other parts, writing nowhere but to its own folder and the node's."""
    done = verify(root, "truc@backup.service", "truc-backup.timer")
    assert (done.returncode, done.stderr) == (0, "")
    drop_in = root / "etc/systemd/system/truc@backup.service.d/backup.conf"
    drop_in.write_text(drop_in.read_text("utf-8").replace("Restart=no\n", ""), "utf-8")
    assert "Restart=" in verify(root, "truc@backup.service").stderr, "a backup that fails waits for the next hour"


def test_several_machines_write_to_the_folder_that_they_are_told_to(root: Path) -> None:
    """The drop-in opens what TRUC_BLOBS names, and nothing else; a slip in it is seen."""
    text = (UNITS / "machines.conf").read_text("utf-8")
    named = re.search(r"^#TRUC_BLOBS=(\S+)$", (UNITS / "truc.env").read_text("utf-8"), re.MULTILINE)
    assert named is not None
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert told == {"WantsMountsFor": named[1], "After": "remote-fs.target", "ReadWritePaths": named[1]}
    drop_in = root / "etc/systemd/system" / f"{_UNIT}.d/machines.conf"
    drop_in.write_text(text.replace("ReadWritePaths=/", "ReadWritePaths="), "utf-8")
    assert "not absolute" in verify(root).stderr


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("ProtectSystem=strict", "ProtectSystem=streng", "ProtectSystem"),
        ("OOMPolicy=continue", "OOMPolitik=continue", "OOMPolitik"),
        ("/opt/truc/bin/truc %i", "/opt/truc/bin/truk %i", "truk"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@sistem", "sistem"),
    ],
)
def test_a_slip_in_a_unit_is_seen(root: Path, before: str, after: str, said: str) -> None:
    unit = root / "etc/systemd/system" / _UNIT
    text = unit.read_text("utf-8")
    assert before in text
    unit.write_text(text.replace(before, after), "utf-8")
    done = verify(root)
    assert said in done.stderr


def test_the_units_leave_little_open(root: Path) -> None:
    done = analyze(
        root, "security", "--offline=true", "--no-pager", f"--threshold={SCORE * 10:.0f}", "truc@inspect.service"
    )
    found = re.search(r"exposure level for truc@inspect.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= SCORE
    assert f"**{found[1]}**" in (HOUSE / "docs/guides/systemd.md").read_text("utf-8")


def settings_of(unit: str) -> dict[str, str]:
    """Environment= of a unit or drop-in, its folder of credentials taken for an existing one."""
    lines = re.findall(r"^Environment=(.*)$", (UNITS / unit).read_text("utf-8"), re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def test_the_settings_that_the_units_give_are_taken(tmp_path: Path) -> None:
    lines = re.findall(r"^#?(TRUC_\w+)=(\S+)$", (UNITS / "truc.env").read_text("utf-8"), re.MULTILINE)
    told = settings_of(_UNIT) | settings_of("province.conf") | dict(lines)
    assert find_misspelt({name: value for name, value in told.items() if name.startswith("TRUC_")}) == {}
    plain = {name: value for name, value in told.items() if name.startswith("TRUC_") and not name.endswith("_FILE")}
    assert read_settings(plain | {"TRUC_DATA": "var", "TRUC_BLOBS": str(tmp_path)}).broker.startswith("amqp://")


def test_the_limits_leave_room_for_the_inspector() -> None:
    text = (UNITS / _UNIT).read_text("utf-8")
    found = re.search(r"^MemoryMax=(\d+)G$", text, re.MULTILINE)
    assert found is not None
    assert int(found[1]) << 10 >= Settings().inspect_memory_mib * 2 + 256
    assert "\nOOMPolicy=continue\n" in text, "the inspector's end is not the service's"
    assert "\nKillMode=mixed\n" in text


def allowed_calls() -> frozenset[str]:
    """What the unit's SystemCallFilter lines let through, by the groups of the systemd that is here."""
    allowed: frozenset[str] = frozenset()
    for words in re.findall(r"^SystemCallFilter=(.*)$", (UNITS / _UNIT).read_text("utf-8"), re.MULTILINE):
        calls = frozenset(call for word in words.lstrip("~").split() for call in expand(word))
        allowed = allowed - calls if words.startswith("~") else allowed | calls
    return allowed


def expand(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset([word])
    done = subprocess.run(["systemd-analyze", "syscall-filter", word, "--no-pager"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = [line.strip() for line in done.stdout.splitlines()[1:] if line.startswith("    ")]
    return frozenset(call for each in words if not each.startswith("#") for call in expand(each))


# What systemd sets before it starts the program (MemoryDenyWriteExecute, NoNewPrivileges), then the program.
_AS_THE_UNIT = """
import ctypes, os, sys
library = ctypes.CDLL(None, use_errno=True)
if library.prctl(65, 1, 0, 0, 0): sys.exit(f"PR_SET_MDWE: {os.strerror(ctypes.get_errno())}")
if library.prctl(38, 1, 0, 0, 0): sys.exit("PR_SET_NO_NEW_PRIVS")
os.execv(sys.executable, [sys.executable, "-m", "gateway", *sys.argv[1:]])
"""


_OF_ROOT = frozenset({"fchown"})  # SQLite gives its files the database's owner, where it runs as root: a unit does not


@pytest.mark.fault
def test_a_node_at_work_calls_nothing_that_its_unit_forbids(tmp_path: Path) -> None:
    """One whole node under strace and without memory that is both written and run: documents by every road, PDFs
    inspected in their cage, SIGTERM, exit 0."""
    need_program("systemd-analyze", "systemd")
    strace = need_program("strace", "strace")
    home = make_home(tmp_path)
    counted = tmp_path / "calls"
    node = NodeProcesses(home.data, FAST | {"log_level": "info"})
    reading, writing = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [strace, "-f", "-qq", "-c", "-o", str(counted),
             sys.executable, "-c", _AS_THE_UNIT, "serve", "--ready-fd", str(writing)],
            env=node.environment(), cwd=HOUSE, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writing],
        )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as ready:
        line = ready.readline()
    assert "READY" in line, (tmp_path / "log").read_text("utf-8")
    port = re.search(r"port=(\d+)", line)
    served = re.search(r"pid=(\d+)", line)
    assert port is not None
    assert served is not None
    try:
        with Users(home) as users:
            users.begin(f"http://127.0.0.1:{port[1]}")
            users.work(rounds=1)
            users.settle()
            _until_inspected(f"http://127.0.0.1:{port[1]}")
        os.kill(int(served[1]), signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "log").read_text("utf-8")
    finally:
        if process.poll() is None:
            os.kill(int(served[1]), signal.SIGKILL)
            process.wait(10)
    rows = [line.split() for line in counted.read_text("utf-8").splitlines()]
    called = {words[-1] for words in rows if len(words) >= 5 and words[-1].isidentifier() and words[0][0].isdigit()}
    called -= {"total"} | _OF_ROOT
    assert "setpriority" in called & expand("@resources"), (
        "the inspector goes to the end of the queue: @resources stays"
    )
    assert called - allowed_calls() == set()


def _until_inspected(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not re.search(r"^truc_inspections_total\{.*\} [1-9]", httpx2.get(f"{url}/metrics").text, re.MULTILINE):
        assert time.monotonic() < deadline, "no PDF was inspected"
        time.sleep(0.2)
