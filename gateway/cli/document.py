"""`truc document find|show`: documents by what a person remembers of them, and one document's whole way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

import typer

from edxml.messages import Evidence
from gateway.cli.moments import parse_day, parse_moment
from gateway.cli.names import Names
from gateway.cli.opening import open_local
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.remote import open_remote
from gateway.model.errors import BadRequest, NotFound
from gateway.model.events import EventKind
from gateway.model.inspection import PdfSignature
from gateway.model.instants import VIETNAM, as_datetime
from gateway.model.states import DeliveryState
from gateway.store import Store
from gateway.store.agencies import load_directory
from gateway.store.views import (
    DocumentView,
    Found,
    FoundLine,
    RecipientLine,
    TimelineLine,
    Wanted,
    archived,
    find_packets,
    named_issuers,
    search,
)
from gateway.store.views import document as view_document
from routing.directory import Directory
from routing.names import fold_accents

__all__ = ["register", "show_document"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.document", no_args_is_help=True)
    group.command("find", help="help.document_find")(find)
    group.command("show", help="help.document_show")(show)
    app.add_typer(group, name="document")


def find(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(help="help.find_number", show_default=False)] = "",
    subject: Annotated[str, typer.Option("--subject", metavar="WORDS", help="help.find_subject")] = "",
    day: Annotated[str, typer.Option("--date", metavar="28/09/2026", help="help.find_date")] = "",
    sender: Annotated[str, typer.Option("--sender", metavar="AGENCY", help="help.find_sender")] = "",
    recipient: Annotated[str, typer.Option("--recipient", metavar="AGENCY", help="help.find_recipient")] = "",
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="help.find_state")] = "",
    start: Annotated[str, typer.Option("--from", metavar="1/9/2026", help="help.find_from")] = "",
    end: Annotated[str, typer.Option("--to", metavar="30/9/2026", help="help.find_to")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="help.limit")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find documents by number, subject, date, sender, recipient or state, newest first."""
    voice = voice_of(ctx)
    if not (number or subject or day or sender or recipient or state or start or end):
        raise BadRequest("document_told.nothing_wanted")
    dated = parse_day(day) if day else None
    if dated is not None and not (start or end):  # senders are late by days, seldom by weeks
        start, end = str(dated - timedelta(days=1)), str(dated + timedelta(days=31))
    with open_local() as local, local.store.read() as connection:
        now = local.store.now(connection)
        directory = load_directory(connection)
        today = as_datetime(now).astimezone(VIETNAM).date()
        found = search(
            connection,
            Wanted(
                number=number,
                subject=subject,
                dated=dated,
                start=parse_moment(start) if start else 0,
                end=parse_moment(end, is_end=True) if end else None,
                senders=_agencies(directory, sender, today),
                recipients=_agencies(directory, recipient, today),
                states=_states(voice, state),
            ),
            limit=limit,
        )
    if as_json:
        voice.json(found.lines)
    else:
        names = Names.of_directory(directory)
        _show_found(voice, found.lines, names)
    if not found.is_all and found.back_to is not None:
        code = "document_told.more" if len(found.lines) == limit else "document_told.looked"
        voice.hint(code, count=found.looked, limit=limit, back_to=voice.moment(found.back_to))


def _agencies(directory: Directory, written: str, day: date) -> frozenset[str] | None:
    """Ids of the agencies that a name, with or without accents, or a code may mean; None where none is written."""
    if not written:
        return None
    known = directory.by_id(written.strip())
    found = [known] if known else [match.agency for match in directory.search(written, day, is_past_included=True)]
    if not found:
        raise NotFound("system.agency_unknown", agency=written)
    return frozenset(agency.id for agency in found)


def _states(voice: Voice, written: str) -> frozenset[str] | None:
    """The states that a word means: as screens say it, with or without accents, or as JSON has it."""
    if not written:
        return None
    words = {fold_accents(voice.label("state", state)): frozenset({str(state)}) for state in DeliveryState}
    words |= {fold_accents(state): frozenset({str(state)}) for state in DeliveryState}
    still_open = frozenset(str(state) for state in DeliveryState if not state.is_final)
    words |= {"open": still_open, fold_accents(voice.label("column", "open")): still_open}
    found = words.get(fold_accents(written))
    if found is None:
        known = [voice.label("state", state) for state in DeliveryState] + [voice.label("column", "open").lower()]
        raise BadRequest("document_told.state_unknown", state=written, states=", ".join(known))
    return found


