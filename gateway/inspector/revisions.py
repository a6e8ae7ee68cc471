"""What became of a file after it was signed: how much the signature covers, and what was added behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from os import SEEK_END
from typing import Any, Final

from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import DiffResult, ModificationLevel
from pyhanko.sign.fields import enumerate_sig_fields
from pyhanko.sign.validation.status import SignatureCoverageLevel

from gateway.model.inspection import Changes, SignatureCoverage

__all__ = ["Seen", "look_at_revisions", "removed_signature"]

_REVISIONS: Final = 20  # of a file, looked through for what is gone

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


_MOST: Final = 50  # signatures of one revision
_BLANK: Final = b"\0\t\n\f\r "
_TAIL: Final = 2048
_ENDS_RIGHT: Final = re.compile(rb"startxref\s+\d+\s+%%EOF[\0\s]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How the file stands to one of its signatures."""

    coverage: SignatureCoverage
    changes: Changes
    is_allowed: bool  #: every change is one that the signature, or the first of all, allows


def removed_signature(reader: PdfFileReader, there: Sequence[Any]) -> str | None:
    """The field of a signature that an earlier revision of the file bore and the file as it is does not; None: none.

    A revision that cannot be read bears nothing that anybody could show.
    """
    kept = {one.reference for one in there if getattr(one, "reference", None) is not None}
    for revision in range(min(reader.xrefs.total_revisions - 1, _REVISIONS)):
        try:
            before = list(
                islice(enumerate_sig_fields(reader.get_historical_resolver(revision), filled_status=True), _MOST)
            )
        except (PdfError, ValueError, TypeError, AttributeError, KeyError, IndexError):
            continue
        for name, value, _ in before:
            reference = getattr(value, "reference", None)
            if (reference is not None and reference not in kept) or (reference is None and not there):
                return str(name)
    return None


def look_at_revisions(found: Any) -> Seen:
    """The analysis of an EmbeddedPdfSignature in our words, after `compute_integrity_info`.

    What pyHanko cannot explain is no allowed change.
    """
    coverage = _COVERAGE.get(found.coverage, SignatureCoverage.PART)
    analysed = found.diff_result
    level = analysed.modification_level if isinstance(analysed, DiffResult) else ModificationLevel.OTHER
    is_allowed = bool(found.summarise_integrity_info()["docmdp_ok"])
    if coverage is not SignatureCoverage.WHOLE and _has_loose_end(found):
        return Seen(coverage=coverage, changes=Changes.OTHER, is_allowed=False)
    return Seen(coverage=coverage, changes=_CHANGES[level], is_allowed=is_allowed)


def _has_loose_end(found: Any) -> bool:
    """Whether bytes lie behind the signature that belong to no revision.

    pyHanko passes over them, as viewers should; but a viewer that mends broken files would show what stands there.
    """
    file, xrefs = found.reader.stream, found.reader.xrefs
    end = file.seek(0, SEEK_END)
    file.seek(max(0, end - _TAIL))
    if not _ENDS_RIGHT.search(file.read(_TAIL)):
        return True
    if found.signed_revision < xrefs.total_revisions - 1:
        return False  # what came later ends the file, and was compared
    file.seek(found.byte_range[2] + found.byte_range[3])
    return bool(file.read(_TAIL).strip(_BLANK)) or end - file.tell() > 0
