"""Upkeep: what is done by the hour goes beside what time moves, and asks the database for many things at once."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
from sqlalchemy import event

from gateway.workers import start_periodic, start_upkeep
from gateway.workers.periodic import ClockWatch
from gateway.workers.upkeep import upkeep_once
from tests.support.held import Held
from tests.support.nodes import Does, House, WorkerDied
from tests.support.patience import until

_MANY = 1_200


def test_blobs_that_nobody_needs_are_asked_for_many_at_once(house: House) -> None:
    house.send(["check"])
    blobs = house.node.store.blobs
    (needed,) = blobs.names()
    left = {f"{number:064x}" for number in range(_MANY)}
    for digest in left:
        blobs.path(digest).write_bytes(b"")
    for digest in (needed, *left):
        os.utime(blobs.path(digest), (0, 0))
    begun: list[object] = []
    count = begun.append
    event.listen(house.node.store.engine, "begin", count)
    upkeep_once(house.node, ClockWatch(house.node.now))
    event.remove(house.node.store.engine, "begin", count)
    assert list(blobs.names()) == [needed]
    assert {path.name for path in (blobs.root / "trash").iterdir()} == left
    assert len(begun) < 30


def test_claims_of_the_dead_come_back_while_upkeep_waits_for_somebody(house: House) -> None:
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    held = Held()
    house.recipient("check").during_tidy = held.wait
    with closing(start_upkeep(house.node)), closing(start_periodic(house.node, 0.05)):
        assert held.has_begun.wait()
        house.pass_time(2 * house.node.pace.lease)
        until(lambda: house.state(sent, "check") == "ready")
        held.may_end.set()
