"""`truc demo`: a province played on real processes, killed on the way, and accounted for."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.output import voice_of

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo", help="help.demo")(demo)


def demo(ctx: typer.Context, keep: Annotated[bool, typer.Option("--keep", help="help.keep")] = False) -> None:
    """Play the demo. Exit code 1 where the account does not close."""
    from gateway.trial.demo import run_demo  # the other commands need none of it

    voice = voice_of(ctx)
    raise typer.Exit(run_demo(voice.language, keep=keep, console=voice.out))
