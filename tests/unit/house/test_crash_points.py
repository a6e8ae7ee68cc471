"""Every crash point is declared, passed and named in a docstring of the module that declares it."""

from __future__ import annotations

import ast
import re

from edxml.crashpoints import POINTS
from tests.unit.house.sources import Module, import_all, modules

_LISTED = re.compile(r"Crash points: ([^\n]*(?:\n(?!\s*\n)[^\n]*)*)")
_NAME = re.compile(r"\b[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\b")


def literals(module: Module, function: str) -> set[str]:
    """First arguments, as text, of every call of `function` in a module."""
    return {
        call.args[0].value
        for name, call in module.calls()
        if name == function
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def listed(module: Module) -> set[str]:
    """Names that stand after `Crash points:` in a module's docstrings; "those of …" points elsewhere."""
    found: set[str] = set()
    for text in module.docstrings():
        for match in _LISTED.finditer(text):
            if not match[1].startswith("those of"):
                found |= set(_NAME.findall(match[1]))
    return found


def users() -> list[Module]:
    return [m for m in modules() if m.path != "edxml/crashpoints.py"]


def test_every_declared_point_is_listed_in_a_docstring() -> None:
    unlisted = {m.path: gap for m in users() if (gap := literals(m, "declare") - listed(m))}
    assert not unlisted


def test_every_declared_point_is_passed_and_every_passed_one_declared() -> None:
    import_all()
    passed = set().union(*(literals(m, "crash_point") for m in users()))
    declared = {point for point in POINTS if not point.startswith("stand_in.")}  # those of the tests' own stand-ins
    assert declared - passed == set(), "declared, but no process passes there"
    assert passed - declared == set(), "passed, but not declared"


def test_docstrings_list_no_point_that_is_not_there() -> None:
    import_all()
    assert {m.path: gone for m in users() if (gone := listed(m) - set(POINTS))} == {}
