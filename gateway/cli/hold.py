"""`truc hold add|remove|list`: what must not go after its time, for whom and why."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.archive import parse_month
from gateway.cli.lookup import find_agency
from gateway.cli.opening import ACTOR, open_local, today
from gateway.cli.output import AsJson, voice_of
from gateway.model.errors import BadRequest, NotFound
from gateway.model.instants import local_iso, wall_now
from gateway.settings import Settings
from gateway.store import Connection
from gateway.store.agencies import load_directory
from gateway.store.months import holds
from gateway.store.months.holds import HoldKind

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.hold", no_args_is_help=True)
    group.command("add", help="help.hold_add")(add)
    group.command("remove", help="help.hold_remove")(remove)
    group.command("list", help="help.hold_list")(show)
    app.add_typer(group, name="hold")


def add(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="help.hold_reason", show_default=False)],
    document: Annotated[str, typer.Option("--document", help="help.hold_document", show_default=False)] = "",
    agency: Annotated[str, typer.Option("--agency", help="help.hold_agency", show_default=False)] = "",
    period: Annotated[
        str, typer.Option("--period", metavar="2026-07/2026-09", help="help.hold_period", show_default=False)
    ] = "",
) -> None:
    """Put a hold on one document, one agency, or some months."""
    voice = voice_of(ctx)
    if sum(map(bool, (document, agency, period))) != 1 or not reason.strip():
        raise BadRequest("hold.one_thing")
    with open_local() as local, local.store.write() as connection:
        holds.lock(connection)
        kind, value = _meant(connection, local.settings, document, agency, period)
        now = local.store.now(connection)
        made = holds.add(connection, kind, value, reason.strip(), actor=ACTOR, at=wall_now(), now=now)
    voice.tell("hold.added", id=made.id, value=made.value)


def _meant(connection: Connection, settings: Settings, document: str, agency: str, period: str) -> tuple[HoldKind, str]:
    """What a hold is to be on; a family's root stays what it is while `holds.lock` is held."""
    if period:
        first, _, last = period.partition("/")
        months = parse_month(first).name, parse_month(last or first).name
        if months[0] > months[1]:
            raise BadRequest("archive.bad_month", text=period)
        return HoldKind.PERIOD, "/".join(months)
    if agency:
        return HoldKind.AGENCY, find_agency(load_directory(connection), agency, today(settings)).id
    roots = holds.root_of(connection, document)
    if not roots:
        raise NotFound("hold.document_unknown", document=document)
    if len(roots) > 1:
        raise BadRequest("hold.several", document=document, count=len(roots))
    return HoldKind.DOCUMENT, roots[0]


def remove(ctx: typer.Context, hold: Annotated[str, typer.Argument(help="help.hold_id", show_default=False)]) -> None:
    """End a hold; its row and its events stay."""
    voice = voice_of(ctx)
    with open_local() as local, local.store.write() as connection:
        now = local.store.now(connection)
        if not holds.end(connection, hold, actor=ACTOR, at=wall_now(), now=now):
            raise NotFound("hold.unknown", id=hold)
    voice.tell("hold.removed", id=hold)


def show(
    ctx: typer.Context,
    ended: Annotated[bool, typer.Option("--all", help="help.hold_all")] = False,
    as_json: AsJson = False,
) -> None:
    """The holds that stand."""
    voice = voice_of(ctx)
    with open_local() as local, local.store.read() as connection:
        found = holds.every(connection, ended=ended)
    if as_json:
        voice.json(
            [
                {
                    "id": one.id, "kind": one.kind, "value": one.value, "reason": one.reason, "added_by": one.added_by,
                    "added_at": local_iso(one.added_at), "ended_by": one.ended_by or None,
                    "ended_at": None if one.ended_at is None else local_iso(one.ended_at),
                }
                for one in found
            ]
        )  # fmt: skip
        return
    voice.table(
        ("id", "kind", "value", "reason", "added_at", "ended_at"),
        [
            (
                one.id, one.kind, one.value, one.reason, voice.moment(one.added_at),
                "" if one.ended_at is None else voice.moment(one.ended_at),
            )
            for one in found
        ],
    )  # fmt: skip
