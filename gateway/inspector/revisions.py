"""What became of a file after it was signed: how much the signature covers, and what was added behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pyhanko.sign.diff_analysis import DiffResult, ModificationLevel
from pyhanko.sign.validation.status import SignatureCoverageLevel

from gateway.model.inspection import Changes, SignatureCoverage

__all__ = ["Seen", "look_at_revisions"]

_CHANGES: Final = {
    ModificationLevel.NONE: Changes.NONE,
    ModificationLevel.LTA_UPDATES: Changes.EVIDENCE,
    ModificationLevel.FORM_FILLING: Changes.FORMS,
    ModificationLevel.ANNOTATIONS: Changes.NOTES,
    ModificationLevel.OTHER: Changes.OTHER,
}
_COVERAGE: Final = {
    SignatureCoverageLevel.ENTIRE_FILE: SignatureCoverage.WHOLE,
    SignatureCoverageLevel.ENTIRE_REVISION: SignatureCoverage.REVISION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How the file stands to one of its signatures."""

    coverage: SignatureCoverage
    changes: Changes
    is_allowed: bool  #: every change is one that the signature, or the first of all, allows


def look_at_revisions(found: Any) -> Seen:
    """The analysis of an EmbeddedPdfSignature in our words, after `compute_integrity_info`.

    What pyHanko cannot explain is no allowed change.
    """
    coverage = _COVERAGE.get(found.coverage, SignatureCoverage.PART)
    analysed = found.diff_result
    level = analysed.modification_level if isinstance(analysed, DiffResult) else ModificationLevel.OTHER
    allowed = found.summarise_integrity_info()["docmdp_ok"]
    is_allowed = bool(allowed) and coverage is not SignatureCoverage.PART
    return Seen(coverage=coverage, changes=_CHANGES[level], is_allowed=is_allowed)
