"""Parcels: values come out as they went in, whatever they are made of, and are values of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edxml.packet import Packet
from gateway.exchange.parcels import Carrier, open_parcel
from gateway.exchange.submission import Submission
from gateway.identity import Caller
from tests.support.packets import make_packet, make_status
from tests.support.parcels import packed


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
    opened = open_parcel(packed(packets))
    assert opened == packets
    assert repr(opened) == repr(packets)
    assert opened[0] is not packets[0]


def test_what_is_shared_stays_shared() -> None:
    caller = Caller(system_id="he-thong", name="bench", agency_ids=frozenset({"a", "b"}), is_operator=False)
    group = [
        Submission(caller=caller, spooled=Path("/x") / str(i), digest="", size=3, received_at=i, body=b"abc")
        for i in range(3)
    ]
    opened: list[Submission] = open_parcel(packed(group))
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
    assert open_parcel(packed(value)) == value


def test_a_field_that_is_not_compared_comes_along_and_a_frozen_value_stays_frozen() -> None:
    opened = open_parcel(packed(Longest(hidden=["bốn"])))
    assert opened.hidden == ["bốn"]
    with pytest.raises(FrozenInstanceError):
        opened.later = 1


def test_what_a_value_has_beside_its_fields_comes_along() -> None:
    value = Open("x")
    value.__dict__["more"] = 1
    assert vars(open_parcel(packed(value))) == {"text": "x", "more": 1}


def test_what_is_no_parcel_is_refused() -> None:
    whole = packed([make_packet()])
    with pytest.raises(Exception, match=r"truncated|out of input"):
        open_parcel(whole[:-20])


@pytest.fixture(name="ends")
def _ends() -> Iterator[tuple[Carrier, Carrier, socket.socket]]:
    """Two carriers of one pair, and the socket of the first."""
    ours, theirs = socket.socketpair()
    with closing(Carrier(ours)) as one, closing(Carrier(theirs)) as other:
        yield one, other, ours


def test_parcels_go_both_ways_and_stay_what_they_were(ends: tuple[Carrier, Carrier, socket.socket]) -> None:
    """The larger ones are more than a socket holds; what was taken is not what the next one is read into."""
    one, other, _ = ends
    given = [b"a" * 600_000, "x", [b"b" * 300_000, None], b"c" * 600_000, "y"]
    with ThreadPoolExecutor(1) as aside:
        giving = aside.submit(lambda: [one.give(content) for content in given])
        taken = [other.take() for _ in given]
        giving.result()
    assert taken == given
    other.give(None)
    assert one.take() is None


def test_whoever_closes_ends_a_parcel_too(ends: tuple[Carrier, Carrier, socket.socket]) -> None:
    one, other, end = ends
    one.give("whole")
    end.sendall((1000).to_bytes(8, "big") + b"half of it")
    one.close()
    assert other.take() == "whole"
    for _ in range(2):
        with pytest.raises(EOFError):
            other.take()
    with pytest.raises(OSError, match="Broken pipe"):
        other.give("unheard")


def test_whoever_closes_with_something_unread_has_closed(ends: tuple[Carrier, Carrier, socket.socket]) -> None:
    """The kernel tells it as a reset: an API process that was killed before it read an answer."""
    one, other, _ = ends
    other.give("unread")
    one.close()
    with pytest.raises(EOFError):
        other.take()


def test_a_silent_side_is_waited_for_so_long(ends: tuple[Carrier, Carrier, socket.socket]) -> None:
    one, _, _ = ends
    one.limit(0.05)
    with pytest.raises(BlockingIOError):
        one.take()
    with pytest.raises(BlockingIOError):
        one.give(b"more than a socket holds" * 100_000)
