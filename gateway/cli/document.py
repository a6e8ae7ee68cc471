"""`truc document show ID`: one document's whole way, as a person reads it."""

from __future__ import annotations

from typing import Annotated

import typer

from edxml.messages import Evidence
from gateway.cli.names import Names
from gateway.cli.opening import open_local
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.remote import open_remote
from gateway.model.errors import NotFound
from gateway.model.events import EventKind
from gateway.model.inspection import PdfSignature
from gateway.store.agencies import load_directory
from gateway.store.views import DocumentView, RecipientLine, TimelineLine, archived, find_packets, named_issuers
from gateway.store.views import document as view_document

__all__ = ["register", "show_document"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.document", no_args_is_help=True)
    group.callback()(lambda: None)  # a group of one command stays a group
    group.command("show", help="help.document_show")(show)
    app.add_typer(group, name="document")


def show(
    ctx: typer.Context,
    document: Annotated[str, typer.Argument(help="help.document_id", show_default=False)],
    url: Annotated[str, typer.Option("--url", help="help.document_url")] = "",
    as_json: AsJson = False,
) -> None:
    """Show a document by the id of its packet, of one of its deliveries, or its own: from this node, or over HTTP."""
    voice = voice_of(ctx)
    if url:
        with open_remote(voice, url) as remote:
            view, names = remote.document(document)
    else:
        with open_local() as local, local.store.read() as connection:
            directory = load_directory(connection)
            issuers = named_issuers(directory, document) or {agency.id for agency in directory.agencies}
            found = find_packets(connection, document, issuers=issuers)
            seen = view_document(connection, found[0], seen_by=None, now=local.store.now(connection)) if found else None
            if seen is None and (gone := archived(connection, document, issuers=issuers, seen_by=None)):
                raise NotFound("document_told.archived", document=document, month=gone.month, file=gone.file)
            if seen is None:
                raise NotFound("document_told.unknown", document=document)
            view, names = seen, Names.of_directory(directory)
    if as_json:
        voice.json(view)
    else:
        show_document(voice, view, names)


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
