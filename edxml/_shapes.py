"""Packets whose tags were seen before: a sender's software writes the same tags around other texts, day after day.

lxml judges the first two packets of each shape.  Of a later one with, byte for byte, the same tags no tree is built:
what stands between tags can change nothing of what XML makes of them, as long as it is UTF-8 without `<`, `>`, `&`,
carriage returns and characters that XML forbids.  Then the two trees are the same but for their texts, and the texts
are the bytes themselves.  Everything else, and whatever is not small, goes to `edxml._xml`, which stays the only judge.

What is remembered is bounded by its elements and the bytes of their tags, and forgotten in two generations, so that
neither many senders nor a hostile one can make it grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edxml._xml import Element
from edxml.codes import Dialect
from edxml.limits import Limits

__all__ = ["SAID", "SHAPES", "Known", "Node", "Shape", "Shapes", "Sighting", "look_at"]

SAID: Final = 1024
"""Characters of a name that are looked at before the attachment itself is."""

_LONGEST: Final = 16 * 1024  # bytes of markup
_REMEMBERED: Final = 8 * 1024  # elements of a generation
_ELEMENT: Final = 300  # bytes of one, about: so many bytes of tags weigh as much
_MET: Final = 4 * 1024  # shapes that are told from new ones
_ENCODED: Final = b"ContentTransferEncoded"
_HARMLESS: Final = bytes(byte for byte in range(256) if byte in b"\t\n" or (byte >= 0x20 and byte not in b"<>&"))
_BLANKS: Final = " \t\n"
_ABSENT: Final = 0  # the gap before the first tag: always empty


class Node:
    """An element of a shape. Readers ask it for names and children as they ask lxml's elements; it has no text."""

    __slots__ = ("children", "fields", "number", "parent", "parts", "prefix", "tag", "tail_at", "text_at")

    def __init__(self, tag: str, prefix: str | None, *, number: int, text_at: int, parent: Node | None) -> None:
        self.tag = tag
        self.prefix = prefix
        self.number = number  #: in the order of the packet, from 0
        self.text_at = text_at  #: which gap holds its text
        self.tail_at = _ABSENT  #: which gap follows it
        self.parent = parent
        self.children: list[Node] = []
        self.parts: dict[str, Any] | None = None  #: what `edxml._known` made of the children, once
        self.fields: Any = None  #: the same, of their texts

    def __iter__(self) -> Iterator[Node]:
        return iter(self.children)

    @property
    def tag_at(self) -> int:
        """Which tag of the packet opens it."""
        return (self.text_at if self.text_at != _ABSENT else self.tail_at) - 1

    def getparent(self) -> Node | None:
        """The element around it."""
        return self.parent


@dataclass(slots=True, kw_only=True)
class Shape:
    """The tags of packets that lxml took, as a tree."""

    dialect: Dialect
    nodes: tuple[Node, ...]
    depth: int
    contents: tuple[tuple[Node, int, int], ...]  #: each with the gaps of its file's name and content type
    blanks: tuple[int, ...]  #: gaps outside the root
    blocks: Any = None  #: kept by `edxml.read`, once it found them
    frame: Any = None  #: the same of `edxml.schema`

    @property
    def root(self) -> Node:
        """The packet's root."""
        return self.nodes[0]


class Sighting(NamedTuple):
    """A small packet taken apart: its tags, what stands between them, and where the texts of attachments stand."""

    data: bytes
    size: int  #: bytes of markup
    tags: list[str]
    gaps: list[str]  #: one before each tag and one behind the last
    spans: list[tuple[int, int]]
    opened: tuple[int, ...]  #: for each span how many tags stand before it

    @property
    def key(self) -> str:
        """All that XML gives meaning to."""
        return "<".join(self.tags)

    def line_of_tag(self, at: int) -> int | None:
        """The line of a tag in the packet, as lxml counts it; None where a tag up to there spans lines."""
        if any("\n" in tag for tag in self.tags[: at + 1]):
            return None
        before = sum(gap.count("\n") for gap in self.gaps[: at + 1])
        texts = zip(self.opened, self.spans, strict=True)
        return 1 + before + sum(self.data.count(b"\n", *span) for opened, span in texts if opened <= at)


class Known(NamedTuple):
    """A packet of a shape that was seen before."""

    sighting: Sighting
    shape: Shape
    said: list[tuple[str, str]]  #: name and content type of each attachment, as they stand before its text

    def describe(self, element: Element, position: int) -> tuple[str, str]:
        """Name and content type of an attachment, as `edxml._body.describe` gives them for any packet."""
        return self.said[position - 1]


