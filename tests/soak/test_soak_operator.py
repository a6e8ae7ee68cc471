"""The soak's operator: asks a blind recipient's ledger about what holds an update up, and says what it answers."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.model.instants import MINUTE
from tests.soak.operator import Operator
from tests.support.late import let_all_be_over
from tests.support.nodes import Database, Does, House, build_house
from tests.support.patience import until
from tests.support.recipient import Arrival

_REPOSITORY = Path(__file__).parents[2]


def _line(key: str) -> str:
    return json.dumps(asdict(Arrival(number=1, key=key, digest="", size=1, is_copy=True))) + "\n"


def _province(house: House, data: Path, ledger: Path) -> Any:
    """As much of a province as an operator looks at: whose house it is, and where the recipient keeps its ledger."""
    settings = {"data": str(data / "data"), "node": "thu", "database": house.database}
    return SimpleNamespace(
        ground=SimpleNamespace(database=house.database), servers={"blind": SimpleNamespace(folder=ledger)},
        program=_REPOSITORY, settings=lambda _role: settings,
    )  # fmt: skip


@pytest.mark.parametrize(("has_it", "said", "seen"), [(True, "arrived", 0), (False, "release", 1)])
def test_what_holds_an_update_up_is_asked_about_and_decided(tmp_path: Path, has_it: bool, said: str, seen: int) -> None:
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    sent = house.send(["blind"])
    house.recipient("blind").next(Does.LOSE)
    house.work()
    update = house.update(["blind"])
    left_alone = house.send(["blind"], "2")
    house.recipient("blind").next(Does.LOSE)
    house.work()
    house.pass_time(MINUTE)
    let_all_be_over(house)
    folder = tmp_path / "so"
    folder.mkdir()
    if has_it:
        (folder / "ledger.jsonl").write_text(_line(house.row(sent, "blind")["transfer_id"]), "utf-8")
    operator = Operator(_province(house, tmp_path, folder), done := threading.Event(), asks_after=0.0)
    operator.start()
    until(lambda: operator.said or operator.failure, lambda: house.state(sent, "blind"))
    done.set()
    operator.join()
    assert operator.failure is None
    assert dict(operator.said) == {f"{said} parked_told.done": 1}
    house.run()
    assert (house.state(sent, "blind"), house.state(update, "blind")) == ("delivered", "delivered")
    assert house.recipient("blind").seen(sent.packet_id) == seen
    assert house.state(left_alone, "blind") == "parked", "it holds nothing up: that is left for the judge"
    house.close()
