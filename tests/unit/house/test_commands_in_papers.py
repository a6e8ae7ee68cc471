"""Commands and variables that the papers name exist: an operator at night must not be told a command that is none."""

from __future__ import annotations

import re
from typing import Any

from gateway.cli.app import command_tree
from gateway.settings import Settings, find_misspelt
from tests.unit.house.sources import HOUSE

_COMMAND = re.compile(r"(?:`|^|\$\()truc ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
_VARIABLE = re.compile(r"\bTRUC_[A-Z_]+\b")
_PAPERS = ("README.md", "README.vi.md", "CONTRIBUTING.md")


def papers() -> list[tuple[str, str]]:
    pages = [HOUSE / name for name in _PAPERS] + sorted((HOUSE / "docs").rglob("*.md"))
    return [(str(page.relative_to(HOUSE)), page.read_text("utf-8")) for page in pages]


def knows(tree: Any, first: str, second: str) -> bool:
    """Whether `truc first second` is a command; a second word after a plain command is its argument."""
    found = tree.commands.get(first)
    inner = getattr(found, "commands", None)
    return found is not None and (not second or inner is None or second in inner)


def test_every_command_that_the_papers_name_exists() -> None:
    tree = command_tree()
    said = {(page, *words) for page, text in papers() for words in _COMMAND.findall(text)}
    assert len({line[1:] for line in said}) > 10
    assert sorted(line for line in said if not knows(tree, line[1], line[2])) == []


def test_every_variable_that_the_papers_name_is_read() -> None:
    said = {(page, name) for page, text in papers() for name in _VARIABLE.findall(text)}
    unknown = find_misspelt({name: "" for _, name in said})
    known = {f"TRUC_{name.upper()}" for name in Settings.model_fields}
    assert len({name for _, name in said} & known) > 5
    assert sorted(line for line in said if line[1] in unknown) == []
