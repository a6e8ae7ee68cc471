"""`truc packet timestamp`: the time stamp of an authority put onto a signed packet; and how an authority is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import httpx2
import typer

from edxml.sign import TimeStamper, add_time_stamp, asking
from gateway.cli.exits import AuthoritySilent
from gateway.cli.output import voice_of
from gateway.cli.packet_source import open_packet, write_new

__all__ = ["http_authority", "register"]

_PATIENCE: Final = 60.0  # seconds; authorities answer in a second, or queue
_LARGEST: Final = 256 * 1024  # bytes of an answer: a token with its certificates has some kilobytes


def register(group: typer.Typer) -> None:
    """Add the command of this module."""
    group.command("timestamp", help="help.packet_timestamp")(timestamp)


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
