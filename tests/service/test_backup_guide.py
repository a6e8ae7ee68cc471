"""docs/guides/backup.md is run as it is written, against a node that works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.service.test_tutorial import find_missing, read_steps
from tests.support.edge import RECIPIENT, SENDER, running_api

HOUSE: Final = Path(__file__).resolve().parents[2]
GUIDE: Final = HOUSE / "docs/guides/backup.md"
MARK: Final = "=== block"


def test_the_guide_of_backups_runs_as_it_is_written(tmp_path: Path) -> None:
    steps = read_steps(GUIDE.read_text("utf-8"))
    assert len(steps) == 5
    with running_api(tmp_path) as api:
        sent = api.client(SENDER).post("/v1/packets", content=api.packet(), headers={"Content-Type": "application/xml"})
        assert sent.status_code == 202, sent.text
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
        ours = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(HOUSE),
            "TRUC_DATA": str(tmp_path / "var"), "TRUC_DISK_RESERVE_MIB": "1", "TRUC_LANGUAGE": "en",
            "LC_ALL": "C.UTF-8", "COLUMNS": "240",
        }  # fmt: skip
        script = "set -eu\n" + "".join(f"echo; echo '{MARK}'\n{step.commands}" for step in steps)
        ran = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=kept | ours, capture_output=True, text=True, timeout=300
        )
        assert api.client(RECIPIENT).get(f"/v1/inbox?agency={RECIPIENT}").json()["items"], "it went on working"
    told = f"exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert ran.returncode == 0, told
    for step, lines in zip(steps, ran.stdout.split(f"{MARK}\n")[1:], strict=True):
        missing = find_missing(lines, step.expected)
        assert missing is None, f"did not print {missing!r}:\n{lines}\n{told}"
