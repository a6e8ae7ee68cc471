"""A module fits a head, a function fits a screen."""

from __future__ import annotations

import ast

from tests.unit.house.sources import HOUSE, Function, modules, tracked_files

MODULE_LINES = 400
FUNCTION_LINES = 60


def body_lines(function: Function) -> int:
    """Lines of a function without its docstring, decorators included: what must be held in mind at once."""
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    assert function.end_lineno is not None
    lines = function.end_lineno - first + 1
    opening = function.body[0]
    if ast.get_docstring(function) is not None:
        assert opening.end_lineno is not None
        lines -= opening.end_lineno - opening.lineno + 1
    return lines


def test_no_module_is_longer_than_400_lines() -> None:
    """Of the packages, and of everything else that is Python and was written by hand: tests, benches, scripts."""
    others = [path for path in tracked_files() if path.suffix == ".py" and "migrations" not in path.parts]
    assert len(others) > 300, "the tests were not found"
    long = {str(path.relative_to(HOUSE)): n for path in others if (n := path.read_text().count("\n")) > MODULE_LINES}
    assert not long


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{m.path}:{function.name}": lines
        for m in modules()
        for function in m.functions()
        if (lines := body_lines(function)) > FUNCTION_LINES
    }
    assert not long


def test_every_module_says_what_it_is() -> None:
    assert not [m.path for m in modules() if not ast.get_docstring(m.tree) and m.text.strip()]


def test_no_name_hides_what_a_thing_does() -> None:
    hiding = ("Manager", "Helper", "Util", "Utils", "Base", "Impl")
    named = [
        f"{m.path}:{node.name}"
        for m in modules()
        for node in ast.walk(m.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(hiding)
    ]
    files = [
        m.path for m in modules() if m.path.rsplit("/", 1)[-1] in ("utils.py", "helpers.py", "common.py", "misc.py")
    ]
    assert not named
    assert not files
