"""`truc packet …`: packets without a node. Here `check`, which says everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edxml import LENIENT, STRICT, ReadResult, Severity
from gateway.cli import packet_build, packet_change, packet_show, packet_sign, packet_stamp
from gateway.cli.exits import ExitCode
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.packet_sarif import make_sarif
from gateway.cli.packet_source import (
    as_plain,
    complain,
    open_packet,
    packets_in,
    read_whole,
    show_findings,
    show_repairs,
    unread_as_plain,
)

__all__ = ["register", "show_findings"]


def register(app: typer.Typer) -> None:
    """Add the commands on packets."""
    group = typer.Typer(help="help.packet", no_args_is_help=True)
    group.command("check", help="help.packet_check")(check)
    for room in (packet_show, packet_build, packet_sign, packet_stamp, packet_change):
        room.register(group)
    app.add_typer(group, name="packet")


def check(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="help.packet_files", show_default=False)],
    is_strict: Annotated[bool, typer.Option("--strict", help="help.packet_strict")] = False,
    check_schema: Annotated[bool, typer.Option("--schema", help="help.packet_schema")] = False,
    as_json: AsJson = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="help.packet_sarif")] = False,
) -> None:
    """Check files. Exit code 0: clean; 1: errors were found; 2: a file cannot be read at all.

    With `--strict` nothing is repaired while reading, and a warning counts as an error does.
    """
    voice = voice_of(ctx)
    worst = ExitCode.OK
    checked: list[tuple[Path, ReadResult]] = []
    unreadable: list[tuple[Path, OSError]] = []
    for path in packets_in(files):
        try:
            with open_packet(path) as stream:
                result = read_whole(stream, profile=STRICT if is_strict else LENIENT, check_schema=check_schema)
        except OSError as why:
            worst = ExitCode.USAGE
            unreadable.append((path, why))
            complain(voice, path, why)
            continue
        worst = max(worst, _exit_code(result, is_strict=is_strict))
        checked.append((path, result))
        if not (as_json or as_sarif):
            _show(voice, path, result)
    if as_sarif:
        told = [(path, result.findings, result.repairs) for path, result in checked]
        voice.json(make_sarif(told, [(path, voice.why(why)) for path, why in unreadable], voice.language))
    elif as_json:
        rows = [as_plain(path, result) for path, result in checked]
        voice.json(rows + [unread_as_plain(path, why) for path, why in unreadable])
    if worst:
        raise typer.Exit(worst)


def _exit_code(result: ReadResult, *, is_strict: bool) -> ExitCode:
    if not result.is_complete:
        return ExitCode.USAGE
    counts = (Severity.ERROR, Severity.WARNING) if is_strict else (Severity.ERROR,)
    is_clean = result.packet is not None and not any(finding.severity in counts for finding in result.findings)
    return ExitCode.OK if is_clean else ExitCode.FINDINGS


def _show(voice: Voice, file: Path, result: ReadResult) -> None:
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    voice.tell(
        "packet_told.refused" if errors else "packet_told.fine",
        file=str(file), errors=errors, warnings=len(result.findings) - errors, repairs=len(result.repairs),
    )  # fmt: skip
    show_findings(voice, [finding.as_dict() for finding in result.findings])
    show_repairs(voice, result.repairs)
