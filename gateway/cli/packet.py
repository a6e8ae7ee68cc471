"""`truc packet …`: the commands of `python -m edxml`, which need no node."""

from __future__ import annotations

import typer

from edxml.commands.check import register as register_commands

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands on packets."""
    group = typer.Typer(help="help.packet", no_args_is_help=True)
    register_commands(group)
    app.add_typer(group, name="packet")
