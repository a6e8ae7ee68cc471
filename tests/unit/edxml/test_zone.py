"""Moments are told in Việt Nam's time, and days as the reader's language writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from edxml.messages import Evidence, Language, text
from edxml.zone import iso_in_vietnam

EVENING = datetime(2018, 9, 27, 18, 5, 6, tzinfo=UTC)
CODE = "packet_told.stamped"


@pytest.mark.parametrize(
    ("given", "vi", "en"),
    [
        (date(2018, 9, 28), "28/09/2018", "2018-09-28"),
        (EVENING, "28/09/2018 01:05:06", "2018-09-28 01:05:06+07:00"),
        (Evidence("CN=A: 2018-09-28"), "CN=A: 28/09/2018", "CN=A: 2018-09-28"),
        (datetime.max.replace(tzinfo=UTC), "31/12/9999 23:59:59", "9999-12-31 23:59:59+00:00"),
    ],
)
def test_a_day_and_a_moment_are_told_as_the_language_writes_them(given: object, vi: str, en: str) -> None:
    params = {"file": "a", "out": "b", "moment": given}
    assert f" {vi}," in text(CODE, Language.VI, params)
    assert f" {en}" in text(CODE, Language.EN, params)


def test_json_and_files_tell_moments_in_vietnams_zone() -> None:
    assert iso_in_vietnam(EVENING) == "2018-09-28T01:05:06+07:00"
