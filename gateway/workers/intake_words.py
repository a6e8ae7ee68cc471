"""What intake tells a source: a reference as JSON, or a report for the clerk, Vietnamese first."""

from __future__ import annotations

import msgspec

from adapters.contract import Verdict
from edxml.errors import TrucError
from edxml.findings import Finding
from edxml.messages import Language, text
from gateway.exchange.submission import Answer, Outcome, PacketRefusal

__all__ = ["verdict_of"]


def verdict_of(outcome: Outcome) -> Verdict:
    """What the source is told: a reference as JSON, or a report for the clerk, Vietnamese first."""
    if isinstance(outcome, Answer):
        reference = msgspec.json.encode(
            {
                "packet_id": outcome.packet_id,
                "document_id": outcome.document_id,
                "is_repeat": outcome.is_repeat,
                "recipients": list(outcome.recipients),
                "findings": [finding.as_dict() for finding in outcome.findings],
            }
        )
        return Verdict(accepted=True, reference=reference.decode())
    return Verdict(accepted=False, report=_report(outcome))


def _report(why: TrucError) -> str:
    lines = [why.text(Language.VI), why.text(Language.EN)]
    if isinstance(why, PacketRefusal):
        for finding in why.findings:
            lines += ["", f"[{finding.code}] {_place(finding)}".rstrip()]
            lines += [_sentence(finding, Language.VI), _sentence(finding, Language.EN)]
    return "\n".join(lines) + "\n"


def _place(finding: Finding) -> str:
    line = finding.place.line
    told = "" if line is None else text("packet_told.line", Language.VI, {"line": line})
    return " ".join(part for part in (told, finding.place.path) if part)


def _sentence(finding: Finding, language: Language) -> str:
    """The finding's text, with our own names of fields as people call them."""
    name = str(finding.params.get("field", ""))
    label = text(f"packet_field.{name}", language, {})
    if not name or label == f"packet_field.{name}":
        return finding.text(language)
    return text(finding.code, language, {**finding.params, "field": f"“{label}”"})
