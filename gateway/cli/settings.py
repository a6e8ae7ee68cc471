"""`truc settings check|show`: what this process was told, and what was misspelt. Secrets are never shown."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from gateway.cli.output import AsJson, Voice, voice_of
from gateway.settings import Settings, read_settings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.settings", no_args_is_help=True)
    group.command("check", help="help.settings_check")(check)
    group.command("show", help="help.settings_show")(show)
    app.add_typer(group, name="settings")


def check(ctx: typer.Context) -> None:
    """Read the settings as a process would. Exit code 4, naming each variable that is wrong or misspelt."""
    settings = read_settings()
    changed = sum(1 for row in _rows(settings) if row["is_set"])
    voice_of(ctx).tell("settings_told.right", count=changed)


def show(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all/--changed", help="help.settings_all")] = True,
    as_json: AsJson = False,
) -> None:
    """Show every setting, its value, and where it comes from."""
    voice = voice_of(ctx)
    rows = [row for row in _rows(read_settings()) if all_ or row["is_set"]]
    if as_json:
        voice.json(rows)
        return
    voice.table(
        ("variable", "value", "origin", "meaning"),
        [(row["variable"], row["value"], _origin(voice, row), voice.say(f"setting.{row['name']}")) for row in rows],
    )
    token = "token_set" if os.environ.get("TRUC_TOKEN") else "token_unset"
    voice.hint(f"settings_told.{token}")


def _origin(voice: Voice, row: dict[str, Any]) -> str:
    return voice.say("settings_told.environment" if row["is_set"] else "settings_told.default")


def _rows(settings: Settings) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "variable": f"TRUC_{name.upper()}",
            "value": str(getattr(settings, name)),
            "default": str(field.default),
            "is_set": f"TRUC_{name.upper()}" in os.environ,
        }
        for name, field in Settings.model_fields.items()
    ]
