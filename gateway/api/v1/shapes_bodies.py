"""The shapes of what a recipient says in JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from edxml.codes import StatusCode
from edxml.messages import Language
from gateway.api.faults import Choice, one_of
from gateway.api.free_text import FreeText, Reason, check_reason
from gateway.api.v1.shape import Shape

__all__ = ["ConfirmBody", "RefuseBody", "StatusBody"]


class ConfirmBody(Shape):
    """`arrived` false is a failure of transport, with its reason; a business refusal goes to `refuse`."""

    arrived: bool = True
    reason: Annotated[FreeText, Field(max_length=1_000)] = ""


class RefuseBody(Shape):
    """Why the agency does not take the document; its sender reads it in status 02."""

    reason: Annotated[Reason, Field(min_length=1, max_length=1_000)]


_REPORTED = ("01", "02", "03", "04", "05", "06", "16")
_CHOICES = [Choice(c, StatusCode(c).gloss(Language.VI), StatusCode(c).gloss(Language.EN)) for c in _REPORTED]
_MEANINGS = "; ".join(f"{choice.value}: {choice.vi} / {choice.en}" for choice in _CHOICES)


class StatusBody(Shape):
    """A business status (trạng thái xử lý) for software that has JSON only. A refusal, 02 or 16, says why."""

    code: Annotated[Literal["01", "02", "03", "04", "05", "06", "16"], one_of(_CHOICES), Field(description=_MEANINGS)]
    description: Annotated[FreeText, Field(max_length=1_000, validate_default=True)] = ""
    delivery_id: FreeText = ""
    document_id: Annotated[FreeText, Field(max_length=200)] = ""
    agency: Annotated[FreeText, Field(max_length=100)] = ""

    @field_validator("description")
    @classmethod
    def _has_reason(cls, description: str, info: ValidationInfo) -> str:
        is_refusal = info.data.get("code") in (StatusCode.REFUSED, StatusCode.CHANGE_REFUSED)
        return check_reason(description) if is_refusal else description
