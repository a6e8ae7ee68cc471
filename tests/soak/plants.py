"""Defects that the soak must see: planted into its copy of the program (`--plant NAME`), a run of them is no proof.

Each is one that tests of single hops may miss, since it shows only when something dies or comes late at the wrong
moment.  `kinds` and `minutes` are what was enough to see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.fault.test_planted_defects import plant
from tests.support.defects import Defect

__all__ = ["PLANTS", "Plant", "plant_into"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """`edits`: (file, old, new), where `old` stands once. `sees`: how the judge names it (`gateway.prove.check`)."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    kinds: tuple[str, ...]
    sees: str
    minutes: float = 2.0
    rounds: int = 5


_RECIPIENTS = ("silent", "late", "away", "error")

PLANTS = (
    Plant(
        name="unknown-is-delivered",
        edits=(("gateway/model/machine.py", "    if report.arrived:\n", "    if report.arrived is not False:\n"),),
        kinds=_RECIPIENTS,
        sees="lost",
    ),
    Plant(
        name="doubt-ends-at-once",
        edits=(
            (
                "gateway/model/chain.py",
                "return self.is_in_doubt and now - ago < self.open_until(now)",
                "return self.end is None and now - ago < self.open_until(now)",
            ),
        ),
        kinds=_RECIPIENTS,
        sees="twice",
    ),
    Plant(
        name="commits-wait-for-no-disk",
        edits=(
            ("gateway/store/engines.py", '"synchronous_commit": "on"', '"synchronous_commit": "off"'),
            (
                "gateway/store/dialect.py",
                '(("synchronous_commit", "on"), ("server_encoding", "UTF8"))',
                '(("server_encoding", "UTF8"),)',
            ),
        ),
        kinds=("kill",),
        sees="lost",
    ),
)


def plant_into(program: Path, name: str) -> None:
    """Put one into a copy of the program. Raises KeyError where there is none of that name."""
    for file, old, new in {one.name: one for one in PLANTS}[name].edits:
        plant(program, Defect(name=name, row="", file=file, old=old, new=new, tests=()))
