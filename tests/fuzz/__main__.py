"""`make fuzz`: every target under atheris for its share of MINUTES, one process after the other.

Inputs that reach new code are kept in var/fuzz/TARGET, where the next run goes on; an input that breaks a promise is
written to tests/fuzz/regressions, where `make test` replays it for ever.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.seeds import DICTIONARY
from tests.fuzz.targets import TARGETS, Target

__all__: list[str] = []

HOUSE = Path(__file__).parents[2]
REGRESSIONS = Path(__file__).parent / "regressions"
KEPT = HOUSE / "var" / "fuzz"
MEMORY = 768  # MiB of a process under instrumentation; an input that needs more is a finding
SLOWEST = 5  # seconds for one input of some kilobytes, on a busy machine
_STATUS = re.compile(r"cov: (\d+) ft: (\d+)")
_RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


def fuzz(name: str, target: Target, *, seconds: int, seed: int, words: Path) -> bool:
    """Run one target and print its line. Whether nothing was found."""
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (kept / hashlib.sha1(data).hexdigest()).write_bytes(data)
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.fuzz.drive", name, str(kept),
            f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={target.longest}", f"-dict={words}",
            f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}", "-print_final_stats=1",
            f"-artifact_prefix={REGRESSIONS}/{name}-",
        ],
        cwd=HOUSE, capture_output=True, text=True, errors="replace", preexec_fn=lambda: os.nice(10),
    )  # fmt: skip
    told = done.stderr + done.stdout
    covered = _STATUS.findall(told)
    executed = _RUNS.search(told)
    print(
        f"{name:<8} {time.monotonic() - began:6.0f} s  {executed[1] if executed else '?':>9} inputs  "
        f"{covered[-1][0] if covered else '?':>6} edges  {covered[-1][1] if covered else '?':>6} features  "
        f"{len(list(kept.iterdir())):>5} kept  {'ok' if done.returncode == 0 else 'FOUND'}",
        flush=True,
    )
    if done.returncode:
        print(told[-6000:], file=sys.stderr)
    return done.returncode == 0


def write_words(path: Path) -> None:
    """The words of the formats as libFuzzer reads them."""
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in DICTIONARY)
    path.write_text("\n".join(lines) + "\n", "ascii")


def main(names: list[str]) -> int:
    """Fuzz the named targets, by default all and the flips; MINUTES (6) are shared, SEED (1) makes a run repeatable."""
    chosen = {name: TARGETS[name] for name in names or TARGETS}
    seconds = max(5, int(60 * float(os.environ.get("MINUTES") or 6) / (len(chosen) + (not names))))
    seed = int(os.environ.get("SEED") or 1)
    print(f"SEED={seed}, {seconds} s each")
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        write_words(words)
        results = [fuzz(name, target, seconds=seconds, seed=seed, words=words) for name, target in chosen.items()]
    if not names:
        flips = [sys.executable, "-m", "tests.fuzz.flips", str(seconds), str(seed)]
        results.append(subprocess.run(flips, cwd=HOUSE, check=False, preexec_fn=lambda: os.nice(10)).returncode == 0)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
