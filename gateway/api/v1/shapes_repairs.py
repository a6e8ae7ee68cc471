"""The shape of what was put right in a system's packets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.api.v1.shape import Id, Shape, Time

__all__ = ["RepairsShape"]


class CountedRepairShape(Shape):
    """One deviation in the caller's packets; `packet_id` and `document_id` are the newest example."""

    name: str
    packets: int
    count: Annotated[int, Field(description="Places; a packet may have several")]
    first_at: Time
    last_at: Time
    packet_id: Id
    document_id: str
    is_tolerated: Annotated[bool, Field(description="False: such packets are refused")]
    tolerated_until: Annotated[str | None, Field(description="Last day; null: no end was set")]
    breaks: str
    vi: str
    en: str
    remedy_vi: str
    remedy_en: str


class RepairsShape(Shape):
    """What was put right in the packets of the caller's system, from `since` to `until`."""

    since: str
    until: str
    profile: str
    packets: int
    repaired: int
    items: list[CountedRepairShape]
