"""What one reading made is let go with it: nothing holds itself, so no packet waits for the collector of garbage."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator

import pytest

from edxml import read
from edxml._notes import Notes
from edxml._shapes import SHAPES, look_at
from edxml.limits import DEFAULT_LIMITS
from tests.support.packets import build_packet


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_known", [False, True])
def test_a_reading_leaves_nothing_behind(is_known: bool) -> None:
    """Of a packet that goes through lxml, and of one whose tags were met before."""
    data = build_packet()
    if not is_known:  # an entity is no plain text
        data = data.replace(b"UBND-VX", b"UBND&#45;VX")
    for _ in range(3):
        read(io.BytesIO(data), check_schema=True)
    sighting = look_at(data)
    assert (sighting is not None and SHAPES.recognise(sighting, DEFAULT_LIMITS) is not None) is is_known
    assert read(io.BytesIO(data), check_schema=True).is_complete
    assert [one for one in gc.get_objects() if isinstance(one, Notes)] == []
