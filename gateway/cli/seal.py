"""`truc seal verify`: a node's seal checked by anybody, on any machine, without the node (docs/guides/seal.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edxml.commands.files import open_packet
from edxml.commands.sign import read_certificates
from edxml.errors import SealInvalid
from edxml.seal import LARGEST_SEAL, OpenedSeal, open_seal
from edxml.sealed import SealDifference, find_differences
from edxml.sign.names import name_text
from edxml.zone import iso_in_vietnam
from gateway.cli.exits import ExitCode
from gateway.cli.output import AsJson, Voice, on_one_line, voice_of
from gateway.model.instants import as_instant

__all__ = ["register"]

_KINDS = (".pem", ".crt", ".cer")


def register(app: typer.Typer) -> None:
    """Add the commands on seals."""
    group = typer.Typer(help="help.seal", no_args_is_help=True)
    group.callback()(_group)
    group.command("verify", help="help.seal_verify")(verify)
    app.add_typer(group, name="seal")


def _group() -> None:
    """Keeps `verify` a word of its own, though it is the only one."""


def verify(
    ctx: typer.Context,
    packet: Annotated[Path, typer.Argument(help="help.packet_file", show_default=False)],
    seal: Annotated[Path, typer.Argument(help="help.seal_file", show_default=False)],
    certificates: Annotated[
        list[Path] | None, typer.Option("--certificate", help="help.seal_certificate", show_default=False)
    ] = None,
    trust: Annotated[Path | None, typer.Option("--trust", help="help.seal_trust", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Whether the packet is the one that the node sealed, and what it said of it.

    Exit code 0: all is right; 1: seal or packet is not; 2: a file cannot be read.  Needs no node, and the same memory
    for every size.
    """
    voice = voice_of(ctx)
    trusted = _trusted(voice, certificates or [], trust)
    with seal.open("rb") as file:
        text = file.read(LARGEST_SEAL + 1)
    try:
        opened = open_seal(text, trusted=trusted)
    except SealInvalid as why:
        if as_json:
            voice.json({"is_right": False, "code": why.reason, "detail": why.text(voice.language)})
        else:
            voice.write(f"✗ {on_one_line(seal)}: {why.text(voice.language)} [{why.reason}]", "red")
        raise typer.Exit(ExitCode.FINDINGS) from None
    with open_packet(packet) as stream:
        differences = find_differences(opened.statement, stream)
    if as_json:
        voice.json(_as_dict(opened, differences))
    else:
        _show(voice, packet, opened, differences)
    if differences:
        raise typer.Exit(ExitCode.FINDINGS)


def _trusted(voice: Voice, files: list[Path], folder: Path | None) -> list[x509.Certificate]:
    """The certificates to believe; ends the command where there is none, or a file holds none. Raises OSError."""
    if folder is not None:
        files = files + sorted(each for each in folder.iterdir() if each.suffix.lower() in _KINDS and each.is_file())
    found = read_certificates(voice, files)
    if not found:
        voice.fault(voice.say("cli.whom_to_trust"), "cli.whom_to_trust")
        raise typer.Exit(ExitCode.USAGE)
    return found


def _as_dict(opened: OpenedSeal, differences: tuple[SealDifference, ...]) -> dict[str, Any]:
    sealed, certificate = opened.statement, opened.certificate
    return {
        "is_right": not differences,
        "differences": [one.as_dict() for one in differences],
        "packet_id": sealed.packet_id,
        "node": sealed.node,
        "sender": sealed.sender,
        "recipients": list(sealed.recipients),
        "accepted_at": iso_in_vietnam(sealed.accepted_at, "milliseconds"),
        "packet_digest": sealed.packet_digest,
        "size": sealed.size,
        "attachments": [{"digest": digest, "length": length} for digest, length in sealed.attachments],
        "repairs": list(sealed.repairs),
        "certificate": {
            "subject": name_text(certificate.subject),
            "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
            "valid_from": iso_in_vietnam(certificate.not_valid_before_utc),
            "valid_until": iso_in_vietnam(certificate.not_valid_after_utc),
            "trusted_by": name_text(opened.chain[-1].subject),
        },
    }


def _show(voice: Voice, packet: Path, opened: OpenedSeal, differences: tuple[SealDifference, ...]) -> None:
    sealed, certificate = opened.statement, opened.certificate
    if differences:
        voice.write(f"✗ {voice.say('seal_told.wrong', file=str(packet))}", "red")
        for one in differences:
            voice.write(f"  ✗ {one.text(voice.language)} [{one.code}]", "red")
    else:
        voice.write(f"✓ {voice.say('seal_told.right', file=str(packet))}", "green")
    rows: list[tuple[str, Any]] = [
        ("node", sealed.node),
        ("accepted_at", voice.moment(as_instant(sealed.accepted_at))),
        ("packet_id", sealed.packet_id),
        ("sender", sealed.sender),
        *(("recipient", organ) for organ in sealed.recipients),
        ("packet", f"{sealed.packet_digest} ({sealed.size})"),
        *(("attachment", f"{digest} ({length})") for digest, length in sealed.attachments),
        *(("repair", voice.label("repair", name)) for name in sealed.repairs),
        ("certificate", f"{name_text(certificate.subject)}, {certificate.fingerprint(hashes.SHA256()).hex()}"),
        ("valid", f"{certificate.not_valid_before_utc:%d/%m/%Y} – {certificate.not_valid_after_utc:%d/%m/%Y}"),
    ]
    for name, value in rows:
        voice.write(f"    {voice.label('seal_told', name)}: {value}")