def look_at(data: bytes) -> Sighting | None:
    """Take a whole packet apart; None where its texts are not plain, or where it is too large to be remembered."""
    cut = _cut(data)
    if cut is None:
        return None
    markup, spans, opened = cut
    skeleton = b"".join(markup)
    if len(skeleton) > _LONGEST:
        return None
    angles = skeleton.translate(None, _HARMLESS)
    if angles != b"<>" * (len(angles) // 2):
        return None
    try:
        text = skeleton.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\ufffe" in text or "\uffff" in text:
        return None
    pieces = text.replace(">", "<").split("<")
    return Sighting(data, len(skeleton), pieces[1::2], pieces[::2], spans, opened)


def _cut(data: bytes) -> tuple[list[bytes], list[tuple[int, int]], tuple[int, ...]] | None:
    """The markup in pieces, the spans between them, and the number of tags before each span."""
    markup: list[bytes] = []
    spans: list[tuple[int, int]] = []
    opened: list[int] = []
    taken, tags = 0, 0
    found = data.find(_ENCODED)
    while found >= 0:
        start = data.find(b">", found) + 1
        end = data.find(b"<", start)
        if not start or end < 0:
            return None
        piece = data[taken:start]
        tags += piece.count(b"<")
        markup.append(piece)
        spans.append((start, end))
        opened.append(tags)
        taken = end
        closed = data.find(b">", end)
        found = data.find(_ENCODED, closed) if closed >= 0 else -1
    markup.append(data[taken:])
    return markup, spans, tuple(opened)


class Shapes:
    """What was seen. Threads share it: one that looks while another adds at worst learns a shape again."""

    def __init__(self) -> None:
        self._young: dict[str, Shape] = {}
        self._old: dict[str, Shape] = {}
        self._size = 0
        self._met: set[int] = set()  # hashes of shapes that were met once

    def __len__(self) -> int:
        """How many elements are remembered."""
        return sum(len(shape.nodes) for shapes in (self._young, self._old) for shape in tuple(shapes.values()))

    def recognise(self, sighting: Sighting, limits: Limits) -> Known | None:
        """The packet as one of a known shape; None where it is none, or where `limits` are for others to judge."""
        key = sighting.key
        shape = self._young.get(key)
        if shape is None:
            shape = self._old.get(key)
            if shape is None:
                return None
            self._keep(key, shape)
        gaps = sighting.gaps
        if gaps[0] or any(gaps[at].strip(_BLANKS) for at in shape.blanks):
            return None
        if len(sighting.spans) != len(shape.contents):
            return None
        said = []
        for opened, (node, name_at, type_at) in zip(sighting.opened, shape.contents, strict=True):
            name, content_type = gaps[name_at][:SAID].strip(), gaps[type_at][:SAID].strip()
            if node.text_at != opened or not name or not content_type:
                return None
            said.append((name, content_type))
        return Known(sighting, shape, said) if _is_within(sighting, shape, limits) else None

    def learn(
        self, sighting: Sighting, root: Element, dialect: Dialect, said_at: Callable[[Node], tuple[int, int] | None]
    ) -> None:
        """Remember the shape of a packet whose tree is `root`, if all packets of that shape may be read by it.

        That happens when it is met for the second time.

        `said_at` gives the gaps where an attachment's name and type stand, if both stand before its text.
        """
        key = sighting.key
        if self._is_first(hash(key)):
            return
        shape = _shape_of(sighting, root, dialect, said_at)
        if shape is not None:
            self._keep(key, shape)

    def _is_first(self, mark: int) -> bool:
        """Learning costs as much as reading, so a shape that comes once is not learnt."""
        if mark in self._met:
            return False
        if len(self._met) >= _MET:
            self._met.clear()
        self._met.add(mark)
        return True

    def _keep(self, key: str, shape: Shape) -> None:
        if self._size > _REMEMBERED:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[key] = shape
        self._size += len(shape.nodes) + len(key) // _ELEMENT


SHAPES: Final = Shapes()
"""Those that this process has seen."""


def _is_within(sighting: Sighting, shape: Shape, limits: Limits) -> bool:
    """Whether no limit can be passed; the attachments themselves are counted and measured by whoever takes them."""
    return (
        len(sighting.data) <= limits.packet
        and sighting.size <= min(limits.header, limits.markup, limits.text, limits.attributes)
        and len(sighting.tags) <= limits.elements
        and shape.depth <= limits.depth
    )


def _shape_of(
    sighting: Sighting, root: Element, dialect: Dialect, said_at: Callable[[Node], tuple[int, int] | None]
) -> Shape | None:
    """The tags as a tree beside lxml's; None where the two are not the same, element by element and text by text."""
    elements = list(root.iter())
    nodes: list[Node] = []
    opened: list[Node] = []
    gaps = sighting.gaps
    deepest = 0
    blanks = [_ABSENT, len(gaps) - 1]
    for at, tag in enumerate(sighting.tags):
        if tag.startswith("?xml ") and at == 0:
            blanks.append(1)
            continue
        if tag.startswith("/"):
            if not opened:
                return None
            opened.pop().tail_at = at + 1
            continue
        if tag.startswith(("!", "?")) or len(nodes) == len(elements):
            return None
        node = _node(elements[len(nodes)], opened[-1] if opened else None, len(nodes), at, tag)
        nodes.append(node)
        if tag.endswith("/"):
            node.tail_at = at + 1
        else:
            opened.append(node)
            deepest = max(deepest, len(opened))
    if len(nodes) != len(elements) or opened or not _are_same(nodes, elements, gaps):
        return None
    contents = [node for node in nodes if node.tag.rpartition("}")[2] == _ENCODED.decode()]
    said = [said_at(node) for node in contents]
    if [node.text_at for node in contents] != list(sighting.opened) or None in said:
        return None
    return Shape(
        dialect=dialect,
        nodes=tuple(nodes),
        depth=deepest + 1,
        contents=tuple((node, *where) for node, where in zip(contents, said, strict=True) if where is not None),
        blanks=tuple(blanks),
    )


def _node(element: Element, parent: Node | None, number: int, at: int, tag: str) -> Node:
    text_at = _ABSENT if tag.endswith("/") else at + 1
    node = Node(element.tag, element.prefix, number=number, text_at=text_at, parent=parent)
    if parent is not None:
        parent.children.append(node)
    return node


def _are_same(nodes: list[Node], elements: list[Element], gaps: list[str]) -> bool:
    """Whether parents, texts and what follows each element are what lxml read."""
    numbers = {element: number for number, element in enumerate(elements)}
    for node, element in zip(nodes, elements, strict=True):
        above = element.getparent()
        if above is None:
            if node.parent is not None:
                return False
        elif node.parent is None or node.parent.number != numbers[above] or gaps[node.tail_at] != (element.tail or ""):
            return False
        if gaps[node.text_at] != (element.text or ""):
            return False
    return True
