"""`truc init`, and the processes of a node: `serve`, or its parts, from `api` to `inspect`, apart."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.opening import open_local
from gateway.cli.output import AsJson, voice_of
from gateway.cli.process import Role, run_process
from gateway.cli.release import release_name
from gateway.compose import open_keys
from gateway.configuration import init_rows
from gateway.settings import read_settings
from gateway.workers.months import keep_months

__all__ = ["register"]

_ReadyFd = Annotated[int | None, typer.Option("--ready-fd", min=1, help="help.ready_fd")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init", help="help.init")(init)
    app.command("serve", help="help.serve")(serve)
    for role in (Role.API, Role.RELAY, Role.DELIVER, Role.PERIODIC, Role.INTAKE, Role.INSPECT):
        app.command(str(role), help=f"help.{role}")(_runner(role))
    app.command("version", help="help.version")(version)


def init(
    ctx: typer.Context,
    profile: Annotated[str, typer.Option(help="help.profile")] = "nghe_an",
    as_json: AsJson = False,
) -> None:
    """Make a node: folder, database with its months, keys, directory. Safe to repeat: what is there stays as it is."""
    voice = voice_of(ctx)
    with open_local(may_make=True) as local:
        had_keys = any((local.settings.data / "keys").glob("seal*.crt"))
        open_keys(local.settings, local.store)
        has_new_keys = not had_keys
        added = init_rows(local.store, profile)
        keep_months(local.store, local.settings.months_ahead)
        folder = str(local.settings.data.resolve())
    if as_json:
        voice.json({"node": local.settings.node, "folder": folder, "agencies_added": added, "keys_made": has_new_keys})
        return
    voice.tell("init.done", node=local.settings.node, folder=folder, count=added)
    voice.tell("init.keys_made" if has_new_keys else "init.keys_kept", folder=folder)
    voice.hint("init.next")


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="help.host")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="help.port")] = None,
    ready_fd: _ReadyFd = None,
) -> None:
    """Run the whole node in this process until it is told to stop."""
    wishes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    run_process(voice_of(ctx), read_settings().model_copy(update=wishes), Role.SERVE, ready_fd=ready_fd)


def _runner(role: Role):  # type: ignore[no-untyped-def]  # typer reads the inner function's own signature
    def run(ctx: typer.Context, ready_fd: _ReadyFd = None) -> None:
        run_process(voice_of(ctx), read_settings(), role, ready_fd=ready_fd)

    return run


def version(ctx: typer.Context) -> None:
    """Name the release."""
    voice_of(ctx).write(f"truc {release_name()}")
