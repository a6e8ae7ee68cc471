"""`python -m edxml`: packets checked, shown, built, signed and changed, without a node (`truc packet` is the same)."""

from __future__ import annotations

import sys
from typing import Any

import typer

from edxml.commands import check
from edxml.commands.running import Program, make_app, run

__all__ = ["main"]


def _tree(_word: str) -> Any:
    app = make_app("python -m edxml", "help.packet")
    check.register(app)
    return typer.main.get_command(app)


def main() -> int:
    """Run one command; gives its exit code."""
    return run(Program(name="python -m edxml", tree=_tree))


if __name__ == "__main__":
    sys.exit(main())
