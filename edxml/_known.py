"""Reading a packet of a known shape: the same readers as for any other, but nothing is looked for twice.

What a shape's children are is found out once and kept with the shape.  The bytes go through lxml after all where the
shape has an unknown or repeated field, whose text is told each time, and for what the schema refuses.
"""

from __future__ import annotations

from typing import Any, Final

from edxml._notes import HOLDERS, Notes, local_name
from edxml._shapes import Known, Node
from edxml._xml import ContentReader, Element, Splitter, Unread
from edxml.limits import Limits

__all__ = ["KnownNotes", "give_contents"]

_ODD: Final = ()
"""The fields of an element of which something must be said each time."""


class KnownNotes(Notes):
    """The notebook of reading a known packet. Asked about an lxml element it answers as any notebook does."""

    def __init__(self, known: Known, limits: Limits) -> None:
        super().__init__(limits)
        self.shape = known.shape
        self.gaps = known.sighting.gaps
        self._sighting = known.sighting
        self._splitter: Splitter | None = None
        self._elements: list[Element] = []

    def texts(self, parent: Element, known: dict[str, str]) -> dict[str, str]:
        """As of any packet; which field stands where is kept with the shape."""
        if not isinstance(parent, Node):
            return super().texts(parent, known)
        if parent.fields is None:
            parent.fields = _fields(parent, known)
        if parent.fields is _ODD:
            return super().texts(self.real(parent), known)
        gaps = self.gaps
        return {field: gaps[at].strip() for field, at in parent.fields}

    def text(self, element: Element) -> str:
        """As of any packet."""
        if isinstance(element, Node):
            if element.children:
                return super().text(self.real(element))
            return self.gaps[element.text_at].strip()
        return super().text(element)

    def parts(self, parent: Element, once: frozenset[str], many: frozenset[str] = frozenset()) -> dict[str, Any]:
        """As of any packet; kept with the shape unless something must be said of it each time."""
        if not isinstance(parent, Node):
            return super().parts(parent, once, many)
        if parent.parts is not None:
            return parent.parts
        found = super().parts(parent, once, many)
        if len(parent.children) == sum(len(part) if name in many else 1 for name, part in found.items()):
            parent.parts = found
        return found

    def real(self, element: Element) -> Element:
        """lxml's element for one of the shape, by reading the packet's bytes after all; others are given back."""
        if not isinstance(element, Node):
            return element
        if self._splitter is None:
            self._splitter = Splitter(limits=self.limits, contents=Unread(), repaired=lambda name, line: None)
            self._splitter.feed(self._sighting.data)
            self._elements = list(self._splitter.close().iter())
        return self._elements[element.number]

    def line_of(self, element: Element) -> int | None:
        """As of any packet."""
        line = self._sighting.line_of_tag(element.tag_at) if isinstance(element, Node) else None
        if line is None:
            real = self.real(element)
            line = None if self._splitter is None else self._splitter.line_of(real)
        return line


def _fields(parent: Node, known: dict[str, str]) -> tuple[tuple[str, int], ...] | list[tuple[str, int]]:
    """Which field stands in which gap; _ODD where a child is unknown, repeated or more than text."""
    found: dict[str, int] = {}
    for child in parent:
        field = known.get(child.tag) or known.get(local_name(child))
        if field is None or field in found or (child.children and field not in HOLDERS):
            return _ODD
        found[field] = child.text_at
    return list(found.items())


def give_contents(known: Known, contents: ContentReader) -> None:
    """Hand on the texts of all attachments, as the splitter does. Raises Refusal as `contents` does."""
    data = known.sighting.data
    for (node, _, _), (start, end) in zip(known.shape.contents, known.sighting.spans, strict=True):
        contents.begin(node, start, 1 + data.count(b"\n", 0, start))
        contents.write(data[start:end])
        contents.end(end)
