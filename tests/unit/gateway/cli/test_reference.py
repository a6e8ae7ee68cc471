"""The page of commands cannot fall behind the commands."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.reference import describe_commands

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "cli.md"


def test_the_page_of_commands_is_what_the_tree_says() -> None:
    assert PAGE.read_text("utf-8") == describe_commands(), (
        "run: python -m gateway.cli.reference > docs/reference/cli.md"
    )