def _show_found(voice: Voice, lines: Iterable[FoundLine], names: Names, *, has_ids: bool = False) -> None:
    def way(line: FoundLine) -> str:
        if len(line.recipients) <= 2:
            told = [f"{names.of(agency, line.accepted_at)}: {voice.label('state', state)}"
                    for agency, state in line.recipients]  # fmt: skip
        else:
            counts = Counter(state for _, state in line.recipients)
            told = [f"{count} {voice.label('state', state)}" for state, count in counts.items()]
        return ", ".join(told)

    voice.table(
        (*(("packet",) if has_ids else ()), "notation", "dated", "sender", "subject", "state"),
        [
            (*((line.packet_id,) if has_ids else ()), line.notation,
             f"{date.fromisoformat(line.dated):%d/%m/%Y}" if line.dated else "",
             names.of(line.sender_id, line.accepted_at), line.subject, way(line))
            for line in lines
        ],
    )  # fmt: skip


def show(
    ctx: typer.Context,
    document: Annotated[str, typer.Argument(help="help.document_id", show_default=False)],
    url: Annotated[str, typer.Option("--url", help="help.document_url")] = "",
    as_json: AsJson = False,
) -> None:
    """Show a document by its number, or by the id of its packet, of a delivery, or its own: here, or over HTTP."""
    voice = voice_of(ctx)
    if url:
        with open_remote(voice, url) as remote:
            view, names = remote.document(document)
    else:
        with open_local() as local:
            view, names = _look_up(voice, local.store, document, is_told=not as_json)
    if as_json:
        voice.json(view)
    else:
        show_document(voice, view, names)


def _look_up(voice: Voice, store: Store, document: str, *, is_told: bool) -> tuple[DocumentView, Names]:
    """The document of an id or of a number. Raises NotFound; BadRequest where several documents bear the number."""
    with store.read() as connection:
        directory = load_directory(connection)
        names = Names.of_directory(directory)
        issuers = named_issuers(directory, document) or {agency.id for agency in directory.agencies}
        found = find_packets(connection, document, issuers=issuers)
        if not found and (gone := archived(connection, document, issuers=issuers, seen_by=None)):
            raise NotFound("document_told.archived", document=document, month=gone.month, file=gone.file)
        if not found:
            found = _numbered(voice, search(connection, Wanted(number=document)), document, names, is_told=is_told)
        view = view_document(connection, found[0], seen_by=None, now=store.now(connection))
    if view is None:
        raise NotFound("document_told.unknown", document=document)
    return view, names


def _numbered(voice: Voice, found: Found, number: str, names: Names, *, is_told: bool) -> tuple[str, ...]:
    """Packets of the one document that a search for a number found, newest first."""
    if not found.lines:
        raise NotFound("document_told.unknown", document=number)
    if len({line.root for line in found.lines}) > 1:
        if is_told:
            _show_found(voice, found.lines, names, has_ids=True)
        raise BadRequest("document_told.several", document=number, count=len(found.lines))
    return tuple(line.packet_id for line in found.lines)


def show_document(voice: Voice, view: DocumentView, names: Names) -> None:
    """Print a document: what it is, where each copy is and who must act, what came back, and its timeline."""
    packet = view.packet
    title = packet.notation or packet.document_id
    voice.write(f"{title}  {packet.subject}".rstrip(), "bold")
    facts = (
        ("sender", f"{names.of(packet.sender_id, packet.accepted_at)} ({packet.sender_organ})"),
        ("kind", voice.label("packet_kind", packet.kind)),
        ("document", packet.document_id),
        ("packet", packet.packet_id),
        ("accepted_at", voice.moment(packet.accepted_at)),
        ("size", voice.say("document_told.size", size=packet.size)),
    )
    for word, value in facts:
        voice.write(f"  {voice.label('column', word)}: {value}")
    _show_recipients(voice, view, names)
    if view.statuses:
        voice.table(
            ("when", "from", "status", "description"),
            [
                (voice.moment(line.recorded_at), names.of(line.reporter_id, line.recorded_at),
                 voice.label("status_code", f"s{line.code}"), line.description)
                for line in view.statuses
            ],
            title=voice.say("document_told.statuses"),
        )  # fmt: skip
    _show_verdicts(voice, view)
    _show_timeline(voice, view, names)
    for other in view.family:
        if other.packet_id != packet.packet_id:
            kind = voice.label("packet_kind", other.kind)
            voice.tell("document_told.family", kind=kind, packet=other.packet_id, at=voice.moment(other.accepted_at))


