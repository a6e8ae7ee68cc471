"""What one reading made is let go with it: nothing holds itself, so no packet waits for the collector of garbage."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator

import pytest

from edxml import read
from edxml._notes import Notes
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
def test_a_reading_leaves_nothing_behind() -> None:
    assert read(io.BytesIO(build_packet()), check_schema=True).is_complete
    assert [one for one in gc.get_objects() if isinstance(one, Notes)] == []
