"""The errors of the routing room."""

from __future__ import annotations

from edxml.errors import TrucError
from edxml.findings import Finding
from edxml.messages import Language

__all__ = ["DirectoryInvalid", "RoutingError"]


class RoutingError(TrucError):
    """Any error of routing."""

    code = "routing.error"


class DirectoryInvalid(RoutingError):
    """Agencies that contradict each other make no directory; `findings` says every contradiction."""

    code = "directory.invalid"

    def __init__(self, *, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        super().__init__(count=len(findings), first=findings[0].text(Language.EN) if findings else "")
