"""`truc repairs`: what was put right in the packets of each system, and the letter to its vendor about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from edxml.letters import Letter, LetterItem, write_letter
from edxml.messages import Language
from gateway.channels import Channels
from gateway.channels.snapshot import Snapshot
from gateway.cli.moments import parse_day
from gateway.cli.opening import open_local, today
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.exchange.repaired import ToldRepair, tell_repairs
from gateway.model.errors import BadRequest, NotFound
from gateway.model.instants import VIETNAM, as_datetime, local_iso
from gateway.store import Connection
from gateway.store.repairs import By, RepairLine, report
from gateway.workers import count_all

__all__ = ["register"]

_MONTH = timedelta(days=30)
_RULE = f"\n{'-' * 72}\n\n"
_Since = Annotated[str, typer.Option("--from", help="help.repairs_from", show_default=False)]
_Until = Annotated[str, typer.Option("--to", help="help.repairs_to", show_default=False)]


class Tongue(StrEnum):
    """In which language a letter is written."""

    VI = "vi"
    EN = "en"
    BOTH = "both"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.repairs", invoke_without_command=True)
    group.callback()(show)
    group.command("letter", help="help.repairs_letter")(letter)
    app.add_typer(group, name="repairs")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """The counted store, who is who in it, and the days that are asked about."""

    connection: Connection
    snapshot: Snapshot
    since: date
    until: date
    today: date


@contextmanager
def _counts(since: str, until: str) -> Iterator[_Counts]:
    """Everything accepted so far, counted. Raises BadRequest for days that are none or end before they begin."""
    with open_local() as local:
        day = today(local.settings)
        last = parse_day(until) if until else day
        first = parse_day(since) if since else last - _MONTH
        if first > last:
            raise BadRequest("cli.bad_period", first=str(first), last=str(last))
        count_all(local.store)
        with local.store.read() as connection:
            snapshot = Channels(local.store).snapshot()
            yield _Counts(connection=connection, snapshot=snapshot, since=first, until=last, today=day)


def show(
    ctx: typer.Context,
    by: Annotated[By, typer.Option("--by", help="help.repairs_by")] = By.SYSTEM,
    since: _Since = "",
    until: _Until = "",
    as_json: AsJson = False,
) -> None:
    """Show what was put right, by sending system, by repair or by sender, in the days given or the last thirty."""
    if ctx.invoked_subcommand is not None:
        return
    voice = voice_of(ctx)
    with _counts(since, until) as counts:
        lines = report(counts.connection, by, since=counts.since, until=counts.until)
    if as_json:
        voice.json([_as_json(counts.snapshot, by, line, counts.today) for line in lines])
        return
    voice.tell("repairs_told.days", since=counts.since, until=counts.until)
    voice.table(
        (_WORDS[by], "#repaired", "#packets", "#places", "first_seen", "last_seen", "example"),
        [
            (_name(counts.snapshot, by, line.key, counts.today), line.packets, line.accepted, line.count,
             voice.moment(line.first_at), voice.moment(line.last_at), line.document_id or line.example)
            for line in lines
        ],
    )  # fmt: skip


_WORDS = {By.SYSTEM: "system", By.NAME: "repair", By.AGENCY: "sender"}


def _name(snapshot: Snapshot, by: By, key: str, day: date) -> str:
    """What people call a system or an agency; its id where nobody knows it any more."""
    if by is By.SYSTEM:
        return snapshot.system_names.get(key, key)
    agency = snapshot.directory.by_id(key) if by is By.AGENCY else None
    return key if agency is None else agency.name_on(day) or key


def _as_json(snapshot: Snapshot, by: By, line: RepairLine, day: date) -> dict[str, Any]:
    return {
        str(by): line.key,
        **({} if by is By.NAME else {"name": _name(snapshot, by, line.key, day)}),
        "packets": line.packets,
        "accepted": line.accepted,
        "count": line.count,
        "first_at": local_iso(line.first_at),
        "last_at": local_iso(line.last_at),
        "example": line.example,
        "document_id": line.document_id,
    }


def letter(
    ctx: typer.Context,
    system: Annotated[str, typer.Argument(help="help.system_name", show_default=False)],
    since: _Since = "",
    until: _Until = "",
    tongue: Annotated[Tongue, typer.Option("--in", help="help.repairs_tongue")] = Tongue.BOTH,
) -> None:
    """Write the letter to the vendor of a system: what its packets get wrong, examples, what to change, until when."""
    voice = voice_of(ctx)
    with _counts(since, until) as counts:
        system_id = next((key for key, name in counts.snapshot.system_names.items() if name == system), None)
        if system_id is None:
            raise NotFound("system.unknown", name=system)
        told = tell_repairs(
            counts.connection, counts.snapshot, system_id, since=counts.since, until=counts.until, today=counts.today
        )
    written = Letter(
        system=system,
        since=counts.since,
        until=counts.until,
        day=counts.today,
        packets=told.traffic.packets,
        repaired=told.traffic.repaired,
        items=tuple(map(_item, told.repairs)),
    )
    _write(voice, written, tongue)


def _item(told: ToldRepair) -> LetterItem:
    line = told.line
    return LetterItem(
        name=line.key,
        packets=line.packets,
        first=as_datetime(line.first_at).astimezone(VIETNAM).date(),
        last=as_datetime(line.last_at).astimezone(VIETNAM).date(),
        example=line.document_id or line.example,
        until=told.until,
    )


def _write(voice: Voice, written: Letter, tongue: Tongue) -> None:
    languages = list(Language) if tongue is Tongue.BOTH else [Language(tongue)]
    letters = [write_letter(written, language) for language in languages]
    voice.write(_RULE.join(letters).rstrip("\n"))
