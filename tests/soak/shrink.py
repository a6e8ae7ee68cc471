"""Cutting a failing schedule down (delta debugging): the smallest part of it that still fails, in bounded runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(faults: Sequence[T], fails: Callable[[tuple[T, ...]], bool], *, runs: int) -> tuple[T, ...]:
    """A part of `faults`, in their order, for which `fails` said yes; of one none of whose faults can be left out,
    where `runs` questions were enough.

    `faults` themselves are taken to fail and are not asked about.  The same question is asked once.
    Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002.
    """
    left = tuple(faults)
    asked: dict[tuple[int, ...], bool] = {}
    places = tuple(range(len(left)))
    pieces = 2

    def ask(chosen: tuple[int, ...]) -> bool:
        nonlocal runs
        if chosen in asked:
            return asked[chosen]
        if runs <= 0:
            return False
        runs -= 1
        asked[chosen] = fails(tuple(left[place] for place in chosen))
        return asked[chosen]

    while len(places) >= 2 and runs > 0:
        chunks = _chunks(places, pieces)
        rests = [tuple(place for place in places if place not in chunk) for chunk in chunks]
        smaller = next((one for one in [*chunks, *rests] if one and len(one) < len(places) and ask(one)), None)
        if smaller is not None:
            pieces = 2 if smaller in chunks else max(pieces - 1, 2)
            places = smaller
        elif pieces >= len(places):
            break
        else:
            pieces = min(pieces * 2, len(places))
    return tuple(left[place] for place in places)


def _chunks(places: tuple[int, ...], pieces: int) -> list[tuple[int, ...]]:
    size, more = divmod(len(places), pieces)
    ends = [0]
    for number in range(pieces):
        ends.append(ends[-1] + size + (number < more))
    return [places[start:end] for start, end in pairwise(ends) if end > start]
