"""Kinds of documents (loại văn bản): in which group each is, and the abbreviations its notation may begin with.

From `data/code_lists`: document_types.tsv (QCVN 102:2016/SĐ1:2022) and notations.tsv (NĐ 30/2020/NĐ-CP phụ lục III
and, for older documents, TT 01/2011/TT-BNV).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType

from edxml.codes import document_type, fold_name

__all__ = ["abbreviations_of", "groups_of"]

_NONE: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def groups_of(name: str) -> frozenset[str]:
    """The groups ("1" normative, "2" administrative) that have a kind of this name; empty for an unknown name."""
    listed = document_type(name)
    own = _NONE if listed is None else frozenset((str(listed.group),))
    return own | frozenset(_table().get(_plain(name), {}))


@lru_cache(maxsize=1024)
def abbreviations_of(name: str) -> tuple[str, ...]:
    """The abbreviations of this kind, today's first; empty for a kind that has none and for an unknown name."""
    return tuple(dict.fromkeys(short for listed in _table().get(_plain(name), {}).values() for short in listed))


def _plain(name: str) -> str:
    return fold_name(name.split(" (")[0])


@cache
def _table() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Folded name → group → abbreviations."""
    text = resources.files("edxml").joinpath("data/code_lists/notations.tsv").read_text("utf-8")
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in text.splitlines()[1:]:
        name, group, short = row.split("\t")[:3]
        found.setdefault(fold_name(name), {})[group] = tuple(short.split())
    return MappingProxyType(found)
