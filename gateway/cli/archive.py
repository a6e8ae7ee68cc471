"""`truc archive list|write|drop|run|show|verify`: months that are over, written out and let go after their term."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.archive import MonthState, Terms, drop_month, months, read_manifest, verify, write_month
from gateway.archive.shape import Manifest, archive_name
from gateway.cli.exits import ExitCode
from gateway.cli.opening import ACTOR, Local, open_local
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.release import release_name
from gateway.model.errors import BadRequest, Conflict, NotFound
from gateway.model.instants import local_iso
from gateway.store.months.partitions import Month

__all__ = ["parse_month", "register"]

_Month = Annotated[str, typer.Argument(metavar="2026-07", help="help.archive_month", show_default=False)]
_Folder = Annotated[Path, typer.Argument(help="help.archive_folder", exists=True, file_okay=False, show_default=False)]
_File = Annotated[Path, typer.Argument(help="help.archive_file", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.archive", no_args_is_help=True)
    for name, command in (
        ("list", show_months), ("write", write), ("drop", drop), ("run", run), ("show", show), ("verify", check)
    ):  # fmt: skip
        group.command(name, help=f"help.archive_{name}")(command)
    app.add_typer(group, name="archive")


def parse_month(text: str) -> Month:
    """A month like 2026-07. Raises BadRequest `archive.bad_month`."""
    year, dash, month = text.strip().partition("-")
    if len(year) != 4 or len(month) != 2 or not dash or not (year + month).isascii() or not (year + month).isdigit():
        raise BadRequest("archive.bad_month", text=text)
    if not 1970 <= int(year) <= 9998 or not 1 <= int(month) <= 12:
        raise BadRequest("archive.bad_month", text=text)
    return Month(year=int(year), month=int(month))


# --- the node's months -------------------------------------------------------------------------------------------


def show_months(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Every month that is over and still here, and what stands in its way."""
    voice = voice_of(ctx)
    with open_local() as local:
        found = months(local.store, Terms.of(local.settings))
    if as_json:
        voice.json([_month_dict(one) for one in found])
        return
    columns = (
        "month",
        "due_from",
        "archived",
        "#open",
        "#parked",
        "#going_on",
        "#owing",
        "#faults",
        "#unread",
        "#holds",
    )
    voice.table(columns, [_month_row(voice, one) for one in found])


def _month_row(voice: Voice, one: MonthState) -> tuple[object, ...]:
    why = one.obstacles
    due = "–" if one.due_from is None else one.due_from.name
    archived = (
        "" if one.archived is None else voice.say("archive_told.current" if one.is_current else "archive_told.old")
    )
    return (
        one.month.name, due, archived, why.open, why.parked, why.going_on, why.owing, why.faults, why.unread,
        len(why.holds),
    )  # fmt: skip


def _month_dict(one: MonthState) -> dict[str, Any]:
    why, known = one.obstacles, one.archived
    return {
        "month": one.month.name, "due_from": one.due_from.name if one.due_from else None, "is_due": one.is_due,
        "may_go": why.is_free, "open": why.open, "parked": why.parked, "going_on": why.going_on, "owing": why.owing,
        "faults": why.faults, "unread": why.unread, "earlier": why.earlier, "holds": [hold.id for hold in why.holds],
        "archive": None if known is None else {
            "file": known.file, "sha256": known.digest, "at": local_iso(known.archived_at),
            "is_current": one.is_current,
        },
    }  # fmt: skip


def write(ctx: typer.Context, month: _Month, folder: _Folder) -> None:
    """Write a month that is over into a folder, and read it back. Nothing goes."""
    voice = voice_of(ctx)
    with open_local() as local:
        voice.tell("archive_told.written", month=month, file=str(_write(voice, local, parse_month(month), folder)))


def _write(voice: Voice, local: Local, month: Month, folder: Path) -> Path:
    with voice.err.status(voice.say("archive_told.writing", month=month.name)):
        return write_month(
            local.store, month, folder, node=local.settings.node, release=release_name(), actor=ACTOR,
            tell=lambda _step: None,
        )  # fmt: skip


def drop(ctx: typer.Context, month: _Month, file: _File) -> None:
    """Let a month go that is past its term and lies in this archive."""
    voice = voice_of(ctx)
    with open_local() as local:
        _drop(voice, local, parse_month(month), file)


def _drop(voice: Voice, local: Local, month: Month, file: Path) -> None:
    state = next((one for one in months(local.store, Terms.of(local.settings)) if one.month == month), None)
    if state is not None and not state.is_due:
        due = "–" if state.due_from is None else state.due_from.later(-1).name
        raise Conflict("archive.not_due", month=month.name, due=due)
    done = drop_month(local.store, month, file, actor=ACTOR)
    voice.tell("archive_told.dropped", month=done.month, packets=done.packets)


def run(ctx: typer.Context, folder: _Folder) -> None:
    """Write and let go every month that is due, oldest first. Exit code 1 where one has to stay."""
    voice = voice_of(ctx)
    with open_local() as local:
        for state in months(local.store, Terms.of(local.settings)):
            if not state.is_due:
                break
            if not state.obstacles.is_free:
                voice.fault(voice.say("archive.kept", month=state.month.name), "archive.kept")
                raise typer.Exit(ExitCode.FINDINGS)
            file = folder / archive_name(local.settings.node, state.month.name)
            if not state.lies_in(file):
                file = _write(voice, local, state.month, folder)
                voice.tell("archive_told.written", month=state.month.name, file=str(file))
            _drop(voice, local, state.month, file)


# --- an archive, without a node ----------------------------------------------------------------------------------


def show(ctx: typer.Context, file: _File, as_json: AsJson = False) -> None:
    """What is in an archive, as it says itself."""
    _tell(voice_of(ctx), _there(file), read_manifest(file), as_json=as_json)


def check(ctx: typer.Context, file: _File, as_json: AsJson = False) -> None:
    """Read an archive whole and hold it against its digests."""
    voice = voice_of(ctx)
    manifest = verify(_there(file))
    _tell(voice, file, manifest, as_json=as_json)
    if not as_json:
        voice.tell("archive_told.whole", count=len(manifest.files))


def _there(file: Path) -> Path:
    if not file.is_file():
        raise NotFound("archive.no_file", file=str(file))
    return file


def _tell(voice: Voice, file: Path, manifest: Manifest, *, as_json: bool) -> None:
    blobs = [content.size for name, content in manifest.files.items() if name.startswith("blobs/")]
    if as_json:
        voice.json(
            {
                "file": file.name, "node": manifest.node, "month": manifest.month, "written_at": manifest.written_at,
                "release": manifest.release, "rows": manifest.rows, "blobs": len(blobs), "bytes": sum(blobs),
            }
        )  # fmt: skip
        return
    at = datetime.fromisoformat(manifest.written_at)
    voice.tell("archive_told.of", month=manifest.month, node=manifest.node, at=at, blobs=len(blobs))
    voice.table(("table", "#rows"), list(manifest.rows.items()))
