"""Every violation of our schema, each with its path, its line and what is allowed instead.

libxml2 stops at the first child that it did not expect; a person who must mend a packet wants them all.  This walks
the packet beside the schema's own values and is asked only where libxml2 refused.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lxml import etree

from edxml._notes import NAMESPACE, Notes, local_name
from edxml._xml import Element
from edxml.schema.model import Facets, Part, Particle

__all__ = ["XSI", "explain", "find_particle"]

XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_SHOWN = 40
_BLANKS = " \t\r\n"  # XML's own: a no-break space is text
_WORD = re.compile(r"[^ \t\r\n]+")


def explain(root: Element, part: Part, notes: Notes) -> None:
    """Note every violation in `root` of the schema whose root is `part`."""
    if _name(root) != part.name:
        if etree.QName(root).localname == part.name:
            notes.error("edxml.schema_namespace", root, name=part.name, namespace=NAMESPACE)
            return
        notes.error("edxml.schema_root", root, name=local_name(root)[:80], expected=part.name)
        return
    _Walk(notes).element(root, part)


class _Walk:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def element(self, element: Element, part: Part) -> None:
        """One element and all below it."""
        if part.is_open or self._notes.is_full:
            return
        self._attributes(element, part)
        if part.facets is not None:
            self._leaf(element, part.facets)
            return
        if _has_own_text(element):
            self._notes.error("edxml.schema_text", element, name=local_name(element))
        known: list[tuple[Element, str, Part]] = []
        for child in element:
            particle = find_particle(child, part)
            if particle is None:
                if not self._notes.is_full:
                    self._unexpected(child, part)
            else:
                known.append((child, particle.part.name, particle.part))
        self._occurrences(element, part, known)
        for child, _, child_part in known:
            self.element(child, child_part)

    def _unexpected(self, child: Element, part: Part) -> None:
        name = etree.QName(child).localname
        if _name(child) != name and name in part.children:
            self._notes.error("edxml.schema_namespace", child, name=name, namespace=NAMESPACE)
            return
        allowed = _listed(tuple(part.children))
        self._notes.error("edxml.schema_element_unexpected", child, name=local_name(child)[:80], allowed=allowed)

    def _occurrences(self, element: Element, part: Part, known: list[tuple[Element, str, Part]]) -> None:
        """How often each child stands, and in which order: measured by the order that fits best."""
        names = [name for _, name, _ in known]
        order = min(part.orders, key=lambda order: _misfit(order, names, is_ordered=part.is_ordered))
        counts = Counter(names)
        allowed = {particle.part.name: particle for particle in order}
        for particle in order:
            if counts[particle.part.name] < particle.least:
                self._notes.error(
                    "edxml.schema_element_missing", element, particle.part.name, name=particle.part.name,
                    inside=local_name(element),
                )  # fmt: skip
        seen: Counter[str] = Counter()
        for child, name, _ in known:
            seen[name] += 1
            most = allowed[name].most if name in allowed else 0
            if most is not None and seen[name] > most:
                self._notes.error("edxml.schema_element_repeated", child, name=name[:80], most=max(most, 1))
        if part.is_ordered:
            self._order(order, known)

    def _order(self, order: tuple[Particle, ...], known: list[tuple[Element, str, Part]]) -> None:
        places = {particle.part.name: place for place, particle in enumerate(order)}
        listed = [(child, name) for child, name, _ in known if name in places]
        kept = _longest_run([places[name] for _, name in listed])
        for position, (child, name) in enumerate(listed):
            if position not in kept:
                expected = _listed(tuple(places))
                self._notes.error("edxml.schema_element_misplaced", child, name=name[:80], order=expected)

    def _leaf(self, element: Element, facets: Facets) -> None:
        for child in element:
            self._notes.error(
                "edxml.schema_element_unexpected", child, name=local_name(child)[:80], allowed="-"
            )  # fmt: skip
        text = "".join([element.text or "", *(child.tail or "" for child in element)])
        fault = _fault(" ".join(_WORD.findall(text)) if facets.collapses else text, facets)
        if fault is not None:
            code, params = fault
            self._notes.error(code, element, name=local_name(element), **params)

    def _attributes(self, element: Element, part: Part) -> None:
        for name in element.attrib:
            is_foreign = bool(part.attribute_namespace) and name.startswith(f"{{{part.attribute_namespace}}}")
            if name not in part.attributes and not is_foreign and not name.startswith(XSI):
                allowed = _listed(tuple(sorted(part.attributes)))
                self._notes.error("edxml.schema_attribute", element, attribute=name[:80], allowed=allowed)


def _fault(text: str, facets: Facets) -> tuple[str, dict[str, Any]] | None:
    """What is wrong with the text of a leaf: code and parameters."""
    shown = text[:_SHOWN]
    if facets.values and text not in (value for value, _ in facets.values):
        return "edxml.schema_value_unlisted", {
            "text": shown,
            "allowed": _listed(tuple(value for value, _ in facets.values)),
        }
    if len(text) < facets.shortest:
        return "edxml.schema_value_empty", {}
    if facets.longest is not None and len(text) > facets.longest:
        return "edxml.schema_value_long", {"limit": facets.longest, "length": len(text)}
    if facets.pattern is not None and not facets.pattern.fullmatch(text):
        return "edxml.schema_value_form", {"text": shown, "form": _FORMS[facets.name]}
    return None


_FORMS = {
    "OrganId": "000.00.01.H27, H27.01",
    "Date": "yyyy/MM/dd",
    "Timestamp": "yyyy/MM/dd HH:mm:ss",
    "Count": "0-999999999",
}
"""How a form is shown to people; a test compares the keys with the schema's patterns."""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "-"


def _name(element: Element) -> str:
    """The name in our namespace; "{}name" without any, so it is never taken for ours."""
    name = local_name(element)
    return name if name != element.tag else f"{{}}{name}" if not name.startswith("{") else name


def find_particle(child: Element, part: Part) -> Particle | None:
    """What `part` allows under the name of `child`, or as any element of its namespace."""
    name = _name(child)
    return part.child(name) or part.child(_namespace(name))


def _namespace(name: str) -> str:
    return name[: name.find("}") + 1] if name.startswith("{") else ""


def _has_own_text(element: Element) -> bool:
    return any((text or "").strip(_BLANKS) for text in _own_texts(element))


def _own_texts(element: Element) -> Iterator[str | None]:
    yield element.text
    for child in element:
        yield child.tail


def _misfit(order: tuple[Particle, ...], names: list[str], *, is_ordered: bool) -> int:
    """How many children would have to be moved, added or taken out for `names` to be this order."""
    places = {particle.part.name: place for place, particle in enumerate(order)}
    listed = [places[name] for name in names if name in places]
    missing = sum(particle.least > 0 and particle.part.name not in names for particle in order)
    moved = len(listed) - len(_longest_run(listed)) if is_ordered else 0
    return 3 * (len(names) - len(listed)) + 3 * missing + moved


def _longest_run(places: list[int]) -> set[int]:
    """The positions of a longest part of `places` that never falls."""
    tails: list[int] = []  # the smallest last place of a run of each length
    ends: list[int] = []  # its position
    before: list[int] = []  # for each position, the one before it in its run
    for position, place in enumerate(places):
        length = bisect_left(tails, place + 1)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [position]
    kept: set[int] = set()
    position = ends[-1] if ends else -1
    while position >= 0:
        kept.add(position)
        position = before[position]
    return kept
