"""The line of a place that a rule names by its path: asked only where something was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from edxml._notes import local_name
from edxml._xml import Element
from edxml.findings import Finding

__all__ = ["with_lines"]

_STEP = re.compile(r"([^\[]+)(?:\[(\d+)\])?")
_SPELLINGS = {"Bussiness": "Business", "edXMLHeader": "Header", "edXMLBody": "Body", "edXMLManifest": "Manifest"}
"""How a repaired packet, or an envelope of dialect D, may have it."""


def with_lines(
    findings: Iterable[Finding], root: Element, line_of: Callable[[Element], int | None]
) -> Iterator[Finding]:
    """The findings with the line of their path in the packet whose tree is `root`; those that have one keep it.

    Where the last steps of a path are missing the line is that of the element that should have held them; a wrapper
    that a repaired packet lacks is passed over.
    """
    children: dict[Element, dict[str, list[Element]]] = {}

    def child(parent: Element, step: str) -> Element:
        found = _STEP.fullmatch(step)
        if found is None:
            return None
        if parent not in children:
            children[parent] = _by_name(parent)
        named = children[parent]
        alike = named.get(found[1]) or named.get(_SPELLINGS.get(found[1], ""), [])
        position = int(found[2] or 1)
        return alike[position - 1] if 0 < position <= len(alike) else None

    for finding in findings:
        place = finding.place
        if place.line is None and place.path:
            element = root
            for step in place.path.split("/")[1:]:
                below = child(element, step)
                element = element if below is None else below
            finding = replace(finding, place=replace(place, line=line_of(element)))
        yield finding


def _by_name(parent: Element) -> dict[str, list[Element]]:
    named: dict[str, list[Element]] = {}
    for child in parent:
        named.setdefault(local_name(child), []).append(child)
    return named
