"""`truc directory find|show`: agencies (danh mục cơ quan) through time, with their codes and successors."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import typer
from rich.text import Text

from gateway.cli.lookup import find_agency
from gateway.cli.moments import parse_day
from gateway.cli.opening import open_local, today
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.store.agencies import load_directory
from gateway.store.channels import channels_of
from gateway.store.systems import list_systems
from routing.agency import Agency, Dated, DatedCode
from routing.directory import Directory

__all__ = ["register"]

_On = Annotated[str, typer.Option("--on", metavar="2026-07-01", help="help.on")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.directory", no_args_is_help=True)
    group.command("find", help="help.directory_find")(find)
    group.command("show", help="help.directory_show")(show)
    app.add_typer(group, name="directory")


def find(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(help="help.directory_words", show_default=False)],
    on: _On = "",
    past: Annotated[bool, typer.Option("--past", help="help.past")] = False,
    limit: Annotated[int, typer.Option(min=1, help="help.limit")] = 30,
    as_json: AsJson = False,
) -> None:
    """Find agencies by words of their name, with or without accents, or by a code."""
    voice = voice_of(ctx)
    with open_local() as local:
        day = parse_day(on) if on else today(local.settings)
        with local.store.read() as connection:
            directory = load_directory(connection)
    matches = directory.search(" ".join(words), day, is_past_included=past)
    if as_json:
        voice.json([_as_json(directory, match.agency, day) | {"matched": match.name} for match in matches[:limit]])
        return
    voice.table(
        ("agency", "name", "within", "code", "validity"),
        [
            (match.agency.id, match.name, match.within, _code(voice, match.agency.organ_code_on(day)),
             _validity(voice, match.agency, day))
            for match in matches[:limit]
        ],
    )  # fmt: skip
    if len(matches) > limit:
        voice.hint("directory_told.more", count=len(matches) - limit)


def show(
    ctx: typer.Context,
    agency: Annotated[str, typer.Argument(help="help.agency", show_default=False)],
    on: _On = "",
    as_json: AsJson = False,
) -> None:
    """Show one agency through time: names, codes, parents, successors, who calls for it and how it is reached."""
    voice = voice_of(ctx)
    with open_local() as local:
        day = parse_day(on) if on else today(local.settings)
        with local.store.read() as connection:
            directory = load_directory(connection)
            found = find_agency(directory, agency, day)
            channel = channels_of(connection, [found.id]).get(found.id, "")
            system = next((row.name for row in list_systems(connection) if found.id in row.agency_ids), "")
    if as_json:
        voice.json(_as_json(directory, found, day) | {"system": system, "channel": channel})
        return
    voice.write(f"{found.name_on(day)} ({found.id})", "bold")
    facts = [
        ("validity", _validity(voice, found, day)),
        ("within", directory.within(found, day)),
        ("code", _code(voice, found.organ_code_on(day))),
        ("system", system or voice.say("directory_told.no_system")),
        ("channel", channel or voice.say("directory_told.no_channel")),
        ("successors", _heirs(directory, found, day)),
    ]
    for word, value in facts:
        if value:
            voice.out.print(Text(f"  {voice.label('column', word)}: "), value, sep="", soft_wrap=True)
    _show_history(voice, directory, found)


def _show_history(voice: Voice, directory: Directory, agency: Agency) -> None:
    def named(agency_id: str) -> str:
        other = directory.by_id(agency_id)
        return agency_id if other is None else f"{other.names[-1].name} ({agency_id})"

    rows: list[tuple[str, str | Text, str]] = [
        *((voice.say("column.name"), dated.name, _span(voice, dated)) for dated in agency.names),
        *((voice.say(f"scheme.{dated.scheme}"), _code(voice, dated), _span(voice, dated)) for dated in agency.codes),
        *((voice.say("column.within"), named(dated.agency_id), _span(voice, dated)) for dated in agency.parents),
        *(
            (voice.say(f"share.{step.share}"), named(step.agency_id), f"{step.effective:%d/%m/%Y} {step.act}".strip())
            for step in agency.successors
        ),
    ]
    voice.table(("what", "value", "when"), rows)


def _code(voice: Voice, code: DatedCode | None) -> Text:
    """A code; beside one that is ours and not the province's, every screen says so (mã giả định)."""
    if code is None:
        return Text("")
    note = f" ({voice.say('directory_told.assumed')})" if code.assumed else ""
    return Text.assemble(code.code, (note, "yellow"))


def _span(voice: Voice, dated: Dated) -> str:
    start = "" if dated.valid_from is None else f"{dated.valid_from:%d/%m/%Y}"
    end = voice.say("directory_told.now") if dated.valid_to is None else f"{dated.valid_to:%d/%m/%Y}"
    return f"{start} – {end}"


def _validity(voice: Voice, agency: Agency, day: date) -> str:
    if agency.in_force_on(day):
        return voice.say("directory_told.in_force", span=_span(voice, agency))
    is_coming = agency.valid_from is not None and day < agency.valid_from
    return voice.say("directory_told.to_come" if is_coming else "directory_told.ended", span=_span(voice, agency))


def _heirs(directory: Directory, agency: Agency, day: date) -> str:
    heirs = [heir for heir in directory.successors_on(agency, day) if heir.id != agency.id]
    return ", ".join(f"{heir.name_on(day)} ({heir.id})" for heir in heirs)


def _as_json(directory: Directory, agency: Agency, day: date) -> dict[str, Any]:
    code = agency.organ_code_on(day)
    return {
        "id": agency.id,
        "kind": agency.kind,
        "name": agency.name_on(day),
        "within": directory.within(agency, day),
        "code": None if code is None else code.code,
        "code_is_assumed": code is not None and code.assumed,
        "in_force": agency.in_force_on(day),
        "valid_from": agency.valid_from,
        "valid_to": agency.valid_to,
        "names": agency.names,
        "codes": agency.codes,
        "successors": agency.successors,
        "carried_on_by": [heir.id for heir in directory.successors_on(agency, day) if heir.id != agency.id],
    }
