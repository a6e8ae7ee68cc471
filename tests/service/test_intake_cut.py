"""The connection to PostgreSQL breaks as intake notes that it begins: that is nobody's death (rule 8)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.store import open_store
from gateway.workers.intake_round import Rounds, intake_once
from tests.support.cut_commits import Cut, CutCommits
from tests.support.nodes import Database, build_house


@pytest.mark.parametrize("cut", Cut)
def test_rule_8_a_beginning_of_which_nobody_was_told_counts_as_nobodys_death(tmp_path: Path, cut: Cut) -> None:
    with closing(build_house(tmp_path, database=Database.POSTGRESQL, folders=True)) as house:
        house.node.channels.sink("folder").probe()
        (house.root / "di" / "van-ban.edxml").write_bytes(house.packet(["check"], sender="folder-a"))
        with CutCommits(house.database) as cable:
            store = open_store(tmp_path / "data", node="thu", database=cable.url, clock=house.clock, reserve=1)
            far, rounds = replace(house.node, store=store), Rounds()
            for look in range(4):
                cable.cut(cut, 2 if look else 1)  # what is owed is written down first
                assert intake_once(far, rounds) == 0
                assert cable.cuts == look + 1
            assert intake_once(far, rounds) == 1
            store.close()
        assert [row["state"] for row in house.rows("SELECT state FROM deliveries")] == ["ready"]
        assert house.rows("SELECT * FROM intake_faults") == []
