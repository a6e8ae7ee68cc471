"""The schema for packets of a known shape: libxml2 judged the tags once, the values are looked at each time.

Whether a packet keeps the schema hangs on its tags and on its values alone.  Where one packet of a shape kept it, so
does every other whose values are allowed and which has nothing but blanks where only elements may stand.  This only
ever says "surely right": whatever it doubts is judged by libxml2 as if it had never been here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from edxml._shapes import Node
from edxml._xml import Element
from edxml.schema.explain import XSI, find_particle
from edxml.schema.model import Facets, Part

__all__ = ["Frame", "frame_of"]

_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """What is left to look at in packets of one shape, whose tags are right."""

    blanks: Callable[[Sequence[str]], tuple[str, ...]]
    leaves: tuple[tuple[int, Callable[[str], object]], ...]

    def holds(self, gaps: Sequence[str]) -> bool:
        """Whether a packet with these texts surely keeps the schema."""
        if "".join(self.blanks(gaps)).strip(_BLANKS):
            return False
        return all(is_allowed(gaps[at]) for at, is_allowed in self.leaves)


def frame_of(root: Node, tree: Element, part: Part) -> Frame | None:
    """The frame of a shape, `tree` being a packet of it that keeps the schema; None where tags alone do not say."""
    if any(name.startswith(XSI) for element in tree.iter() for name in element.attrib):
        return None  # xsi:type and the like choose other types
    blanks: list[int] = [0, 0]
    leaves: list[tuple[int, Callable[[str], object]]] = []
    return Frame(itemgetter(*blanks), tuple(leaves)) if _walk(root, part, blanks, leaves) else None


def _walk(node: Node, part: Part, blanks: list[int], leaves: list[tuple[int, Callable[[str], object]]]) -> bool:
    if part.is_open:
        return True
    if part.facets is not None:
        leaves += [(node.text_at, check) for check in _checks(part.facets)]
        return not node.children
    blanks.append(node.text_at)
    blanks += [child.tail_at for child in node.children]
    for child in node.children:
        particle = find_particle(child, part)
        if particle is None or not _walk(child, particle.part, blanks, leaves):
            return False
    return True


def _checks(facets: Facets) -> list[Callable[[str], Any]]:
    """All of them true only of allowed values, as they stand: blanks that would be collapsed make them doubt."""
    checks: list[Callable[[str], Any]] = []
    if facets.values:
        checks.append(frozenset(value for value, _ in facets.values).__contains__)
    if facets.pattern is not None:
        checks.append(facets.pattern.fullmatch)
    if (longest := facets.longest) is not None:
        checks.append(lambda text: len(text) <= longest)
    if facets.shortest == 1 and facets.collapses:
        checks.append(str.strip)
    elif facets.shortest:
        checks.append(lambda text: False)
    return checks
