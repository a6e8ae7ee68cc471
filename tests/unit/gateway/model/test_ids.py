"""Ids: UUIDv7 as text, in the order in which they were made."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

from gateway.model.instants import id_floor, new_id, wall_now


def test_an_id_is_a_uuid_of_version_seven() -> None:
    for made in (new_id() for _ in range(2_000)):
        read = uuid.UUID(made)
        assert str(read) == made
        assert (read.version, read.variant) == (7, uuid.RFC_4122)


def test_an_id_tells_when_it_was_made() -> None:
    before = wall_now()
    made = new_id()
    milliseconds = uuid.UUID(made).int >> 80
    assert before // 1000 <= milliseconds
    assert id_floor(before) <= made


def test_ids_sort_as_they_were_made_and_none_comes_twice() -> None:
    with ThreadPoolExecutor(4) as threads:
        each = list(threads.map(lambda _: [new_id() for _ in range(5_000)], range(4)))
    assert all(ids == sorted(ids) for ids in each)
    assert len({made for ids in each for made in ids}) == 20_000


def test_the_random_digits_are_all_there() -> None:
    """Every digit after the time takes every value that it may, and none repeats another one."""
    ids = [new_id() for _ in range(1_000)]
    digits = list(zip(*(made[19:].replace("-", "") for made in ids), strict=True))
    assert set(digits[0]) == set("89ab")
    assert all(len(set(column)) == 16 for column in digits[1:])
    assert len(set(digits)) == 16
