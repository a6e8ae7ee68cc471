"""The bench runs, and the books of everything that it drove match. Never how fast: that is `make bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]


def test_the_bench_runs_and_its_books_match(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--folder", str(tmp_path), "--json", str(figures)],
        cwd=_REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BOOKS DO NOT MATCH" not in done.stdout
    told = json.loads(figures.read_text())
    assert [report["name"] for report in told["reports"]] == ["limit", "truc serve"]
    assert [report["disagreements"] for report in told["reports"]] == [[], []]
    assert told["growth"]["disagreements"] == []
    assert {hop["name"] for hop in told["growth"]["small_hops"]} >= {"accept", "fetch", "confirm"}
    assert len(told["verdicts"]) == 8, "every target of the issue is judged"
