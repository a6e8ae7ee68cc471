"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.store import Store, open_store
from tests.support.both_databases import on_both
from tests.support.edge import RunningApi, running_api
from tests.support.nodes import Database, House, build_house
from tests.support.rabbitmq import broker, fragile, papers  # noqa: F401 - likewise
from tests.support.terminal import truc  # noqa: F401 - a fixture for every module here


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Rules of the protocol hold on both databases."""
    on_both(metafunc)


@pytest.fixture
def database() -> Database:
    """What the rows are kept in; modules of `tests.support.both_databases` run on both."""
    return Database.SQLITE


@pytest.fixture
def house(tmp_path: Path, database: Database) -> Iterator[House]:
    """A whole node in a temporary folder; its clock stands until the test turns it."""
    built = build_house(tmp_path, database=database)
    yield built
    built.close()


@pytest.fixture
def far_store(house: House) -> Iterator[Store]:
    """The house's store as another process has it, which goes by the database's clock."""
    store = open_store(house.root.parent / "data", node="thu", database=house.database, reserve=1)
    yield store
    store.close()


@pytest.fixture
def far(house: House, far_store: Store) -> House:
    """The same node as another process."""
    return replace(house, node=replace(house.node, store=far_store))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """A node's API in this process, on a port of its own, with the agencies and systems of tests.support.edge."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running
