"""`show` and `extract`: what a packet says, and the files in it, without a node."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from edxml import (
    Attachment,
    AttachmentDamaged,
    DocumentId,
    OrganId,
    Organization,
    Packet,
    StatusPacket,
    open_decoded,
)
from edxml.commands.exits import ExitCode
from edxml.commands.files import open_packet, read_whole, show_findings, take, write_new
from edxml.commands.sign import Trust, trusting
from edxml.commands.terminal import AsJson, Voice, in_vietnam, voice_of
from edxml.file_names import safe_name
from edxml.messages import say_day
from edxml.sign import Verification, verify_packet

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the commands of this module."""
    group.command("show", help="help.packet_show")(show)
    group.command("extract", help="help.packet_extract")(extract)


def show(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.packet_file", show_default=False)],
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """What one packet says, its files, what is wrong with it and what its signature is worth."""
    voice = voice_of(ctx)
    policy = trusting(voice, trust)
    with open_packet(file) as stream:
        _, packet = take(voice, file, stream, as_json=as_json)
        stream.seek(0)
        result = read_whole(stream)
        stream.seek(0)
        signature = verify_packet(stream, policy=policy)
    if as_json:
        voice.json(
            {
                "file": str(file), "kind": _kind(packet), "dialect": result.dialect, "size": result.size,
                "wire_digest": result.wire_digest, "packet": _plain(packet), "signature": signature.as_dict(),
                "findings": [finding.as_dict() for finding in result.findings],
                "repairs": [repair.as_dict() for repair in result.repairs],
            }
        )  # fmt: skip
        return
    rows = [*_values(voice, packet), ("size", result.size), ("wire_digest", result.wire_digest)]
    rows.append(("signature", _signature(voice, signature)))
    voice.table(("what", "value"), [(voice.label("packet_show", name), value) for name, value in rows if value])
    if isinstance(packet, Packet):
        _show_files(voice, packet)
    show_findings(voice, [finding.as_dict() for finding in result.findings])


def _kind(packet: Packet | StatusPacket) -> str:
    return "document" if isinstance(packet, Packet) else "status"


def _plain(value: Any) -> Any:
    """A packet's values for JSON: ids as they are written, everything else by its fields."""
    if isinstance(value, OrganId | DocumentId):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        return [_plain(each) for each in value] if names is None else dict(zip(names, map(_plain, value), strict=True))
    return value


def _signature(voice: Voice, found: Verification) -> str:
    return f"{found.text(voice.language)} [{found.verdict}]"


def _values(voice: Voice, packet: Packet | StatusPacket) -> Iterator[tuple[str, Any]]:
    yield "kind", voice.say(f"packet_show.{_kind(packet)}")
    yield "dialect", packet.dialect
    yield "sender", _named(packet.sender)
    if isinstance(packet, StatusPacket):
        answered = packet.response_for
        yield "recipient", answered.organ_id or answered.raw_organ_id
        yield "status", voice.label("status_code", f"s{packet.status_code}")
        yield "description", packet.description
        yield "target", answered.document_id or ""
        yield "number_notation", answered.code
        yield "at", packet.timestamp and in_vietnam(packet.timestamp)
        return
    for recipient in packet.recipients:
        yield "recipient", _named(recipient)
    yield "document_id", packet.document_id
    yield "number_notation", packet.number_notation
    yield "date", packet.promulgation_date and say_day(packet.promulgation_date, voice.language)
    yield "type_name", packet.type_name
    yield "subject", packet.subject
    yield (
        "signed_by",
        " ".join(part for part in (packet.signer_competence, packet.signer_position, packet.signer_name) if part),
    )
    yield "priority", packet.priority.name.lower() if packet.is_urgent else ""
    yield "business_kind", voice.label("packet_kind", packet.business_kind.name.lower())
    yield "business_reason", packet.business_reason
    yield "target", "" if packet.target_document_id == packet.document_id else packet.target_document_id


def _named(organization: Organization) -> str:
    return f"{organization.organ_id or organization.raw_organ_id} {organization.name}".strip()


def _show_files(voice: Voice, packet: Packet) -> None:
    rows = [
        (each.position, each.name, each.content_type, each.sniffed, each.length, each.digest)
        for each in packet.attachments
    ]
    if rows:
        voice.table(("#position", "name", "content_type", "sniffed", "#size", "digest"), rows)


def extract(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.packet_file", show_default=False)],
    into: Annotated[Path, typer.Option("--into", help="help.into", show_default=False)] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write the files of one packet into a folder, under safe names; never over a file that is there."""
    voice = voice_of(ctx)
    told, worst = [], ExitCode.OK
    with open_packet(file) as stream:
        _, packet = take(voice, file, stream, as_json=as_json)
        into.mkdir(parents=True, exist_ok=True)
        taken = {each.name.casefold() for each in into.iterdir()}
        for attachment in packet.attachments if isinstance(packet, Packet) else ():
            path = into / safe_name(attachment.name, taken)
            taken.add(path.name.casefold())
            try:
                _save(stream, attachment, path)
            except AttachmentDamaged as why:
                voice.fault(why.text(voice.language), why.code)
                worst = ExitCode.FINDINGS
                continue
            told.append({"name": attachment.name, "saved_as": str(path), "sha256": attachment.digest})
            if not as_json:
                voice.tell("packet_told.extracted", path=str(path), size=attachment.length, digest=attachment.digest)
    if as_json:
        voice.json(told)
    elif not told:
        voice.tell("cli.nothing")
    if worst:
        raise typer.Exit(worst)


def _save(packet: BinaryIO, attachment: Attachment, path: Path) -> None:
    """Raises AttachmentDamaged where the bytes are not the ones that reading saw; nothing stays then."""
    seen = hashlib.sha256()
    with write_new(path) as out:
        for piece in open_decoded(packet, attachment):
            seen.update(piece)
            out.write(piece)
        if seen.hexdigest() != attachment.digest:
            raise AttachmentDamaged(name=attachment.name)
