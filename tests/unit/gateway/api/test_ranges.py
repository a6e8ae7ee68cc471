"""Byte ranges as RFC 9110 §14 has them."""

from __future__ import annotations

import pytest

from gateway.api.problems import RangeNotSatisfiable
from gateway.api.ranges import ByteRange, pick_range

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1), ("bytes=0-9", 0, 10), ("bytes=4-", 4, 10), ("bytes=-3", 7, 10), ("bytes=-99", 0, 10),
        ("Bytes = 2 - 5", 2, 6), ("bytes=9-9", 9, 10), ("bytes=0-100", 0, 10),
    ],
)  # fmt: skip
def test_one_range(wanted: str, start: int, end: int) -> None:
    assert pick_range(wanted, "", ETAG, 10) == ByteRange(start, end, 10)


@pytest.mark.parametrize(
    "wanted", ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,2-3", "items=0-1", "bytes=x-1", "bytes=0-1;q=1"]
)
def test_everything_else_means_the_whole(wanted: str) -> None:
    assert pick_range(wanted, "", ETAG, 10) is None


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=999999999999999-"])
def test_outside(wanted: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        pick_range(wanted, "", ETAG, 10)
    assert refused.value.params == {"size": 10}


def test_an_empty_file_has_no_range() -> None:
    with pytest.raises(RangeNotSatisfiable):
        pick_range("bytes=0-", "", ETAG, 0)


def test_if_range_names_the_version() -> None:
    assert pick_range("bytes=1-2", ETAG, ETAG, 10) == ByteRange(1, 3, 10)
    assert pick_range("bytes=1-2", '"old"', ETAG, 10) is None
    assert pick_range("bytes=1-2", "Tue, 24 Nov 2026 08:00:00 GMT", ETAG, 10) is None
