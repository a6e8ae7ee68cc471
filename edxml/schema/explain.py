"""Every violation of our schema in words, each with its path, its line and what is allowed instead.

libxml2 says quickly whether a packet is right; where it is not, xmlschema finds what is wrong, and this names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import xmlschema
from lxml import etree
from xmlschema.validators import (
    XMLSchemaChildrenValidationError,
    XsdAnyAttribute,
    XsdAttributeGroup,
    XsdElement,
    XsdEnumerationFacets,
    XsdGroup,
    XsdMaxLengthFacet,
    XsdMinLengthFacet,
    XsdPatternFacets,
)

from edxml._notes import NAMESPACE, Notes, local_name
from edxml._xml import Element

__all__ = ["explain"]

_SHOWN = 40
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


@cache
def _schema(path: str) -> xmlschema.XMLSchema10:
    return xmlschema.XMLSchema10(path, allow="local")


def explain(root: Element, path: str, notes: Notes) -> None:
    """Note every violation in `root` of the schema at `path`, in the order of lines."""
    parents: dict[Element, set[str]] = {}  # each with the names that were told to be missing in it
    for error in _schema(path).iter_errors(root):
        if isinstance(error, XMLSchemaChildrenValidationError):
            if error.elem not in parents:
                _each_child(error, notes)
            _place(error, parents.setdefault(error.elem, set()), notes)
        else:
            _explain(error, notes)
        if notes.is_full:
            break
    notes.findings.sort(key=lambda finding: finding.place.line or 0)


def _explain(error: Any, notes: Notes) -> None:
    """One violation that xmlschema found."""
    element, validator = error.elem, error.validator
    if isinstance(validator, XsdGroup):
        notes.error("edxml.schema_text", element, name=local_name(element))
    elif isinstance(validator, XsdAttributeGroup | XsdAnyAttribute):
        _attributes(element, validator.parent if isinstance(validator, XsdAnyAttribute) else validator, notes)
    elif isinstance(validator, XsdElement) and len(element):
        for child in element:
            notes.error("edxml.schema_element_unexpected", child, name=_cut(child), allowed="-")
    elif isinstance(validator, xmlschema.XMLSchema10):
        _root(element, notes)
    else:
        _value(error, notes)


def _root(element: Element, notes: Notes) -> None:
    if etree.QName(element).localname == "edXML":
        notes.error("edxml.schema_namespace", element, name="edXML", namespace=NAMESPACE)
    else:
        notes.error("edxml.schema_root", element, name=_cut(element), expected="edXML")


def _each_child(error: Any, notes: Notes) -> None:
    """Children that the element may not have at all, and those that are too many."""
    allowed = list(error.validator.iter_elements())
    counts: Counter[str] = Counter()
    for child in error.elem:
        counts[child.tag] += 1
        matching = [one for one in allowed if one.is_matching(child.tag)]
        if notes.is_full:
            return
        if not matching:
            _unexpected(child, allowed, notes)
        elif _is_over(counts[child.tag], matching):
            notes.error("edxml.schema_element_repeated", child, name=_cut(child), most=matching[0].max_occurs)


def _place(error: Any, told: set[str], notes: Notes) -> None:
    """What is missing where validation stopped; a child that may stand, but not there."""
    parent, child = error.elem, error.invalid_child
    counts = Counter(one.tag for one in parent)
    missing = [one for one in error.expected or () if one.min_occurs and one.name and not counts[one.name]]
    for name in [one.local_name for one in missing[: None if child is None else 1]]:
        if name not in told:
            notes.error("edxml.schema_element_missing", parent, name, name=name, inside=local_name(parent))
            told.add(name)
    if missing or child is None:
        return
    allowed = list(error.validator.iter_elements())
    matching = [one for one in allowed if one.is_matching(child.tag)]
    if matching and not _is_over(sum(1 for _ in child.itersiblings(child.tag, preceding=True)) + 1, matching):
        notes.error("edxml.schema_element_misplaced", child, name=_cut(child), order=_listed(allowed))


def _is_over(count: int, matching: list[Any]) -> bool:
    return all(one.max_occurs is not None and count > one.max_occurs for one in matching)


def _unexpected(child: Element, allowed: list[Any], notes: Notes) -> None:
    name = etree.QName(child).localname
    if etree.QName(child).namespace != NAMESPACE and any(one.local_name == name for one in allowed):
        notes.error("edxml.schema_namespace", child, name=name, namespace=NAMESPACE)
    else:
        notes.error("edxml.schema_element_unexpected", child, name=_cut(child), allowed=_listed(allowed))


def _attributes(element: Element, group: Any, notes: Notes) -> None:
    allowed = sorted(name for name in group if name)
    for name in element.attrib:
        if name not in group and not name.startswith(_XSI) and not _is_open_for(group, name):
            notes.error("edxml.schema_attribute", element, attribute=name[:80], allowed=", ".join(allowed) or "-")


def _is_open_for(group: Any, name: str) -> bool:
    wildcard = group.get(None)
    return wildcard is not None and bool(wildcard.is_matching(name))


def _value(error: Any, notes: Notes) -> None:
    """What is wrong with the text of an element."""
    element, facet, text = error.elem, error.validator, str(error.obj)
    name = local_name(element)
    if isinstance(facet, XsdEnumerationFacets):
        listed = ", ".join(map(str, facet.enumeration))
        notes.error("edxml.schema_value_unlisted", element, name=name, text=text[:_SHOWN], allowed=listed)
    elif isinstance(facet, XsdMinLengthFacet):
        notes.error("edxml.schema_value_empty", element, name=name)
    elif isinstance(facet, XsdMaxLengthFacet):
        notes.error("edxml.schema_value_long", element, name=name, limit=facet.value, length=len(text))
    elif isinstance(facet, XsdPatternFacets):
        kind: Any = facet.parent
        form = FORMS[kind.local_name]
        notes.error("edxml.schema_value_form", element, name=name, text=text[:_SHOWN], form=form)
    else:
        notes.error("edxml.schema_other", element, line=notes.line_of(element), why=error.reason[:300])


FORMS = {
    "OrganId": "000.00.01.H27, H27.01",
    "Date": "yyyy/MM/dd",
    "Timestamp": "yyyy/MM/dd HH:mm:ss",
    "Count": "0-999999999",
}
"""How a form is shown to people; a test compares the keys with the schema's patterns."""


def _listed(elements: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(one.local_name for one in elements if one.name)) or "-"


def _cut(element: Element) -> str:
    return local_name(element)[:80]
