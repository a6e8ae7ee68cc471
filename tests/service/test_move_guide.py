"""docs/guides/move.md is run as it is written, on a node that has stopped, to a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.service.test_tutorial import find_missing, read_steps
from tests.support.nodes import build_house
from tests.support.postgres import PASSWORD, cluster

HOUSE: Final = Path(__file__).resolve().parents[2]
MARK: Final = "=== block"
ADDRESS: Final = "postgresql://truc_node@127.0.0.1:5432/truc"
SECRET: Final = "/etc/truc/database-password"


@pytest.mark.timeout(400)
def test_the_guide_of_moving_runs_as_it_is_written(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.send(["check", "inbox-a"])
    house.work()
    house.close()
    page = (HOUSE / "docs/guides/move.md").read_text("utf-8")
    assert ADDRESS in page
    assert SECRET in page
    (tmp_path / "password").write_text(PASSWORD, "utf-8")
    steps = read_steps(page.replace(ADDRESS, cluster().create()).replace(SECRET, str(tmp_path / "password")))
    assert len(steps) == 2
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    ours = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(HOUSE), "TRUC_NODE": "thu",
        "TRUC_DATA": str(tmp_path / "data"), "TRUC_DISK_RESERVE_MIB": "1", "TRUC_LANGUAGE": "en", "LC_ALL": "C.UTF-8",
        "COLUMNS": "240",
    }  # fmt: skip
    script = "set -eu\n" + "".join(f"echo; echo '{MARK}'\n{step.commands}" for step in steps)
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=kept | ours, capture_output=True, text=True, timeout=300
    )
    told = f"exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert ran.returncode == 0, told
    for step, lines in zip(steps, ran.stdout.split(f"{MARK}\n")[1:], strict=True):
        missing = find_missing(lines, step.expected)
        assert missing is None, f"did not print {missing!r}:\n{lines}\n{told}"
