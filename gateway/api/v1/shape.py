"""What every shape is made of: its rule, and the kinds of text that stand in many of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Id", "Organ", "Shape", "Time"]

Id = Annotated[str, Field(description="UUIDv7", examples=["0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f"])]
Time = Annotated[str, Field(description="ISO 8601, +07:00, milliseconds", examples=["2025-10-06T08:15:30.123+07:00"])]
Organ = Annotated[str, Field(description="mã định danh cơ quan", examples=["H99.01"])]


class Shape(BaseModel):
    """What every shape keeps to: no word that is not documented."""

    model_config = ConfigDict(extra="forbid", frozen=True)
