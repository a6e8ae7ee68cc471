"""What a rule is: a value with its source, its text, a good and a bad example, and a function that looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Generic, NamedTuple, TypeVar

from edxml.findings import Finding, Place, Severity
from edxml.messages import Language, text
from edxml.packet import Packet, StatusPacket
from edxml.rules.examples import GOOD_DOCUMENT, GOOD_STATUS

__all__ = ["FINE", "UNCHECKED", "Breach", "Look", "Rule", "at", "document_rule", "status_rule"]

P = TypeVar("P", Packet, StatusPacket)


class Breach(NamedTuple):
    """One place where a rule is broken, and the parameters of its text."""

    path: str
    params: dict[str, Any]


FINE: tuple[Breach, ...] = ()
"""What a rule answers for a packet that keeps it."""

UNCHECKED: Final = "(chưa đối chiếu nguyên văn · not compared with the text)"
"""Stands behind a source that is known from custom and from memory, where nobody here has seen the clause itself."""

Look = Callable[[P, date], tuple[Breach, ...]]
"""Looks at a packet on a calendar day in Việt Nam; gives every breach, FINE where there is none."""


def at(path: str, **params: Any) -> Breach:
    """A breach at `path`."""
    return Breach(path, params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[P]):
    """One rule beyond the schema (quy tắc kiểm tra gói tin).

    `id` is stable; the finding's code is `edxml.<id>` and its text stands in the message files.  `source` names the
    law's article, the clause of the standard, or says "practice" and whose.  `good` keeps the rule, `bad` breaks it and
    no other (on the day `examples.TODAY`).
    """

    id: str
    severity: Severity
    source: str
    good: P
    bad: P
    look: Look[P]

    @property
    def code(self) -> str:
        """The code of its findings."""
        return f"edxml.{self.id}"

    def check(self, packet: P, today: date) -> tuple[Finding, ...]:
        """One finding per place where `packet` breaks the rule."""
        found = self.look(packet, today)
        if not found:
            return ()
        return tuple(
            Finding(code=self.code, severity=self.severity, place=Place(path=path), params=params)
            for path, params in found
        )

    def text(self, language: Language) -> str:
        """Its text, placeholders as they stand."""
        return text(self.code, language, {})


Making = Callable[[Look[P]], Rule[P]]


def document_rule(severity: Severity, source: str, *, bad: Packet, good: Packet = GOOD_DOCUMENT) -> Making[Packet]:
    """Make a rule for documents of the function that follows; its name is the rule's id."""
    return lambda look: Rule(
        id=getattr(look, "__name__", ""), severity=severity, source=source, good=good, bad=bad, look=look
    )


def status_rule(
    severity: Severity, source: str, *, bad: StatusPacket, good: StatusPacket = GOOD_STATUS
) -> Making[StatusPacket]:
    """The same for statuses."""
    return lambda look: Rule(
        id=getattr(look, "__name__", ""), severity=severity, source=source, good=good, bad=bad, look=look
    )
