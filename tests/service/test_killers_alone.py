"""What ends its worker, or meets a defect of ours, harms nobody who shared its group (protocol, rule 8)."""

from __future__ import annotations

import queue
from contextlib import closing
from pathlib import Path

import pytest

from gateway.exchange.deliver import deliver
from gateway.model.instants import MINUTE
from gateway.transport.contract import Ticket
from gateway.workers.relay import relay_once
from tests.support.nodes import Does, House, WorkerDied, build_house
from tests.support.patience import PATIENCE


class Unforeseen(Exception):
    """A defect."""


def _meet_a_defect(_item: object) -> None:
    raise Unforeseen


def _let_time_pass(house: House) -> None:
    house.pass_time(2 * MINUTE)
    house.sweep()


def test_rule_8_a_defect_while_one_is_staged_is_not_its_neighbours(house: House) -> None:
    bad, good = house.send(["check"], "1"), house.send(["idem", "blind"], "2")
    house.recipient("check").during_stage = _meet_a_defect
    for _ in range(3):
        with pytest.raises(Unforeseen):
            deliver(house.node, house.ready())
        assert house.states(good) == {"idem": "delivered", "blind": "delivered"}
        _let_time_pass(house)
    assert (house.state(bad, "check"), house.reason(bad, "check")) == ("parked", "workers_died")
    house.assert_books_close()


def test_rule_8_a_defect_while_one_is_looked_for_is_not_its_neighbours(house: House) -> None:
    bad = house.send(["check"], "1")
    house.recipient("check").next(Does.LOSE)
    house.work()
    good = house.send(["idem"], "2")
    house.recipient("check").after_no = lambda: _meet_a_defect(None)
    with pytest.raises(Unforeseen):
        deliver(house.node, house.ready())
    assert (house.state(bad, "check"), house.state(good, "idem")) == ("claimed", "delivered")


def test_rule_8_what_a_worker_died_with_goes_alone(tmp_path: Path) -> None:
    """Else all of a group are parked with the one that kills."""
    with closing(build_house(tmp_path)) as house:
        house.send(["check"], "1")
        house.send(["idem"], "2")
        house.recipient("check").next(Does.DIE_BEFORE)
        with pytest.raises(WorkerDied):
            deliver(house.node, house.ready())
        _let_time_pass(house)
        house.send(["blind"], "3")
        announced: dict[str, queue.SimpleQueue[tuple[Ticket, ...]]] = {}
        for name in ("deliver.slow", "deliver.normal"):
            announced[name] = queue.SimpleQueue()
            house.node.transport.listen(name, 2, announced[name].put, group=1)
        assert relay_once(house.node) == 3
        channels = {row["id"]: row["channel_id"] for row in house.rows("SELECT id, channel_id FROM transfers")}
        slow = [channels[one.transfer_id] for _ in range(2) for one in announced["deliver.slow"].get(timeout=PATIENCE)]
        assert sorted(slow) == ["check", "idem"]
