"""The trees of errors drawn in the docstrings are the classes: same names, same parents."""

from __future__ import annotations

import re

import edxml.errors
import gateway.model.errors
from edxml.errors import TrucError
from tests.unit.house.sources import PACKAGES, import_all

_BRANCH = re.compile(r"^([\s│]*)[├└]── (.+)$")


def read_tree(docstring: str) -> dict[str, str]:
    """name → name of its parent, of the tree drawn in a docstring. Names of one line share their parent."""
    lines = docstring.splitlines()
    first = next(i for i, line in enumerate(lines) if _BRANCH.match(line))
    stack: list[tuple[int, str]] = [(-1, lines[first - 1].split()[0])]
    parents: dict[str, str] = {}
    for line in lines[first:]:
        match = _BRANCH.match(line)
        if match is None:
            continue
        depth = len(match[1])
        while stack[-1][0] >= depth:
            stack.pop()
        names = re.split(r"  | \(", match[2], maxsplit=1)[0].split(", ")
        parents |= {name.strip(): stack[-1][1] for name in names}
        stack.append((depth, names[0].strip()))
    return parents


def real_tree(root: type[TrucError]) -> dict[str, str]:
    """name → name of its parent, of the classes of the packages."""
    parents: dict[str, str] = {}
    for child in root.__subclasses__():
        if child.__module__.split(".")[0] in PACKAGES:
            parents[child.__name__] = root.__name__
            parents |= real_tree(child)
    return parents


def test_the_drawn_trees_are_the_classes() -> None:
    import_all()
    drawn = read_tree(edxml.errors.__doc__ or "") | read_tree(gateway.model.errors.__doc__ or "")
    real = real_tree(TrucError)
    assert {n: p for n, p in real.items() if drawn.get(n) != p} == {}, "classes that the docstrings do not draw so"
    assert set(drawn) - set(real) == set(), "drawn, but no class"


def test_a_tree_is_read_as_it_is_drawn() -> None:
    picture = (
        "All.\n\n    Root   what\n    ├── A      one\n    │   ├── B, C   two\n    │   └── D\n    └── E      three\n"
    )
    assert read_tree(picture) == {"A": "Root", "B": "A", "C": "A", "D": "A", "E": "Root"}
