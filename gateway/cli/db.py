"""`truc db check`: the database looked over, for what it needs to stay quick and whole. Exit code 1 where it does."""

from __future__ import annotations

import typer

from gateway.cli.exits import ExitCode
from gateway.cli.opening import check_not_lost, has_node
from gateway.cli.output import AsJson, voice_of
from gateway.model.errors import NotFound
from gateway.settings import read_settings
from gateway.store.upkeep import look_at_database

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.db", no_args_is_help=True)
    group.command("check", help="help.db_check")(check)
    app.add_typer(group, name="db")


def check(
    ctx: typer.Context,
    as_json: AsJson = False,
) -> None:
    """Look, beside the running node; changes nothing and migrates nothing."""
    voice, settings = voice_of(ctx), read_settings()
    if not has_node(settings):
        check_not_lost(settings)
        raise NotFound("cli.no_node", folder=str(settings.data.resolve()))
    report = look_at_database(
        settings.data, database=settings.database, password_file=settings.database_password_file,
        ahead=settings.months_ahead, wait_seconds=settings.database_wait,
    )  # fmt: skip
    if as_json:
        voice.json(
            {
                "database": report.database, "schema": report.revision, "figures": report.figures,
                "findings": [{"kind": one.kind, "what": one.what, "figure": one.figure} for one in report.findings],
            }
        )  # fmt: skip
    else:
        for one in report.findings:
            code = f"db.{one.kind}"
            voice.fault(voice.say(code, what=one.what, figure=one.figure), code)
        if not report.findings:
            voice.tell("db.well", schema=report.revision or "–")
    if report.findings:
        raise typer.Exit(ExitCode.FINDINGS)
