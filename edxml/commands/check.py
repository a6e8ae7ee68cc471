"""`check`, which says everything that is wrong with packets; and all commands on packets together."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

import typer

from edxml import LENIENT, STRICT, Finding, ReadResult, Repair, Severity
from edxml.commands import build, change, show, sign
from edxml.commands.exits import ExitCode
from edxml.commands.files import (
    STANDARD_INPUT,
    as_plain,
    complain,
    open_packet,
    packets_in,
    read_whole,
    show_findings,
    show_repairs,
    unread_as_plain,
)
from edxml.commands.terminal import AsJson, Voice, voice_of
from edxml.messages import Language

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the commands on packets to a program, or to one of its groups."""
    group.command("check", help="help.packet_check")(check)
    for room in (show, build, sign, change):
        room.register(group)


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
        voice.json(_sarif(told, [(path, voice.why(why)) for path, why in unreadable], voice.language))
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


# --- SARIF 2.1.0 (OASIS): the form in which build servers show what a checker found beside the file -------------------

_Checked = tuple[Path, Sequence[Finding], Sequence[Repair]]


def _sarif(checked: Sequence[_Checked], unreadable: Sequence[tuple[Path, str]], language: Language) -> dict[str, Any]:
    """One run over all files: findings by their severity, repairs as notes; each rule is listed once.

    A file that cannot be opened is no finding of a packet: it is a notification, and the run was not successful.
    """
    results: list[dict[str, Any]] = []
    for path, findings, repairs in checked:
        for finding in findings:
            level = "error" if finding.severity is Severity.ERROR else "warning"
            results.append(_result(path, finding.code, level, finding.as_dict(), language))
        for repair in repairs:
            results.append(_result(path, f"repair.{repair.name}", "note", repair.as_dict(), language))
    notices = [
        {"level": "error", "message": {"text": why}, "locations": [{"physicalLocation": _file(path)}]}
        for path, why in unreadable
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "truc packet check",
                        "version": _version(),
                        "rules": [{"id": rule} for rule in sorted({result["ruleId"] for result in results})],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": not notices, "toolExecutionNotifications": notices}],
                "results": results,
            }
        ],
    }


def _version() -> str:
    try:
        return version_of("truc")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "0"


def _result(path: Path, rule: str, level: str, said: dict[str, Any], language: Language) -> dict[str, Any]:
    place: dict[str, Any] = {"physicalLocation": _file(path)}
    if said["line"] is not None:
        place["physicalLocation"]["region"] = {"startLine": said["line"]}
    if said["path"]:
        place["logicalLocations"] = [{"fullyQualifiedName": said["path"], "kind": "element"}]
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": said[language]},
        "locations": [place],
        "properties": {"vi": said["vi"], "en": said["en"]},
    }


def _file(path: Path) -> dict[str, Any]:
    if path == STANDARD_INPUT:
        return {"artifactLocation": {"uri": "stdin"}}
    uri = path.as_uri() if path.is_absolute() else Path("/", path).as_uri().removeprefix("file:///")
    return {"artifactLocation": {"uri": uri}}
