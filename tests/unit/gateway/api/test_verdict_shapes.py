"""The words of verdicts in the API's shapes are those of the lists that they come from, no more and no fewer."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

import pytest

from edxml.sign.verdicts import Verdict
from gateway.api.v1.shapes_verdicts import EvidenceShape, VerdictShape
from gateway.model.inspection import CertificateState, Changes, PdfVerdict, SignatureCoverage, StampState


def words_of(annotation: Any) -> set[str]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {word for inner in get_args(annotation) for word in words_of(inner)}


@pytest.mark.parametrize(
    ("field", "known"),
    [("state", CertificateState), ("stamp", StampState), ("coverage", SignatureCoverage), ("changes", Changes)],
)
def test_evidence_has_the_words_of_the_inspector(field: str, known: type[StrEnum]) -> None:
    assert words_of(EvidenceShape.model_fields[field].annotation) == set(map(str, known))


def test_every_verdict_has_one_of_the_standings() -> None:
    shown = words_of(VerdictShape.model_fields["standing"].annotation)
    assert {one.standing for one in (*Verdict, *PdfVerdict)} == shown
    assert {str(one) for one in Verdict if one.standing == "bad"} == {str(one) for one in Verdict if one.is_bad}
    assert Verdict.ABSENT.standing == PdfVerdict.UNSIGNED.standing == "absent"
