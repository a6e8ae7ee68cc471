"""Nothing that a line is given is dropped: the guard would do so silently, and a fault would go without its place."""

from __future__ import annotations

import ast
from pathlib import Path

from monitoring.log_guard import KEYS
from tests.unit.house.sources import modules

_WAYS = {"debug", "info", "warning", "error", "exception", "log"}


def _lines() -> list[tuple[Path, ast.Call]]:
    calls = [
        (module.path, call)
        for module in modules()
        for name, call in module.calls()
        if name in _WAYS and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
        if call.func.value.id.lstrip("_") in ("log", "logger")
    ]
    assert len(calls) > 50, "the lines were not found"
    return calls


def test_every_key_of_every_line_is_on_the_list() -> None:
    dropped = [
        f"{path}:{call.lineno}: {key.arg}"
        for path, call in _lines()
        for key in call.keywords
        if key.arg is not None and key.arg not in KEYS and key.arg != "exc_info"
    ]
    assert dropped == []


def test_the_class_of_an_error_stands_under_error() -> None:
    """`reason` is a code: the guard withholds the name of a class there, and the line says nothing."""
    named = [
        f"{path}:{call.lineno}: {key.arg}"
        for path, call in _lines()
        for key in call.keywords
        if isinstance(key.value, ast.Attribute) and key.value.attr == "__name__" and key.arg != "error"
    ]
    assert named == []
