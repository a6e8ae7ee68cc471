"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nodes import House, build_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A whole node in a temporary folder; its clock stands until the test turns it."""
    built = build_house(tmp_path)
    yield built
    built.close()
