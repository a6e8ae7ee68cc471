"""docs/guides/seal.md is run as it is written, against a real node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.service.test_tutorial import find_missing, read_steps
from tests.support.edge import SENDER, running_api
from tests.support.processes import need_program
from tests.support.soft_tokens import soft_driver

HOUSE: Final = Path(__file__).resolve().parents[2]
GUIDE: Final = HOUSE / "docs/guides/seal.md"
MARK: Final = "=== block"


def test_the_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    steps = read_steps(GUIDE.read_text("utf-8"))
    assert len(steps) == 6
    for program in ("xmlsec1", "curl", "openssl"):
        need_program(program, program)
    module = soft_driver()
    with running_api(tmp_path) as api:
        (tmp_path / "cong-van.edxml").write_bytes(api.packet())
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
        ours = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(HOUSE),
            "TRUC_DATA": str(tmp_path / "var"), "TRUC_DISK_RESERVE_MIB": "1", "TRUC_LANGUAGE": "en",
            "LC_ALL": "C.UTF-8", "COLUMNS": "240", "URL": api.url, "TOKEN": api.tokens[SENDER], "MODULE": str(module),
        }  # fmt: skip
        script = "set -eu\n" + "".join(f"echo; echo '{MARK}'\n{step.commands}" for step in steps)
        ran = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=kept | ours, capture_output=True, text=True, timeout=240
        )
    told = f"exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert ran.returncode == 0, told
    printed = ran.stdout.split(f"{MARK}\n")[1:]
    for step, lines in zip(steps, printed, strict=True):
        missing = find_missing(lines, step.expected)
        assert missing is None, f"did not print {missing!r}:\n{lines}\n{told}"
