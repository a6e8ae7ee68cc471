"""The shape of what is wrong with one field of a request."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.api.v1.shape import Shape

__all__ = ["AllowedShape", "ErrorShape"]


class AllowedShape(Shape):
    """One value that may stand there; its meaning is empty where the value says it itself."""

    value: str
    vi: str
    en: str


class ErrorShape(Shape):
    """One field that is wrong: which it is, what stood there, what may stand there."""

    code: Annotated[str, Field(examples=["field.not_allowed"])]
    part: Annotated[Literal["body", "query", "path"], Field(alias="in")]
    pointer: Annotated[str, Field(description="JSON pointer within that part; empty: all of it", examples=["/code"])]
    value: Annotated[str | None, Field(description="What stood there, shortened; null: nothing", examples=["3"])]
    allowed: Annotated[list[AllowedShape], Field(description="Empty where it is no closed list")]
    vi: str
    en: str
