"""Our own XSD of document and status packets (lược đồ gói tin), its fast check and its explanation.

The files `document.xsd` and `status.xsd` are written from QCVN 102:2016/BTTTT as SDKs, samples and implementers show
it (the standard's own tables are not public; it has no XSD).  They describe the strict form: what our writer
writes, dialects A and B.  Decided there: within most groups the order is free (xs:all); MessageHeader keeps VNPT's
order or the standard's, because XSD 1.0 has no free order with repeated elements; a value that only a rule asks for is
optional here.  `docs/reference/packet-schema.md` is generated from them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module, resources
from typing import Any, BinaryIO, Final

from lxml import etree

from edxml._notes import NAMESPACE, Notes
from edxml._xml import Element, Splitter, Unread
from edxml.findings import Finding, Refusal
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits

__all__ = ["DOCUMENT", "STATUS", "check", "check_stream", "is_valid", "schema_path"]

DOCUMENT: Final = "document"
STATUS: Final = "status"


def schema_path(kind: str) -> str:
    """Where the XSD file of DOCUMENT or STATUS stands."""
    return str(resources.files("edxml").joinpath(f"schema/{kind}.xsd"))


@cache
def _compiled(kind: str) -> Any:
    return etree.XMLSchema(file=schema_path(kind))


_ONE_BY_ONE = threading.Lock()
"""lxml keeps a validator's errors in it."""


def _is_valid(kind: str, root: Element) -> bool:
    with _ONE_BY_ONE:
        is_right: bool = _compiled(kind).validate(root)
        return is_right


_IS_LARGE = etree.XPath("count(//*) > 5000")
"""Explained before libxml2 is asked: its time grows with the square of what is wrong, and its errors fill memory."""


def is_valid(skeleton: Element) -> bool:
    """Whether a packet's tree keeps the schema; `skeleton` may lack the text of attachments. Explains nothing."""
    return _is_valid(_kind(skeleton), skeleton)


def check(
    skeleton: Element,
    *,
    line_of: Callable[[Element], int | None] = lambda element: element.sourceline,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Finding, ...]:
    """Every violation of the schema in a packet's tree, with path, line and what is allowed; none for a right one.

    `skeleton` is the root element, with or without the text of attachments; `line_of` gives an element's line in the
    packet. At most `limits.findings` violations are told.
    """
    kind = _kind(skeleton)
    is_large = _IS_LARGE(skeleton)
    if not is_large and _is_valid(kind, skeleton):
        return ()
    notes = Notes(limits)
    notes.lines = line_of
    shown = skeleton
    if is_large:
        shown, original = _shorten(skeleton)
        notes.lines = lambda element: line_of(original[element])
    explain = import_module("edxml.schema.explain").explain  # with it comes xmlschema, which few processes need
    explain(shown, schema_path(kind), notes)
    if not notes.findings:
        if is_large and _is_valid(kind, skeleton):
            return ()
        notes.lines = line_of
        first = _compiled(kind).error_log[0]  # libxml2 refused what the explainer has no words for
        notes.error("edxml.schema_other", skeleton, line=first.line, why=first.message[:300])
    return tuple(notes.findings)


_MOST_ALIKE: Final = 200  # children of one name in a parent that are explained of a large packet


def _shorten(root: Element) -> tuple[Element, dict[Element, Element]]:
    """A copy of a large tree with the first children of each name alone, and whose copy each element is."""
    short = etree.Element(root.tag, root.attrib)
    original, left = {short: root}, [short]
    while left:
        parent = left.pop()
        parent.text = original[parent].text
        seen: Counter[str] = Counter()
        for child in original[parent].iterchildren("*"):
            seen[child.tag] += 1
            if seen[child.tag] <= _MOST_ALIKE:
                copy = etree.SubElement(parent, child.tag, child.attrib)
                copy.tail = child.tail
                original[copy] = child
                left.append(copy)
    return short, original


def check_stream(stream: BinaryIO, *, limits: Limits = DEFAULT_LIMITS) -> tuple[Finding, ...]:
    """The same for the bytes of a packet, read once; attachments pass by unread. What is no XML is one finding."""
    splitter = Splitter(limits=limits, contents=Unread(), repaired=lambda name, line: None)
    try:
        while piece := stream.read(PIECE):
            splitter.feed(piece)
        root = splitter.close()
    except Refusal as refusal:
        return (refusal.finding,)
    return check(root, line_of=splitter.line_of, limits=limits)


_HAS_STATUS = etree.XPath("boolean(*/*/e:MessageHeader/e:StatusCode)", namespaces={"e": NAMESPACE})


def _kind(root: Element) -> str:
    """STATUS where the header has a StatusCode."""
    return STATUS if _HAS_STATUS(root) else DOCUMENT
