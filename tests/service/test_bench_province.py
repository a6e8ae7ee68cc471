"""The province's bench runs, and the books of everything that it drove match. Never how fast: `make bench-province`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_province_bench_runs_and_its_books_match(tmp_path: Path) -> None:
    """Both servers, the limit and the product, every part once: three minutes on a quiet machine."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.province", "--quick", "--json", str(figures)],
        cwd=_REPOSITORY, capture_output=True, text=True, timeout=1190, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(figures.read_text())
    assert told["figures"]["disagreements"] == []
    assert [speed["each"] for speed in told["figures"]["speeds"]] == [1, 4]
    assert told["figures"]["speeds"][0]["ours_spent"].keys() >= {"api", "examiner", "relay", "PostgreSQL", "RabbitMQ"}
    assert len(told["verdicts"]) == 13, "every target that is measured is judged"
    assert told["figures"]["stored"]["statements"] > 10
    assert all(hop["server_ms"] > 0 for hop in told["figures"]["hops"][2:])
    assert told["figures"]["backlog"]["long"]["done"] >= told["figures"]["backlog"]["long"]["waiting"]
    assert told["figures"]["dead"]["rate_ratio"]["median"] > 0
