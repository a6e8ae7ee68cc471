"""What became of each commune of 2016, from the table of successions: made apart from the directory's step data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Passage(NamedTuple):
    """One commune of 15/3/2016 and the one that it is in since 1/7/2025, by GSO code and full name."""

    old_code: str
    old_name: str
    old_district_code: str
    new_code: str
    new_name: str


def read_passages() -> tuple[Passage, ...]:
    """All 480 of them."""
    text = (Path(__file__).parent / "data" / "communes_2016_to_2025.tsv").read_text("utf-8")
    return tuple(Passage(*line.split("\t")) for line in text.splitlines()[1:])
