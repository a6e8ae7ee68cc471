"""What was found wrong or put right in a packet: values that a program can count and a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edxml.messages import Language, text

__all__ = ["Finding", "Place", "Refusal", "Repair", "Severity"]


class Severity(StrEnum):
    """How grave a finding is."""

    ERROR = "error"  #: the packet is refused
    WARNING = "warning"  #: the packet goes on; its sender should mend it


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a packet: 1-based `line` (None where unknown) and element `path` ("edXML/…/To[2]/OrganId")."""

    line: int | None = None
    path: str = ""

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}"
        return " ".join(part for part in (line, self.path) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: a stable code, where, and the parameters of its text in both languages."""

    code: str
    severity: Severity = Severity.ERROR
    place: Place = Place()
    params: Mapping[str, Any] = field(default_factory=dict)

    def text(self, language: Language) -> str:
        """What is wrong and what to do about it, in `language`."""
        return text(self.code, language, self.params)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: code, severity, line, path, vi, en."""
        return {
            "code": self.code,
            "severity": str(self.severity),
            "line": self.place.line,
            "path": self.place.path,
            "vi": self.text(Language.VI),
            "en": self.text(Language.EN),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One deviation that was put right while reading; `name` is stable and counted per sender."""

    name: str
    place: Place = Place()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: name, line, path, vi, en."""
        code = f"repair.{self.name}"
        return {
            "name": self.name,
            "line": self.place.line,
            "path": self.place.path,
            "vi": text(code, Language.VI, {}),
            "en": text(code, Language.EN, {}),
        }


class Refusal(Exception):
    """Reading cannot go on; `finding` says why. Never leaves this package."""

    def __init__(self, code: str, *, line: int | None = None, path: str = "", **params: Any) -> None:
        self.finding = Finding(code=code, severity=Severity.ERROR, place=Place(line=line, path=path), params=params)
        super().__init__(code)
