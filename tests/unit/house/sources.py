"""The project's own files as house rules see them: what git tracks, and the syntax trees of the packages."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[3]
PACKAGES = ("gateway", "edxml", "adapters", "routing", "monitoring")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its path inside the house, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones too."""
        return (node for node in ast.walk(self.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))

    def docstrings(self) -> Iterator[str]:
        """Docstrings of the module, its classes and its functions."""
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = (ast.get_docstring(node) for node in ast.walk(self.tree) if isinstance(node, kinds))
        return (text for text in found if text)

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call of a plain or dotted name, with the last part of that name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                target = node.func
                if isinstance(target, ast.Name):
                    yield target.id, node
                elif isinstance(target, ast.Attribute):
                    yield target.attr, node


@cache
def modules() -> tuple[Module, ...]:
    """All modules of the packages but migrations, which are written once and never again."""
    found = []
    for package in PACKAGES:
        for path in sorted((HOUSE / package).rglob("*.py")):
            if "migrations" not in path.parts:
                text = path.read_text("utf-8")
                found.append(Module(str(path.relative_to(HOUSE)), text, ast.parse(text)))
    assert len(found) > 50, "the packages were not found"
    return tuple(found)


def import_all() -> None:
    """Import every module of the packages, so that what is declared at import is declared."""
    for package in PACKAGES:
        home = importlib.import_module(package)
        for found in pkgutil.walk_packages(home.__path__, f"{package}."):
            if ".migrations" not in found.name and not found.name.endswith("__main__"):
                importlib.import_module(found.name)


@cache
def tracked_files() -> tuple[Path, ...]:
    """Files that git tracks or would track, as far as they exist; all files below the house where git is absent."""
    asked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=HOUSE, capture_output=True
    )
    if asked.returncode == 0:
        paths = [HOUSE / name for name in asked.stdout.decode().split("\0") if name]
    else:  # an exported tree
        left_out = {".venv", "var", "site", ".git", "__pycache__"}
        paths = [path for path in HOUSE.rglob("*") if not left_out & set(path.parts)]
    files = tuple(path for path in paths if path.is_file())
    assert len(files) > 100, "the house was not found"
    return files


def texts() -> Iterator[tuple[str, str]]:
    """(path, text) of every tracked file that is text."""
    for path in tracked_files():
        try:
            yield str(path.relative_to(HOUSE)), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
