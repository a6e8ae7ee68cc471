"""Findings as SARIF 2.1.0 (OASIS), the form in which build servers show what a checker found beside the file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from edxml import Finding, Repair, Severity
from edxml.messages import Language
from gateway.cli.packet_source import STANDARD_INPUT

__all__ = ["make_sarif"]

Checked = tuple[Path, Sequence[Finding], Sequence[Repair]]


def make_sarif(
    checked: Sequence[Checked], unreadable: Sequence[tuple[Path, str]], language: Language
) -> dict[str, Any]:
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
