"""Wake-ups between processes of a node on SQLite: whoever waits looks soon after another one has committed."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from gateway.store import Store, open_store
from gateway.store.poll_line import PollLine
from gateway.transport.local import LocalTransport
from tests.support.patience import PATIENCE, until

_WRITE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("UPDATE node SET created_at = created_at + 1")
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(tmp_path, node="thu", reserve=1)) as opened:
        yield opened


@pytest.fixture
def transport(store: Store) -> Iterator[LocalTransport]:
    with closing(LocalTransport("thu", line=PollLine(store.engine))) as opened:
        yield opened


def write_elsewhere(store: Store) -> None:
    """What another process of the node does."""
    subprocess.run([sys.executable, "-c", _WRITE, str(store.engine.url.database)], check=True)


def test_a_commit_of_another_process_calls_everybody(store: Store, transport: LocalTransport) -> None:
    relay, inbox = queue.Queue[str](), queue.Queue[str]()
    transport.on_wake(["relay"], relay.put)
    transport.on_wake(["*"], inbox.put)
    until(lambda: write_elsewhere(store) or not relay.empty())  # type: ignore[func-returns-value]
    assert relay.get(timeout=PATIENCE) == "*"
    assert inbox.get(timeout=PATIENCE) == "*"


def test_it_hears_others_though_its_own_process_writes_and_wakes(store: Store, transport: LocalTransport) -> None:
    told = queue.Queue[str]()
    transport.on_wake(["inbox:a"], told.put)

    def both() -> bool:
        transport.wake("relay")
        write_elsewhere(store)
        return not told.empty()

    until(both)
    assert told.get(timeout=PATIENCE) == "*"


def test_nobody_is_called_where_nothing_is_written(store: Store, transport: LocalTransport) -> None:
    told = queue.Queue[str]()
    transport.on_wake(["*"], told.put)
    with pytest.raises(queue.Empty):
        told.get(timeout=1.0)


def test_a_database_that_cannot_be_read_ends_no_process(tmp_path: Path) -> None:
    """The line says so and looks again later."""
    path = tmp_path / "truc.db"
    path.write_bytes(b"no database at all " * 50)
    broken = LocalTransport("thu", line=PollLine(create_engine(f"sqlite:///{path}")))
    told = queue.Queue[str]()
    broken.on_wake(["relay"], told.put)
    broken.wake("relay")
    assert told.get(timeout=PATIENCE) == "relay"
    broken.close()
