"""Nothing that a line is given is dropped: the guard would do so silently, and a fault would go without its place."""

from __future__ import annotations

import ast

from monitoring.log_guard import KEYS
from tests.unit.house.sources import modules

_WAYS = {"debug", "info", "warning", "error", "exception", "log"}


def test_every_key_of_every_line_is_on_the_list() -> None:
    calls = [
        (module.path, call)
        for module in modules()
        for name, call in module.calls()
        if name in _WAYS and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
        if call.func.value.id.lstrip("_") in ("log", "logger")
    ]
    assert len(calls) > 50, "the lines were not found"
    dropped = [
        f"{path}:{call.lineno}: {key.arg}"
        for path, call in calls
        for key in call.keywords
        if key.arg is not None and key.arg not in KEYS and key.arg != "exc_info"
    ]
    assert dropped == []
