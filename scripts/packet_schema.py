"""Our schema files as values: which elements stand where, how often, in which order, with which values.

The XSD files are the truth; this reads the part of XML Schema that they are written in, for whoever must tell a
person what is allowed: the reference page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

from lxml import etree

from edxml.messages import Language
from edxml.schema import DOCUMENT, STATUS, schema_path

__all__ = ["DOCUMENT", "STATUS", "Facets", "Part", "Particle", "load_part"]

_XS = "{http://www.w3.org/2001/XMLSchema}"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What the text of an element may be. `collapses` where blanks around it do not count."""

    name: str = "Text"
    collapses: bool = False
    values: tuple[tuple[str, dict[Language, str]], ...] = ()  #: the closed list, with each value's gloss
    pattern: re.Pattern[str] | None = None
    shortest: int = 0
    longest: int | None = None
    about: dict[Language, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One element of the schema. A leaf has `facets`; `is_open` where anything may stand within."""

    name: str
    type_name: str
    about: dict[Language, str]
    facets: Facets | None = None
    is_open: bool = False
    is_ordered: bool = False
    orders: tuple[tuple[Particle, ...], ...] = ((),)  #: the allowed orders of children; one where the order is free
    attributes: frozenset[str] = frozenset()
    attribute_namespace: str = ""  #: attributes of this namespace may stand too
    children: dict[str, Particle] = field(init=False, repr=False, compare=False)  #: by name, in whichever order

    def __post_init__(self) -> None:
        named: dict[str, Particle] = {}
        for particle in (particle for order in self.orders for particle in order):
            named.setdefault(particle.part.name, particle)
        object.__setattr__(self, "children", named)

    def child(self, name: str) -> Particle | None:
        """The child of this name, in whichever order."""
        return self.children.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """A child and how often it may stand: `most` None for any number."""

    part: Part
    least: int
    most: int | None


@cache
def load_part(kind: str) -> Part:
    """The root element of the DOCUMENT or STATUS schema, with all below it.

    Raises ValueError where a file uses a part of XML Schema that this does not know (a defect: a test reads them all).
    """
    tops = [etree.parse(schema_path(name)).getroot() for name in (kind, "common")]
    named = {node.get("name"): node for top in tops for node in top if node.get("name")}
    return _Reader(named).part(named["edXML"])


def _about(node: Any) -> dict[Language, str]:
    texts = node.iterfind(f"{_XS}annotation/{_XS}documentation")
    return {Language(text.get(_LANG)): text.text or "" for text in texts}


class _Reader:
    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named

    def part(self, node: Any) -> Part:
        """An xs:element."""
        name, type_name = node.get("name"), node.get("type", "")
        if type_name == "xs:anyType":
            return Part(name=name, type_name=type_name, about=_about(node), is_open=True)
        kind = self._named[type_name] if type_name else node.find(f"{_XS}complexType")
        if kind.tag == f"{_XS}simpleType":
            return Part(name=name, type_name=type_name, about=_about(node), facets=_facets(kind))
        group = next(child for child in kind if child.tag in (f"{_XS}sequence", f"{_XS}all"))
        any_attribute = kind.find(f"{_XS}anyAttribute")
        return Part(
            name=name,
            type_name=type_name,
            about=_about(node),
            is_ordered=group.tag == f"{_XS}sequence",
            orders=tuple(self._orders(group)),
            attributes=frozenset(each.get("name") for each in kind.iterfind(f"{_XS}attribute")),
            attribute_namespace="" if any_attribute is None else any_attribute.get("namespace"),
        )

    def _orders(self, group: Any) -> list[tuple[Particle, ...]]:
        """Every order that a sequence allows, choices multiplied out."""
        steps = [self._step(child) for child in group if child.tag != f"{_XS}annotation"]
        return [tuple(particle for step in steps_taken for particle in step) for steps_taken in product(*steps)]

    def _step(self, node: Any) -> list[tuple[Particle, ...]]:
        """The ways to go on at one child of a group."""
        if node.tag == f"{_XS}choice":
            ways = [way for child in node for way in self._step(child)]
            return [(), *ways] if node.get("minOccurs") == "0" else ways
        if node.tag == f"{_XS}sequence":
            return self._orders(node)
        most = node.get("maxOccurs", "1")
        least = int(node.get("minOccurs", "1"))
        part = _wildcard(node) if node.tag == f"{_XS}any" else self.part(node)
        return [(Particle(part=part, least=least, most=None if most == "unbounded" else int(most)),)]


def _wildcard(node: Any) -> Part:
    """Any element of one foreign namespace: its name is "{namespace}"."""
    return Part(name=f"{{{node.get('namespace')}}}", type_name="xs:any", about=_about(node), is_open=True)


def _facets(kind: Any) -> Facets:
    restriction = kind.find(f"{_XS}restriction")
    found: dict[str, list[Any]] = {}
    for facet in restriction:
        found.setdefault(facet.tag.removeprefix(_XS), []).append(facet)
    unknown = found.keys() - {"enumeration", "pattern", "minLength", "maxLength"}
    if unknown or restriction.get("base") not in ("xs:token", "xs:string"):
        raise ValueError(
            f"no such part of XML Schema here: {kind.get('name')}: {restriction.get('base')} {sorted(unknown)}"
        )
    values = {name: nodes[0].get("value") for name, nodes in found.items()}
    return Facets(
        name=kind.get("name"),
        collapses=restriction.get("base") == "xs:token",
        values=tuple((node.get("value"), _about(node)) for node in found.get("enumeration", ())),
        pattern=re.compile(values["pattern"]) if "pattern" in values else None,
        shortest=int(values.get("minLength", 0)),
        longest=int(values["maxLength"]) if "maxLength" in values else None,
        about=_about(kind),
    )
