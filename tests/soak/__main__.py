"""`python -m tests.soak`: the long proof under faults (`make soak MINUTES=… SEED=…`).

    --minutes 30 --seed 7        draw a schedule and run it; every fault hits every target five times in 30 minutes
    --schedule FILE              play a kept one again
    --shrink RUNS                where it fails, cut the schedule down in at most so many runs, and keep what is left
    --nodes 3                    three brokers; --no-clocks without libfaketime; --program DIR another program's folder
                                 (otherwise a copy of this one: it may be worked on meanwhile)
    --plant NAME                 put a defect of `tests.soak.plants` into the copy, and hit it with what shows it

Exit code 0 where every promise was kept, 1 where one was broken, and the folder with everything is said.  SIGTERM and
SIGINT end it with everything that it started.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.fault.test_planted_defects import copy_program
from tests.soak.guard import guarded
from tests.soak.life import Outcome, live
from tests.soak.plants import PLANTS, plant_into
from tests.soak.province import Province, own_ground
from tests.soak.schedule import TARGETS, Fault, draw, read_schedule, write_schedule
from tests.soak.shrink import shrink

_REGRESSIONS = Path(__file__).parent / "regressions"
_FIRST = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, report, and cut down where wished."""
    parser = _parser()
    told = parser.parse_args(arguments)
    if told.plant and told.program:
        parser.error("a defect is planted into a copy of this program alone")
    seed = told.seed or random.SystemRandom().randrange(1, 1 << 32)
    if told.schedule:
        faults, facts = read_schedule(told.schedule)
        seed, rate = int(str(facts["seed"])), float(str(facts["rate"]))
    else:
        faults, rate = _draw(told, seed), told.rate
    keep = make_folder(told.keep)
    program = Path(told.program) if told.program else copy_program(keep / "program")
    if told.plant:
        plant_into(program, told.plant)
    print(f"seed {seed}: {len(faults)} faults, {rate:g} packets a second, folder {keep}", flush=True)
    soak = _Soak(keep, told, program.resolve(), seed, rate)
    old = [] if told.schedule or told.no_regressions else sorted(_REGRESSIONS.glob("*.json"))
    if not all(_replays(keep, told, program, path) for path in old):
        return 1
    outcome = soak.run(faults)
    print("\n".join(outcome.lines()), flush=True)
    if outcome.is_proof:
        if not told.keep:
            shutil.rmtree(keep, ignore_errors=True)
        return 0
    if told.shrink:
        least = shrink(faults, lambda part: not soak.run(_sooner(part)).is_proof, runs=told.shrink)
        path = Path(told.into) / f"seed-{seed}.json"
        write_schedule(path, _sooner(least), seed=seed, rate=rate)
        print(f"{len(least)} of {len(faults)} faults are enough: {path}\n" + "\n".join(map(str, least)))
    print(f"everything is in {keep}")
    return 1


def make_folder(wished: str) -> Path:
    """The folder of a run. Databases lie in it, and their server runs as another user than root: it must get in."""
    if wished:
        keep = Path(wished)
        keep.mkdir(exist_ok=True)
    else:
        keep = Path(tempfile.mkdtemp(prefix="truc-soak-"))
        keep.chmod(0o755)
    return keep


def _draw(told: argparse.Namespace, seed: int) -> tuple[Fault, ...]:
    planted = {one.name: one for one in PLANTS}.get(told.plant)
    kinds = [kind for kind in told.kinds.split(",") if kind] or [*(planted.kinds if planted else TARGETS)]
    if told.no_clocks:
        kinds = [kind for kind in kinds if not kind.startswith("clock")]
    rounds = told.rounds or (planted.rounds if planted else 0)
    return draw(seed, told.minutes, kinds=kinds, rounds=rounds)


def _replays(keep: Path, told: argparse.Namespace, program: Path, path: Path) -> bool:
    """Whether a schedule that once broke a promise breaks none any more."""
    faults, facts = read_schedule(path)
    home = keep / path.stem
    home.mkdir()
    outcome = _Soak(home, told, program.resolve(), int(str(facts["seed"])), float(str(facts["rate"]))).run(faults)
    print("\n".join([f"{path.name}:", *outcome.lines()]), flush=True)
    return outcome.is_proof


class _Soak:
    """Runs, each on a province of its own."""

    def __init__(self, keep: Path, told: argparse.Namespace, program: Path, seed: int, rate: float) -> None:
        self._keep, self._told, self._program, self._seed, self._rate = keep, told, program, seed, rate
        self._runs = 0

    def run(self, faults: Sequence[Fault]) -> Outcome:
        self._runs += 1
        home = self._keep / f"run-{self._runs}"
        home.mkdir(parents=True)
        ground = partial(own_ground, nodes=self._told.nodes, clocks=not self._told.no_clocks)
        with Province.lay(home, program=self._program, ground=ground) as province:
            province.start()
            outcome = live(province, home / "life", faults, seed=self._seed, rate=self._rate)
        if self._runs > 1:
            print(f"run {self._runs}: {len(faults)} faults, {'kept' if outcome.is_proof else 'broken'}", flush=True)
        return outcome


def _sooner(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The same faults, the first of them soon after the beginning."""
    early = faults[0].at - _FIRST if faults else 0.0
    return tuple(replace(fault, at=round(fault.at - early, 3)) for fault in faults)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--schedule", type=Path)
    parser.add_argument("--shrink", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 3))
    parser.add_argument("--no-clocks", action="store_true")
    parser.add_argument("--program", default="")
    parser.add_argument("--plant", default="", choices=["", *(one.name for one in PLANTS)])
    parser.add_argument("--into", default=str(_REGRESSIONS))
    parser.add_argument("--keep", default="")
    parser.add_argument("--no-regressions", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
