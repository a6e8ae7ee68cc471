"""`repair` and `diff`: a packet in the strict form, and in what two packets differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from edxml import STRICT, DocumentId, OrganId, Packet, ReadResult, StatusPacket, open_decoded, write, write_status
from edxml.commands.exits import ExitCode
from edxml.commands.files import open_packet, read_whole, show_findings, show_repairs, take, write_new
from edxml.commands.terminal import AsJson, Voice, voice_of
from edxml.sign import Policy, Verdict, verify_packet

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the commands of this module."""
    group.command("repair", help="help.packet_repair")(repair)
    group.command("diff", help="help.packet_diff")(diff)


def repair(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.packet_file", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="help.packet_out", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Read leniently, write the strict form into a new file, and show what was wrong before and what still is.

    Exit code 0: nothing is wrong any more; 1: only the sender can mend the rest (written nonetheless), or the packet
    is refused however it is read (nothing is written); 2: it cannot be read.  A signature does not survive: said.
    """
    voice = voice_of(ctx)
    with open_packet(file) as stream:
        result, packet = take(voice, file, stream, as_json=as_json)
        if result.is_refused:
            if as_json:
                voice.json({"before": _plain(file, result), "after": None})
            else:
                _tell(voice, "packet_told.not_repaired", file, result)
            raise typer.Exit(ExitCode.FINDINGS)
        stream.seek(0)
        if verify_packet(stream, policy=Policy()).verdict not in (Verdict.ABSENT, Verdict.NOT_XMLDSIG):
            voice.hint("packet_told.signature_lost")
        with write_new(out) as written:
            if isinstance(packet, Packet):
                write(_with_named_hops(voice, packet), written, open_attachment=lambda each: open_decoded(stream, each))
            else:
                write_status(packet, written)
        stream.seek(0)
        before = read_whole(stream)
    with out.open("rb") as stream:
        after = read_whole(stream, profile=STRICT, check_schema=True)
    if as_json:
        voice.json({"before": _plain(file, before), "after": _plain(out, after)})
    else:
        _tell(voice, "packet_told.before", file, before)
        _tell(voice, "packet_told.after", out, after)
    if after.is_refused:
        raise typer.Exit(ExitCode.FINDINGS)


def _with_named_hops(voice: Voice, packet: Packet) -> Packet:
    """The national axis adds hops without a code, which the strict form does not know: they are left out, and told."""
    named = tuple(hop for hop in packet.trace if hop.organ_id is not None)
    if len(named) < len(packet.trace):
        voice.hint("packet_told.hops_dropped", count=len(packet.trace) - len(named))
    return dataclasses.replace(packet, trace=named)


def _tell(voice: Voice, code: str, path: Path, result: ReadResult) -> None:
    voice.tell(code, file=str(path), repairs=len(result.repairs), findings=len(result.findings))
    show_repairs(voice, result.repairs)
    show_findings(voice, [finding.as_dict() for finding in result.findings])


def _plain(path: Path, result: ReadResult) -> dict[str, Any]:
    return {
        "file": str(path),
        "wire_digest": result.wire_digest,
        "repairs": [each.as_dict() for each in result.repairs],
        "findings": [finding.as_dict() for finding in result.findings],
    }


def diff(
    ctx: typer.Context,
    first: Annotated[Path, typer.Argument(help="help.packet_first", show_default=False)],
    second: Annotated[Path, typer.Argument(help="help.packet_second", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """In which values two packets differ, whatever their form. Exit code 0: in none; 1: in some; 2: unreadable."""
    voice = voice_of(ctx)
    packets = []
    for path in (first, second):
        with open_packet(path) as stream:
            packets.append(take(voice, path, stream, as_json=as_json)[1])
    rows = list(_differences("", *packets)) if type(packets[0]) is type(packets[1]) else [_kinds(voice, packets)]
    if as_json:
        voice.json([{"field": field, "first": one, "second": other} for field, one, other in rows])
    elif rows:
        voice.table(("field", "first", "second"), rows)
    else:
        voice.tell("packet_told.same", first=str(first), second=str(second))
    if rows:
        raise typer.Exit(ExitCode.FINDINGS)


def _kinds(voice: Voice, packets: list[Packet | StatusPacket]) -> tuple[str, str, str]:
    one, other = ("document" if isinstance(packet, Packet) else "status" for packet in packets)
    return "kind", voice.label("packet_show", one), voice.label("packet_show", other)


def _differences(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """(field, value, value) of every leaf that differs; where one side has no such value, its value is None."""
    if one == other:
        return
    if type(one) is type(other) and dataclasses.is_dataclass(one) and not isinstance(one, OrganId | DocumentId):
        for field in dataclasses.fields(one):
            if field.compare:
                name = f"{path}.{field.name}".lstrip(".")
                yield from _differences(name, getattr(one, field.name), getattr(other, field.name))
    elif type(one) is tuple and type(other) is tuple:
        for at in range(max(len(one), len(other))):
            pair = (each[at] if at < len(each) else None for each in (one, other))
            yield from _differences(f"{path}[{at + 1}]", *pair)
    else:
        yield path or "kind", _said(one), _said(other)


def _said(value: Any) -> str | None:
    if value is None:
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, OrganId | DocumentId):
        return str(getattr(value, "name", "")) or type(value).__name__
    return str(value)
