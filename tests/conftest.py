"""What holds for all tests."""

from __future__ import annotations

import io
import sqlite3
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import event
from sqlalchemy.pool import Pool

from monitoring.log import configure
from tests.support.leaving import leave

# What an example or its drawing takes is the machine's affair: on a busy one hypothesis calls any of them too slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@event.listens_for(Pool, "connect")
def _close_with_its_pool(connection: Any, record: object) -> None:
    """A store that a test opens ends with the test: connections of SQLite that lie in its pool are closed then. (Python
    warns from 3.13 on of those that are merely forgotten, in whichever test comes next.)"""
    if isinstance(connection, sqlite3.Connection):
        weakref.finalize(record, connection.close)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What this process's log says."""
    said = io.StringIO()
    configure("json", stream=said)
    yield said
    configure("human", "warning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long runs are for `make kills` and its like (`-m long`): elsewhere they are deselected and counted so."""
    if "long" in str(config.option.markexpr):
        return
    long = [item for item in items if item.get_closest_marker("long") is not None]
    if long:
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


def pytest_unconfigure() -> None:
    """Servers and folders of this process go with it."""
    leave()
