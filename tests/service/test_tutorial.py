"""The tutorial is run as it is written: its `sh` blocks in order, in one shell, against a real node.

After each block stands what came out (`text`), where `…` matches anything: each of its lines must match a line that
the block printed, in that order.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
TUTORIALS = ("docs/tutorial.md", "docs/tutorial.vi.md")
_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "=== block "


@dataclass(frozen=True, slots=True)
class Step:
    """One `sh` block and the lines that the tutorial says it prints."""

    commands: str
    expected: tuple[str, ...]


def read_steps(page: str) -> list[Step]:
    """The steps of a page, in order. ValueError where output stands without commands."""
    steps: list[Step] = []
    for kind, text in _BLOCK.findall(page):
        if kind == "sh":
            steps.append(Step(text, ()))
        elif not steps or steps[-1].expected:
            raise ValueError(f"output without commands: {text}")
        else:
            steps[-1] = Step(steps[-1].commands, tuple(text.strip().splitlines()))
    return steps


def find_missing(printed: str, expected: tuple[str, ...]) -> str | None:
    """The first expected line that no further printed line matches; None where all are there in order."""
    lines = iter(printed.splitlines())
    for wanted in expected:
        pattern = re.compile(".*".join(map(re.escape, wanted.split("…"))))
        if not any(pattern.match(line.strip()) for line in lines):
            return wanted
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_in_one_shell(steps: list[Step], folder: Path) -> tuple[list[str], str]:
    """What each step printed (a step that failed ends it), and everything for the report."""
    script = "set -eu\ntrap 'kill ${SERVE:-} 2>/dev/null || true' EXIT\n"
    script += "".join(f"printf '\\n{_MARK}{i}\\n'\n{step.commands}" for i, step in enumerate(steps))
    script = script.replace("8080", str(free_port()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(HOUSE),
        "COLUMNS": "200",
        "LC_ALL": "C.UTF-8",
    }
    ran = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    printed = re.split(rf"^{_MARK}\d+\n", ran.stdout, flags=re.MULTILINE)[1:]
    log = folder / "truc.log"
    told = f"{ran.stdout}\n--- stderr\n{ran.stderr}\n--- log\n{log.read_text() if log.exists() else ''}"
    return printed, f"exit code {ran.returncode}\n{told}"


@pytest.mark.parametrize("page", TUTORIALS)
def test_the_tutorial_runs_as_it_is_written(page: str, tmp_path: Path) -> None:
    steps = read_steps((HOUSE / page).read_text("utf-8"))
    assert len(steps) >= 15
    printed, told = run_in_one_shell(steps, tmp_path)
    for i, step in enumerate(steps):
        assert i < len(printed), f"step {i} was not reached:\n{step.commands}\n{told}"
        missing = find_missing(printed[i], step.expected)
        assert missing is None, f"step {i} did not print {missing!r} but:\n{printed[i]}\n{told}"
    assert told.startswith("exit code 0"), told


@pytest.mark.parametrize(
    ("printed", "expected", "missing"),
    [
        ('{"a":1,"b":2}\n', ('{…"b":2…',), None),
        ('{"a":1}\n', ('{…"b":2…',), '{…"b":2…'),
        ("two\none\n", ("one", "two"), "two"),
        ("x one\n", ("one",), "one"),
    ],
)
def test_missing_output_is_seen(printed: str, expected: tuple[str, ...], missing: str | None) -> None:
    assert find_missing(printed, expected) == missing
