"""`truc apply` and `truc export`: who exists, who calls and how each agency is reached, as one file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from edxml.commands.files import open_packet
from gateway.cli.opening import ACTOR, open_local
from gateway.cli.output import AsJson, voice_of
from gateway.configuration import apply as apply_configuration
from gateway.configuration import decode
from gateway.configuration import export as export_configuration
from gateway.configuration import read as read_configuration

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("apply", help="help.apply")(apply)
    app.command("export", help="help.export")(export)


def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.apply_file", allow_dash=True)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="help.dry_run")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the rows what a file says, or show what would change. A repeat changes nothing."""
    voice = voice_of(ctx)
    with open_packet(file) as stream:
        configuration = read_configuration(decode(stream.read()))
    with open_local() as local:
        limit = timedelta(days=local.settings.time_limit_days)
        changes = apply_configuration(local.store, configuration, dry_run=dry_run, actor=ACTOR, time_limit=limit)
    if as_json:
        voice.json({"is_dry_run": dry_run, "changes": changes})
        return
    for change in changes:
        mark, style = ("+", "green") if change.kind == "added" else ("~", "yellow")
        voice.write(f"{mark} {change.text(voice.language)}", style)
    voice.hint("apply.would_change" if dry_run else "apply.changed", count=len(changes))


def export(
    ctx: typer.Context,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="help.export_output")] = None,
) -> None:
    """Write the rows as a file that, applied, changes nothing."""
    voice = voice_of(ctx)
    with open_local() as local:
        written = export_configuration(local.store)
    if output is None:
        voice.out.file.write(written)
    else:
        output.write_text(written, "utf-8")
        voice.hint("export.written", path=str(output))
