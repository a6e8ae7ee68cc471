"""What is planted for the soak fits the program still, and names kinds of faults and findings that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.prove.check import WrongKind
from tests.soak.plants import PLANTS, Plant, plant_into
from tests.soak.schedule import TARGETS

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("one", PLANTS, ids=lambda one: one.name)
def test_a_plant_of_the_soak_fits_the_program(one: Plant, tmp_path: Path) -> None:
    for file, _, _ in one.edits:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((_ROOT / file).read_bytes())
    plant_into(tmp_path, one.name)
    for file, _, new in one.edits:
        assert new in (tmp_path / file).read_text("utf-8")
    assert set(one.kinds) <= TARGETS.keys()
    assert one.sees in set(WrongKind)
