"""`truc packet check FILE…`: reads packets without a node, and says everything that is wrong with them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edxml import Finding, ReadResult, Severity, read, validate
from gateway.cli.exits import ExitCode
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.model.instants import VIETNAM

__all__ = ["register", "show_findings"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.packet", no_args_is_help=True)
    group.callback()(lambda: None)  # a group of one command stays a group
    group.command("check", help="help.packet_check")(check)
    app.add_typer(group, name="packet")


def check(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="help.packet_files", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Check files. Exit code 0: clean; 1: errors were found; 2: a file cannot be read at all."""
    voice = voice_of(ctx)
    worst, told = ExitCode.OK, []
    for file in files:
        try:
            with file.open("rb") as stream:
                result = read(stream)
        except OSError as why:
            worst = ExitCode.USAGE
            voice.fault(voice.say("cli.io", what=str(file), why=why.strerror or type(why).__name__), "cli.io")
            continue
        findings = _findings(result)
        told.append(_as_json(file, result, findings))
        if result.packet is None or any(finding.severity is Severity.ERROR for finding in findings):
            worst = max(worst, ExitCode.FINDINGS)
        if not as_json:
            _show(voice, file, result, findings)
    if as_json:
        voice.json(told)
    if worst:
        raise typer.Exit(worst)


def _findings(result: ReadResult) -> tuple[Finding, ...]:
    if result.packet is None or result.is_secret:
        return result.findings
    return (*result.findings, *validate(result.packet, today=datetime.now(VIETNAM).date()))


def _as_json(file: Path, result: ReadResult, findings: tuple[Finding, ...]) -> dict[str, Any]:
    return {
        "file": str(file),
        "is_refused": any(finding.severity is Severity.ERROR for finding in findings),
        "dialect": result.dialect,
        "size": result.size,
        "wire_digest": result.wire_digest,
        "findings": [finding.as_dict() for finding in findings],
        "repairs": [repair.as_dict() for repair in result.repairs],
    }


def _show(voice: Voice, file: Path, result: ReadResult, findings: tuple[Finding, ...]) -> None:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    voice.tell(
        "packet_told.refused" if errors else "packet_told.fine",
        file=str(file), errors=errors, warnings=len(findings) - errors, repairs=len(result.repairs),
    )  # fmt: skip
    show_findings(voice, [finding.as_dict() for finding in findings])
    for repair in result.repairs:
        said = repair.as_dict()
        voice.write(f"  ~ {repair.place}: {said[voice.language]} [{repair.name}]".replace(" : ", " "), "dim")


def show_findings(voice: Voice, findings: list[dict[str, Any]]) -> None:
    """One line per finding (as_dict): mark, place, sentence, code."""
    for finding in findings:
        is_error = finding["severity"] == "error"
        line = "" if finding["line"] is None else voice.say("packet_told.line", line=finding["line"])
        place = " ".join(part for part in (line, finding["path"]) if part)
        mark, style = ("✗", "red") if is_error else ("!", "yellow")
        voice.write(f"  {mark} {place + ': ' if place else ''}{finding[voice.language]} [{finding['code']}]", style)
