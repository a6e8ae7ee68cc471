"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge import RunningApi, running_api
from tests.support.nodes import House, build_house
from tests.support.rabbitmq import broker  # noqa: F401 - likewise
from tests.support.terminal import truc  # noqa: F401 - a fixture for every module here


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A whole node in a temporary folder; its clock stands until the test turns it."""
    built = build_house(tmp_path)
    yield built
    built.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """A node's API in this process, on a port of its own, with the agencies and systems of tests.support.edge."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running
