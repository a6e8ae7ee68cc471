"""Parcels: values come out as they went in, whatever they are made of, and are values of their own."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edxml.packet import Packet
from gateway.exchange.parcels import open_parcel, pack_parcel
from gateway.exchange.submission import Submission
from gateway.identity import Caller
from tests.support.packets import make_packet, make_status


@dataclass(frozen=True, slots=True)
class One:
    only: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Longer:
    later: int = 5
    hidden: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Longest(Longer):
    own: One | None = None


@dataclass
class Open:
    """One that has more than its fields."""

    text: str


def test_packets_come_out_as_they_went_in() -> None:
    packets = [make_packet(), make_status()]
    opened = open_parcel(pack_parcel(packets))
    assert opened == packets
    assert repr(opened) == repr(packets)
    assert opened[0] is not packets[0]


def test_what_is_shared_stays_shared() -> None:
    caller = Caller(system_id="he-thong", name="bench", agency_ids=frozenset({"a", "b"}), is_operator=False)
    group = [
        Submission(caller=caller, spooled=Path("/x") / str(i), digest="", size=3, received_at=i, body=b"abc")
        for i in range(3)
    ]
    opened: list[Submission] = open_parcel(pack_parcel(group))
    assert opened == group
    assert opened[0].caller is opened[2].caller


@pytest.mark.parametrize(
    "value",
    [
        One("một"),
        Longer(later=7),
        Longest(later=8, own=One("hai")),
        (None, True, 1.5, "x" * 70_000, datetime(2026, 11, 27, tzinfo=UTC), {"a": frozenset({One("ba")})}),
        Packet,
    ],
)
def test_values_of_every_kind(value: Any) -> None:
    assert open_parcel(pack_parcel(value)) == value


def test_a_field_that_is_not_compared_comes_along_and_a_frozen_value_stays_frozen() -> None:
    opened = open_parcel(pack_parcel(Longest(hidden=["bốn"])))
    assert opened.hidden == ["bốn"]
    with pytest.raises(FrozenInstanceError):
        opened.later = 1


def test_what_a_value_has_beside_its_fields_comes_along() -> None:
    value = Open("x")
    value.__dict__["more"] = 1
    assert vars(open_parcel(pack_parcel(value))) == {"text": "x", "more": 1}


def test_what_is_no_parcel_is_refused() -> None:
    whole = pack_parcel([make_packet()])
    with pytest.raises(Exception, match=r"truncated|out of input"):
        open_parcel(whole[:-20])
