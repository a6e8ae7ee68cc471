"""A process that archives a month or lets it go is killed at each step: nothing is gone that was not archived, and the
same call again ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edxml.crashpoints import ENVIRONMENT
from gateway.archive import verify
from gateway.model.errors import Conflict
from tests.support.archives import account_of, archive, let_go, month_of_house, pass_month
from tests.support.nodes import build_house

pytestmark = [pytest.mark.fault]

AT_ARCHIVE = ("archive.written", "archive.named", "archive.page_gone", "archive.rows_gone")
"""Points of `truc archive`, beside a node that runs."""

_CHILD = """
import sys
from pathlib import Path
from gateway.archive import drop_month, write_month
from gateway.store import open_store
from gateway.cli.archive import parse_month
from tests.support.stores import HandClock
data, month, now = Path(sys.argv[1]), parse_month(sys.argv[2]), int(sys.argv[3])
store = open_store(data, node="thu", clock=HandClock(now), reserve=1)
file = write_month(store, month, data.parent, node="thu", release="0", actor="test", tell=lambda step: None)
drop_month(store, month, file, actor="test")
"""


@pytest.mark.parametrize(
    "point", [pytest.param(one, marks=[pytest.mark.long] if one in AT_ARCHIVE[:2] else []) for one in AT_ARCHIVE]
)
def test_killed_there_nothing_is_lost_and_the_same_again_ends_it(tmp_path: Path, point: str) -> None:
    house = build_house(tmp_path)
    for number in range(3):
        house.send(["idem"], str(number))
    house.work()
    with house.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET owes = ''")
    pass_month(house)
    before, month = account_of(house), month_of_house(house)
    died = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path / "data"), month.name, str(house.now())],
        env={**os.environ, ENVIRONMENT: point}, cwd=Path(__file__).parents[2], capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert died.returncode == -9, died.stderr
    between = account_of(house)
    assert between.books == before.books
    assert between.closes, between.gaps
    is_here = house.rows("SELECT count(*) AS n FROM packets")[0]["n"] == 3
    assert is_here == (point in ("archive.written", "archive.named"))
    file = next(tmp_path.glob("truc-thu-*.zip"), tmp_path)
    if is_here:
        file = archive(house, tmp_path, month)
    else:
        with pytest.raises(Conflict) as told:
            archive(house, tmp_path, month)
        assert told.value.reason == "archive.gone", "the one that is there is the only copy"
    assert verify(file).rows["packets"] == 3
    let_go(house, file, month)
    assert account_of(house).books == before.books
    assert account_of(house).closes
    dropped = house.rows("SELECT dropped_at FROM periods")
    assert [row["dropped_at"] is not None for row in dropped] == [True]
    house.close()
