"""`sign`, `verify` and `timestamp`: real XML signatures, without a node (docs/reference/signatures.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer
from cryptography import x509

from edxml.commands.exits import AuthoritySilent, ExitCode
from edxml.commands.files import complain, open_packet, packets_in, write_new
from edxml.commands.moments import parse_moment
from edxml.commands.terminal import AsJson, Voice, in_vietnam, on_one_line, voice_of
from edxml.sign import (
    Form,
    Policy,
    Signer,
    TimeStamper,
    TokenKey,
    Verification,
    add_time_stamp,
    asking,
    load_pem_signer,
    load_pkcs12_signer,
    open_token_signer,
    sign_packet,
    verify_packet,
)
from edxml.sign.names import name_text

__all__ = ["read_certificates", "register", "trusting"]

_PATIENCE: Final = 60.0  # seconds; authorities answer in a second, or queue
_LARGEST: Final = 256 * 1024  # bytes of an answer: a token with its certificates has some kilobytes

Trust = Annotated[list[Path] | None, typer.Option("--trust", help="help.packet_trust", show_default=False)]


def register(group: typer.Typer) -> None:
    """Add the commands of this module."""
    group.command("sign", help="help.packet_sign")(sign)
    group.command("verify", help="help.packet_verify")(verify)
    group.command("timestamp", help="help.packet_timestamp")(timestamp)


def sign(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.packet_file", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="help.packet_out", show_default=False)],
    key: Annotated[Path | None, typer.Option("--key", help="help.packet_key", show_default=False)] = None,
    certificate: Annotated[
        Path | None, typer.Option("--cert", help="help.packet_certificate", show_default=False)
    ] = None,
    pkcs12: Annotated[Path | None, typer.Option("--p12", help="help.packet_bundle", show_default=False)] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="help.packet_password", show_default=False)
    ] = None,
    token_key: Annotated[str, typer.Option("--pkcs11", help="help.packet_token", show_default=False)] = "",
    authority: Annotated[str, typer.Option("--tsa", help="help.packet_tsa", show_default=False)] = "",
) -> None:
    """Sign one packet into a new file (XAdES over the whole packet; with `--tsa` stamped as well, XAdES-T).

    What is signed already is refused.
    """
    voice = voice_of(ctx)
    signer = _signer(voice, key, certificate, pkcs12, password_file, token_key)
    stamping: dict[str, Any] = {"form": Form.T, "time_stamper": http_authority(authority)} if authority else {}
    with open_packet(file) as stream, write_new(out) as signed:
        sign_packet(stream, signed, signer, **stamping)
    voice.tell("packet_told.signed", file=str(file), out=str(out), signer=_name(signer.certificates[0]))


def timestamp(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.packet_file", show_default=False)],
    authority: Annotated[str, typer.Option("--tsa", help="help.packet_tsa", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="help.packet_out", show_default=False)],
) -> None:
    """Put a time stamp onto a signature that is there (XAdES-T), into a new file. A second stamp is refused."""
    voice = voice_of(ctx)
    with open_packet(file) as stream, write_new(out) as stamped:
        moment = add_time_stamp(stream, stamped, http_authority(authority))
    voice.tell("packet_told.stamped", file=str(file), out=str(out), moment=moment)


def http_authority(url: str) -> TimeStamper:
    """A time-stamp authority by RFC 3161 over HTTP, which needs no TLS: its answers are signed, and over our number.

    What it gives raises AuthoritySilent where nobody answers as an authority does.  Nothing is tried twice.
    """

    def send(query: bytes) -> bytes:
        headers = {"content-type": "application/timestamp-query", "accept": "application/timestamp-reply"}
        answer = bytearray()
        try:
            with (
                httpx2.Client(timeout=_PATIENCE, trust_env=False) as client,
                client.stream("POST", url, content=query, headers=headers) as response,
            ):
                if response.status_code != httpx2.codes.OK:
                    raise AuthoritySilent(url=url, why=f"HTTP {response.status_code}")
                for piece in response.iter_bytes():
                    answer += piece
                    if len(answer) > _LARGEST:
                        raise AuthoritySilent(url=url, why=f"> {_LARGEST} B")
        except (httpx2.HTTPError, httpx2.InvalidURL) as why:
            raise AuthoritySilent(url=url, why=str(why) or type(why).__name__) from why
        return bytes(answer)

    return asking(send)


def _signer(
    voice: Voice,
    key: Path | None,
    certificate: Path | None,
    pkcs12: Path | None,
    password_file: Path | None,
    token_key: str,
) -> Signer:
    """The signer that the options name; ends the command where they name none or several. Raises SigningKeyInvalid."""
    password = None if password_file is None else password_file.read_bytes().rstrip(b"\r\n")
    match (key, certificate, pkcs12, token_key):
        case (None, None, Path(), ""):
            return load_pkcs12_signer(pkcs12.read_bytes(), password=password)
        case (Path(), Path(), None, ""):
            return load_pem_signer(key.read_bytes(), certificate.read_bytes(), password=password)
        case (None, _, None, str()) if token_key:
            chain = None if certificate is None else certificate.read_bytes()
            return open_token_signer(TokenKey.parse(token_key), certificates=chain)
    voice.fault(voice.say("cli.which_key"), "cli.which_key")
    raise typer.Exit(ExitCode.USAGE)


def verify(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="help.packet_files", show_default=False)],
    trust: Trust = None,
    trust_authority: Annotated[
        list[Path] | None, typer.Option("--trust-tsa", help="help.packet_trust_tsa", show_default=False)
    ] = None,
    at: Annotated[str, typer.Option("--at", help="help.packet_at", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """What the signature of each packet proves. Exit code 0: all are valid; 1: one is not; 2: a file cannot be read."""
    voice = voice_of(ctx)
    policy = replace(trusting(voice, trust), time_stamp_anchors=trusting(voice, trust_authority).anchors)
    moment = parse_moment(at, is_end=True) if at else None
    worst, told = ExitCode.OK, []
    for path in packets_in(files):
        try:
            with open_packet(path) as stream:
                found = verify_packet(stream, policy=policy, at=moment)
        except OSError as why:
            worst = ExitCode.USAGE
            complain(voice, path, why)
            continue
        worst = max(worst, ExitCode.OK if found.is_valid else ExitCode.FINDINGS)
        told.append({"file": str(path), **found.as_dict()})
        if not as_json:
            _show(voice, path, found)
    if as_json:
        voice.json(told)
    if worst:
        raise typer.Exit(worst)


def trusting(voice: Voice, files: list[Path] | None) -> Policy:
    """The policy that trusts the certificates of these PEM files, and no others; ends the command where one is none."""
    return Policy.trusting(read_certificates(voice, files or ()))


def read_certificates(voice: Voice, files: Iterable[Path]) -> list[x509.Certificate]:
    """All certificates of these PEM files; ends the command where a file holds none. Raises OSError."""
    found: list[x509.Certificate] = []
    for path in files:
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError:
            voice.fault(voice.say("cli.no_certificate", file=str(path)), "cli.no_certificate")
            raise typer.Exit(ExitCode.USAGE) from None
    return found


def _name(certificate: x509.Certificate) -> str:
    return name_text(certificate.subject)


def _show(voice: Voice, path: Path, found: Verification) -> None:
    mark, style = ("✓", "green") if found.is_valid else ("?", "yellow") if found.verdict.is_open else ("✗", "red")
    voice.write(f"{mark} {on_one_line(path)}: {found.text(voice.language)} [{found.verdict}]", style)
    rows: list[tuple[str, Any]] = [("signer", found.signer)]
    rows += [("signing_time", in_vietnam(moment)) for moment in (found.signing_time,) if moment]
    rows += [("stamped_at", in_vietnam(moment)) for moment in (found.stamped_at,) if moment]
    rows += [("signature_form", str(found.form))] if found.form else []
    rows += [("unproved_stamp", "–")] if found.form is Form.T and found.stamped_at is None else []
    rows += [("signed_part", part.path) for part in found.signed if not part.is_own]
    rows += [("signed_file", f"{file.digest} ({file.length})") for file in found.files if found.signed]
    for name, value in rows:
        if value:
            voice.write(f"    {voice.label('packet_show', name)}: {value}")
