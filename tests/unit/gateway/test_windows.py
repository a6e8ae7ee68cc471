"""Maintenance windows: once or every night, in Việt Nam's time."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway.model.instants import VIETNAM, as_instant
from gateway.model.windows import WindowMalformed, held_until, parse_window, parse_windows


def at(text: str) -> int:
    return as_instant(datetime.fromisoformat(text).replace(tzinfo=VIETNAM))


@pytest.mark.parametrize(
    ("windows", "now", "until"),
    [
        (("22:00-05:00",), "2026-11-27T21:59:59", None),
        (("22:00-05:00",), "2026-11-27T22:00:00", "2026-11-28T05:00:00"),
        (("22:00-05:00",), "2026-11-28T04:59:59", "2026-11-28T05:00:00"),
        (("22:00-05:00",), "2026-11-28T05:00:00", None),
        (("00:00-24:00",), "2026-11-28T12:00:00", "far"),
        (("T7,CN 00:00-24:00",), "2026-11-27T23:59:59", None),  # a Friday
        (("T7,CN 00:00-24:00",), "2026-11-28T00:00:00", "2026-11-30T00:00:00"),
        (("T6 22:00-05:00",), "2026-11-28T04:00:00", "2026-11-28T05:00:00"),
        (("T7 22:00-05:00",), "2026-11-28T04:00:00", None),
        (("2026-11-28T22:00/2026-11-29T05:00",), "2026-11-28T22:00:00", "2026-11-29T05:00:00"),
        (("2026-11-28T22:00/2026-11-29T05:00",), "2026-11-29T05:00:00", None),
        (("2026-11-28T15:00Z/2026-11-28T22:00Z",), "2026-11-28T22:00:00", "2026-11-29T05:00:00"),
        (("22:00-23:00", "23:00-01:00"), "2026-11-28T22:30:00", "2026-11-29T01:00:00"),
        ((), "2026-11-28T22:30:00", None),
    ],
)
def test_until_when_a_window_holds(windows: tuple[str, ...], now: str, until: str | None) -> None:
    found = held_until(parse_windows(windows), at(now))
    if until == "far":
        assert found is not None
        assert found > at(now)
    else:
        assert found == (None if until is None else at(until))


@pytest.mark.parametrize(
    "text",
    ["", "22-05", "22:00–05:00", "25:00-05:00", "22:00-24:01", "T8 22:00-05:00", "2026-11-28/2026-11-29",
     "2026-11-29T05:00/2026-11-28T22:00", "2026-11-28T22:00", "a/b", "T2, T3 01:00-02:00"],
)  # fmt: skip
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(WindowMalformed):
        parse_window(text)
