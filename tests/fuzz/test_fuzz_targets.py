"""Each fuzz target on a fixed sample of mutated seeds, and on every input that ever broke it."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest

from tests.fuzz import flips
from tests.fuzz.seeds import DICTIONARY
from tests.fuzz.targets import TARGETS

REGRESSIONS = sorted(path for path in (Path(__file__).parent / "regressions").iterdir() if path.suffix != ".md")
SAMPLE = 300
GROWTH = 32 << 10  # KiB
SLOWEST = 1.0  # seconds of processor time for one input of some kilobytes


def mutated(data: bytes, dice: random.Random, longest: int) -> bytes:
    """A few random edits: a word put in, bytes cut, doubled, changed."""
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        at, to = sorted(dice.randrange(len(data) + 1) for _ in range(2))
        to = min(to, at + dice.choice((1, 4, 16, 256)))
        edit = dice.randrange(5)
        if edit == 0:
            data = data[:at] + dice.choice(DICTIONARY) + data[at:]
        elif edit == 1:
            data = data[:at] + data[to:]
        elif edit == 2:
            data = data[:at] + data[at:to] + data[at:]
        elif edit == 3:
            data = data[:at] + dice.randbytes(to - at) + data[to:]
        elif at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
    return data[:longest]


@pytest.mark.parametrize("name", TARGETS)
def test_a_sample_of_inputs_breaks_no_promise(name: str) -> None:
    target = TARGETS[name]
    starts = list(target.seeds())
    for data in starts:
        target.run(data)
    dice = random.Random(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(SAMPLE):
        data = mutated(dice.choice(starts), dice, 4 * target.longest)
        began = time.process_time()
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"input {number}: {data!r}")
            raise
        assert time.process_time() - began < SLOWEST, data
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.name)
def test_what_once_broke_a_promise_keeps_it(path: Path) -> None:
    TARGETS[path.name.split("-")[0]].run(path.read_bytes())


def test_big_packets_with_a_byte_flipped_end_in_a_verdict() -> None:
    assert flips.run(seconds=8, seed=11) > 100
