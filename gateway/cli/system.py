"""`truc system add|rotate|revoke|list|show`: the systems (hệ thống kết nối) that call, and their tokens."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import typer

from edxml.messages import say_day
from edxml.profiles import REPAIRS, Profile
from gateway.channels import Channels
from gateway.cli.lookup import find_agency
from gateway.cli.names import Names
from gateway.cli.opening import ACTOR, open_local, today
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.identity import Registered, register_system, revoke_tokens, rotate_token
from gateway.model.errors import NotFound
from gateway.store.agencies import load_directory
from gateway.store.systems import list_systems, tokens_of

__all__ = ["register"]

_Name = Annotated[str, typer.Argument(help="help.system_name")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.system", no_args_is_help=True)
    group.command("add", help="help.system_add")(add)
    group.command("rotate", help="help.system_rotate")(rotate)
    group.command("revoke", help="help.system_revoke")(revoke)
    group.command("list", help="help.system_list")(list_all)
    group.command("show", help="help.system_show")(show)
    app.add_typer(group, name="system")


def add(
    ctx: typer.Context,
    name: _Name,
    speaks_for: Annotated[list[str] | None, typer.Option("--speaks-for", help="help.speaks_for")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="help.operator")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a system and show its token, once. `--speaks-for` takes ids and codes, several with commas."""
    with open_local() as local:
        with local.store.read() as connection:
            directory = load_directory(connection)
        wanted = [part.strip() for given in speaks_for or () for part in given.split(",") if part.strip()]
        agencies = {find_agency(directory, written, today(local.settings)).id for written in wanted}
        added = register_system(local.store, name, agency_ids=agencies, is_operator=operator, actor=ACTOR)
    _show_token(voice_of(ctx), added, as_json)


def rotate(
    ctx: typer.Context,
    name: _Name,
    grace_hours: Annotated[float, typer.Option("--grace-hours", min=0, max=87_600, help="help.grace")] = 168.0,
    as_json: AsJson = False,
) -> None:
    """Give a system a new token; the old one goes on for a while, so that nothing stands still meanwhile."""
    with open_local() as local:
        rotated = rotate_token(local.store, name, grace=timedelta(hours=grace_hours), actor=ACTOR)
    _show_token(voice_of(ctx), rotated, as_json)


def _show_token(voice: Voice, registered: Registered, as_json: bool) -> None:
    if as_json:
        voice.json({"id": registered.system_id, "name": registered.name, "token": registered.token})
        return
    voice.write(registered.token)
    voice.hint("system_told.token_once", name=registered.name)


def revoke(ctx: typer.Context, name: _Name) -> None:
    """End every token of a system at once: one was lost."""
    with open_local() as local:
        ended = revoke_tokens(local.store, name)
    voice_of(ctx).tell("system_told.revoked", name=name, count=ended)


def list_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the systems, for whom they speak, and how many tokens open the door. Tokens themselves are nowhere."""
    voice = voice_of(ctx)
    with open_local() as local, local.store.read() as connection:
        now = local.store.now(connection)
        rows = [
            (row, sum(token.is_valid_at(now) for token in tokens_of(connection, row.id)))
            for row in list_systems(connection)
        ]
        names = Names.of_directory(load_directory(connection))
    if as_json:
        voice.json(
            [
                {
                    "id": row.id, "name": row.name, "operator": row.is_operator, "enabled": row.is_enabled,
                    "profile": row.profile, "speaks_for": sorted(row.agency_ids), "valid_tokens": tokens,
                }
                for row, tokens in rows
            ]
        )  # fmt: skip
        return
    voice.table(
        ("system", "operator", "enabled", "profile", "#tokens", "speaks_for"),
        [
            (row.name, row.is_operator, row.is_enabled, row.profile, tokens, names.few(row.agency_ids, now))
            for row, tokens in rows
        ],
    )


def show(ctx: typer.Context, name: _Name, as_json: AsJson = False) -> None:
    """Show one system, and of each repair whether it is made for it and up to which day."""
    voice = voice_of(ctx)
    with open_local() as local:
        snapshot = Channels(local.store).snapshot()
        with local.store.read() as connection:
            now = local.store.now(connection)
            row = next((row for row in list_systems(connection) if row.name == name), None)
            if row is None:
                raise NotFound("system.unknown", name=name)
            tokens = sum(token.is_valid_at(now) for token in tokens_of(connection, row.id))
    profile = snapshot.profile_of(row.id)
    repairs = _repairs(profile, today(local.settings))
    if as_json:
        voice.json({"id": row.id, "name": row.name, "operator": row.is_operator, "enabled": row.is_enabled,
                    "profile": row.profile, "checks_schema": profile.checks_schema,
                    "speaks_for": sorted(row.agency_ids), "valid_tokens": tokens, "repairs": repairs})  # fmt: skip
        return
    facts = (
        ("system", row.name), ("operator", voice.say("cli.yes" if row.is_operator else "cli.no")),
        ("enabled", voice.say("cli.yes" if row.is_enabled else "cli.no")), ("tokens", str(tokens)),
        ("speaks_for", ", ".join(sorted(row.agency_ids))), ("profile", row.profile),
    )  # fmt: skip
    for word, value in facts:
        voice.write(f"{voice.label('column', word)}: {value}")
    if profile.checks_schema:
        voice.tell("system_told.schema")
        return
    voice.table(
        ("repair", "until", "what"),
        [(one["name"], _until(voice, one), voice.say(f"repair.{one['name']}")) for one in repairs],
    )


def _repairs(profile: Profile, day: date) -> list[dict[str, Any]]:
    """Each repair: the last day on which it is made where nothing else is said of a sender, and whether it is now."""
    ends = {name: profile.last_day(name) for name in sorted(REPAIRS)}
    return [
        {"name": name, "is_made": last is not None and day <= last, "until": None if last == date.max else last}
        for name, last in ends.items()
    ]


def _until(voice: Voice, told: dict[str, Any]) -> str:
    if told["until"] is None:
        return voice.say("system_told.always" if told["is_made"] else "system_told.never")
    return say_day(told["until"], voice.language)
