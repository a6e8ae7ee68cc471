"""`truc store move` is killed at every step, one after the other, and goes on each time where it was."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from gateway.account import close_books
from gateway.model.errors import StoreMoved, StoreUnfinished
from gateway.model.instants import wall_now
from gateway.store import open_store
from tests.support.nodes import build_house
from tests.support.postgres import cluster
from tests.support.processes import NodeProcesses

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

AT_MOVE = ("move.source_left", "move.target_claimed", "move.batch_copied", "move.copied", "move.finished")
"""Points of `truc store move`, which works alone."""


def rows_there(address: str) -> int:
    """How many rows the new database has so far, in whatever table."""
    with psycopg.connect(address) as connection:
        names = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        counts = [connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() for name in names]
    return sum(row[0] for row in counts if row is not None)


_ONE = ("move.batch_copied:3",)
_ALL = ("move.source_left", "move.target_claimed", "move.batch_copied", "move.batch_copied:3", "move.copied")


@pytest.mark.parametrize("points", [_ONE, pytest.param((*_ALL, "move.finished"), marks=pytest.mark.long)], ids=len)
def test_a_move_that_is_killed_again_and_again_ends_with_the_same_account(
    tmp_path: Path, points: tuple[str, ...]
) -> None:
    house = build_house(tmp_path)
    sent = house.send(["check", "blind", "inbox-a"])
    house.work()
    house.collect("inbox-a", house.delivery(sent, "inbox-a"))
    house.send(["inbox-b", "idem"], "2")
    before = close_books(house.node.store, 0, wall_now() + 1)
    house.close()
    data, address = tmp_path / "data", cluster().create()
    node = NodeProcesses(data, {"node": "thu", "disk_reserve_mib": "1", "database": address})

    there = []
    for point in points:
        died = node.run("store", "move", crash_at=point)
        assert died.returncode == -9, died.stderr
        there.append(rows_there(address))
        with pytest.raises(StoreMoved):
            open_store(data, node="thu", reserve=1)
        if point not in ("move.source_left", "move.finished"):
            with pytest.raises(StoreUnfinished):
                open_store(data, node="thu", database=address, reserve=1)
    assert there == sorted(there)
    assert len(set(there)) >= len(points) - 2, "each went on where the one before was killed"
    done = node.run("store", "move", "--json")
    assert (done.returncode, json.loads(done.stdout)["is_moved"]) == (0, True), done.stderr

    moved = open_store(data, node="thu", database=address, reserve=1)
    after = close_books(moved, 0, wall_now() + 1)
    moved.close()
    assert (after.books, after.packets, after.events) == (before.books, before.packets, before.events)
    assert after.closes
