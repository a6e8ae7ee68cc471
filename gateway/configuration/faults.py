"""What can be wrong with a configuration file: all of it is said at once, each fault with its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edxml.findings import Finding, Place
from edxml.messages import Language, text
from gateway.model.errors import SettingsError

__all__ = ["ConfigurationInvalid", "fault"]


class ConfigurationInvalid(SettingsError):
    """A configuration file that cannot be applied; nothing was changed. `findings` says every fault with its place."""

    code = "configuration.invalid"

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(count=len(self.findings), first=self.findings[0].text(Language.EN) if findings else "")

    def text(self, language: Language) -> str:
        """The first fault and how many there are, in `language`."""
        first = self.findings[0].text(language) if self.findings else ""
        return text(self.code, language, {**self.params, "first": first})


def fault(reason: str, where: str, *, line: int | None = None, **params: Any) -> Finding:
    """One fault: `configuration.<reason>`, where in the file ("[[channel]] 3 kenh-16: in_flight"), and its words."""
    return Finding(
        code=f"configuration.{reason}", place=Place(line=line, path=where), params={"where": where, **params}
    )