_WAITS = {
    "window": "document_told.waits_window",
    "paused": "document_told.waits_paused",
    "draining": "document_told.waits_draining",
    "broken": "document_told.waits_broken",
}


def _show_recipients(voice: Voice, view: DocumentView, names: Names) -> None:
    def told(line: RecipientLine) -> str:
        words = [voice.reason(line.reason), voice.reason(line.detail) if line.detail else ""]
        if line.may_have_arrived and line.state in ("parked", "expired", "withdrawn"):
            words.append(voice.say("document_told.may_have_arrived"))
        if line.waits_for:
            until = "" if line.waits_until is None else voice.moment(line.waits_until)
            words.append(voice.say(_WAITS[line.waits_for], until=until).strip())
        if line.readdressed_from:
            words.append(voice.say("document_told.readdressed", organ=line.readdressed_from))
        return " ".join(word for word in words if word)

    voice.table(
        ("to", "state", "since", "holder", "status", "#tries", "reason"),
        [
            (names.of(line.agency_id, line.since) or line.organ, voice.label("state", line.state),
             voice.moment(line.since), voice.label("holder", line.holder),
             voice.label("status_code", f"s{line.status_code}") if line.status_code else "", line.tries, told(line))
            for line in view.recipients
        ],
        title=voice.say("document_told.recipients"),
    )  # fmt: skip


def _show_verdicts(voice: Voice, view: DocumentView) -> None:
    """What the signatures of this packet are worth; the sentences below the table say why."""
    own = [line for line in view.verdicts if line.packet_id == view.packet.packet_id]
    if not own:
        return
    voice.table(
        ("about", "standing", "signer", "policy", "when"),
        [
            (voice.say(f"about.{line.about}", position=line.position),
             voice.label("standing", line.standing), line.signer, line.policy, voice.moment(line.checked_at))
            for line in own
        ],
        title=voice.say("document_told.verdicts"),
    )  # fmt: skip
    for line in own:
        voice.write("  " + voice.say(line.code, detail=Evidence(line.detail).said(voice.language), signer=line.signer))
        if line.evidence is not None:
            voice.write("    " + _seen(voice, line.evidence))


def _seen(voice: Voice, seen: PdfSignature) -> str:
    """What stands behind the verdict on one signature of a PDF."""
    return voice.say(
        "document_told.evidence",
        serial=seen.serial,
        issuer=seen.issuer,
        state=voice.label("certificate_state", seen.state),
        claimed=voice.moment(seen.claimed_at) or voice.say("cli.nothing"),
        stamp=" ".join((voice.label("stamp_state", seen.stamp), voice.moment(seen.stamped_at))).strip(),
        coverage=voice.label("coverage", seen.coverage or ""),
        changes=voice.label("changes", seen.changes or ""),
    )


def _show_timeline(voice: Voice, view: DocumentView, names: Names) -> None:
    own = len({line.packet_id for line in view.timeline}) > 1
    standings = {(line.packet_id, line.verdict): line.standing for line in view.verdicts}

    def happened(line: TimelineLine) -> str:
        words = voice.label("event", line.kind)
        if own and line.packet_id != view.packet.packet_id:
            kind = next((packet.kind for packet in view.family if packet.packet_id == line.packet_id), "")
            words += f" ({voice.label('packet_kind', kind)})"
        return words

    def why(line: TimelineLine) -> str:
        if line.kind == EventKind.STATUS_RECORDED:
            return voice.label("status_code", f"s{line.reason}")
        if line.kind in (EventKind.SIGNATURE_CHECKED, EventKind.PACKET_INSPECTED):
            return voice.label("standing", standings.get((line.packet_id, line.reason), line.reason))
        return voice.reason(line.reason) if line.delivery_id else ""

    voice.table(
        ("when", "event", "to", "reason", "holder"),
        [
            (voice.moment(line.at), happened(line),
             names.of(line.agency_id, line.at) if line.delivery_id else "",
             why(line), voice.label("holder", line.holder))
            for line in view.timeline
        ],
        title=voice.say("document_told.timeline"),
    )  # fmt: skip
