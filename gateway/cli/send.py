"""`truc send FILE…`: submit packets to a node over HTTP, and show the answer per recipient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from edxml.commands.files import show_findings
from edxml.errors import TrucError
from gateway.cli.exits import ExitCode, RemoteRefused, RemoteUnreachable, exit_code_of
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.remote import Remote, open_remote
from routing.plan import RecipientsMode

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("send", help="help.send")(send)


def send(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="help.send_files", show_default=False)],
    to: Annotated[list[str] | None, typer.Option("--to", help="help.send_to")] = None,
    recipients: Annotated[RecipientsMode | None, typer.Option("--recipients", help="help.recipients")] = None,
    check: Annotated[bool, typer.Option("--check", help="help.send_check")] = False,
    url: Annotated[str, typer.Option("--url", help="help.url")] = "",
    as_json: AsJson = False,
) -> None:
    """Send packets one after the other; a refused one does not hold up the others. Exit code: that of the worst."""
    voice = voice_of(ctx)
    only = tuple(part.strip() for given in to or () for part in given.split(",") if part.strip())
    worst, told = ExitCode.OK, []
    with open_remote(voice, url) as remote, voice.progress(is_bytes=True) as progress:
        for file in files:
            try:
                answer = _send(remote, progress, file, only, str(recipients or ""), check)
            except RemoteUnreachable:
                raise
            except TrucError as why:
                worst = max(worst, exit_code_of(why))
                told.append({"file": str(file), "problem": _problem(why)})
                if not as_json:
                    _show_refusal(voice, file, why)
                continue
            if check and not answer["would_be_accepted"]:
                worst = max(worst, ExitCode.FINDINGS)
            told.append({"file": str(file), "answer": answer})
            if not as_json:
                (_show_check if check else _show_answer)(voice, file, answer)
    if as_json:
        voice.json(told)
    if worst:
        raise typer.Exit(worst)


def _send(
    remote: Remote, progress: Progress, file: Path, only: tuple[str, ...], mode: str, is_check: bool
) -> dict[str, Any]:
    size = file.stat().st_size
    bar = progress.add_task(file.name, total=size)
    try:
        with file.open("rb") as stream:
            return remote.submit(
                stream, size, only=only, mode=mode, is_check=is_check,
                on_sent=lambda count: progress.advance(bar, count),
            )  # fmt: skip
    finally:
        progress.remove_task(bar)


def _problem(why: TrucError) -> dict[str, Any]:
    findings = why.findings if isinstance(why, RemoteRefused) else []
    return {"code": why.reason, "text": str(why), "findings": findings}


def _show_refusal(voice: Voice, file: Path, why: TrucError) -> None:
    voice.fault(f"{file}: {why.text(voice.language)}", why.reason)
    if isinstance(why, RemoteRefused):
        show_findings(voice, why.findings)


def _show_answer(voice: Voice, file: Path, answer: Mapping[str, Any]) -> None:
    code = "send_told.repeat" if answer["is_repeat"] else "send_told.accepted"
    voice.tell(code, file=str(file), packet=answer["packet_id"], document=answer["document_id"])
    show_findings(voice, answer["findings"])
    voice.table(
        ("to", "state", "reason", "delivery"),
        [
            (line["organ_id"], voice.label("state", line["state"]), voice.reason(line["reason"]), line["delivery_id"])
            for line in answer["recipients"]
        ],
    )


def _show_check(voice: Voice, file: Path, answer: Mapping[str, Any]) -> None:
    voice.tell("send_told.would" if answer["would_be_accepted"] else "send_told.would_not", file=str(file))
    show_findings(voice, answer["findings"])
    for repair in answer["repairs"]:
        voice.write(f"  ~ {repair[voice.language]} [{repair['name']}]", "dim")
    voice.table(
        ("to", "code", "kind", "reason"),
        [
            (leg["agency_name"], ", ".join(leg["organ_ids"]), leg["channel_kind"], leg[voice.language])
            for leg in answer["route"]
        ],
    )
