"""`truc key …`: the node's seal ring: which certificates there are, a new one announced, all of them handed out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.serialization import Encoding

from edxml.commands.files import write_new
from edxml.sign.names import name_text
from edxml.zone import iso_in_vietnam
from gateway.cli.exits import ExitCode
from gateway.cli.moments import parse_moment
from gateway.cli.opening import open_local
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.keys import KeyState, SealPair, SealRing, load_ring, rotate_keys
from gateway.model.instants import as_datetime, as_instant

__all__ = ["register"]

_AHEAD: Final = timedelta(days=7)
"""How long a new key is announced where nothing else is said: time for others to fetch its certificate."""


def register(app: typer.Typer) -> None:
    """Add the commands on seal keys."""
    group = typer.Typer(help="help.key", no_args_is_help=True)
    group.command("list", help="help.key_list")(list_all)
    group.command("rotate", help="help.key_rotate")(rotate)
    group.command("export", help="help.key_export")(export)
    app.add_typer(group, name="key")


def list_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show every seal certificate in the order of their use, and where its key lies."""
    voice = voice_of(ctx)
    now = datetime.now(UTC)
    with open_local() as local:
        ring = load_ring(local.settings.data / "keys")
    if as_json:
        voice.json([_as_dict(ring, pair, now) for pair in ring.pairs])
        return
    columns = ("key_state", "begins", "valid_until", "key_place", "fingerprint")
    voice.table(columns, [_row(voice, ring, pair, now) for pair in ring.pairs])


def rotate(
    ctx: typer.Context,
    at: Annotated[str, typer.Option("--at", help="help.key_at", show_default=False)] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=36500, help="help.key_days")] = 3650,
    key: Annotated[Path | None, typer.Option("--key", help="help.key_given", show_default=False)] = None,
    certificate: Annotated[Path | None, typer.Option("--cert", help="help.key_certificate", show_default=False)] = None,
    token_key: Annotated[str, typer.Option("--pkcs11", help="help.key_token", show_default=False)] = "",
) -> None:
    """Announce a new pair. Safe to repeat: while one is announced, no second is made. Processes need no restart."""
    voice = voice_of(ctx)
    now = datetime.now(UTC)
    begins = _moment(voice, at, now)
    given = _given(voice, key, certificate, token_key)
    with open_local() as local:
        folder = local.settings.data / "keys"
        pair, is_new = rotate_keys(folder, local.settings.node, begins=begins, now=now, days=days, given=given)
    code = "key_told.announced" if is_new else "key_told.already"
    voice.tell(code, begins=voice.moment(as_instant(pair.begins)), fingerprint=pair.fingerprint)


def export(ctx: typer.Context, out: Annotated[Path, typer.Argument(help="help.key_file", show_default=False)]) -> None:
    """Write all certificates into one file: what `truc seal verify --certificate` and xmlsec1 are given."""
    with open_local() as local:
        ring = load_ring(local.settings.data / "keys")
    with write_new(out) as file:
        file.writelines(pair.certificate.public_bytes(Encoding.PEM) for pair in ring.pairs)
    voice_of(ctx).tell("key_told.exported", count=len(ring.pairs), file=str(out))


def _moment(voice: Voice, at: str, now: datetime) -> datetime:
    """When the new key begins; ends the command where that is past."""
    if not at:
        return now + _AHEAD
    if at == "now":
        return now
    begins = as_datetime(parse_moment(at))
    if begins < now:
        voice.fault(voice.say("cli.past_moment", moment=at), "cli.past_moment")
        raise typer.Exit(ExitCode.USAGE)
    return begins


def _given(voice: Voice, key: Path | None, certificate: Path | None, token_key: str) -> tuple[bytes, bytes] | None:
    """Key and certificate of an authority, where the options name them. Raises OSError."""
    if key is None and certificate is None and not token_key:
        return None
    if certificate is None or (key is None) is (not token_key):
        voice.fault(voice.say("cli.which_seal_key"), "cli.which_seal_key")
        raise typer.Exit(ExitCode.USAGE)
    return (token_key.encode() if key is None else key.read_bytes()), certificate.read_bytes()


def _place(pair: SealPair) -> str:
    return "erased" if pair.key_text is None else "token" if pair.is_on_token else "file"


def _row(voice: Voice, ring: SealRing, pair: SealPair, now: datetime) -> tuple[str, ...]:
    state = ring.state(pair, now)
    return (
        voice.say("key_told.announced_state" if state is KeyState.ANNOUNCED else f"key_told.{state}"),
        voice.moment(as_instant(pair.begins)),
        voice.moment(as_instant(pair.certificate.not_valid_after_utc)),
        voice.label("key_told", _place(pair)),
        pair.fingerprint,
    )


def _as_dict(ring: SealRing, pair: SealPair, now: datetime) -> dict[str, str]:
    return {
        "name": pair.name,
        "state": str(ring.state(pair, now)),
        "begins": iso_in_vietnam(pair.begins),
        "valid_from": iso_in_vietnam(pair.certificate.not_valid_before_utc),
        "valid_until": iso_in_vietnam(pair.certificate.not_valid_after_utc),
        "subject": name_text(pair.certificate.subject),
        "fingerprint": pair.fingerprint,
        "key": _place(pair),
    }
