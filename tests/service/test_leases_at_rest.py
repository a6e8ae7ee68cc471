"""Leases of a node at rest: what a process holds it does without taking it anew, and what is not due writes nothing."""

from __future__ import annotations

import pytest

from gateway.model.instants import HOUR, SECOND
from gateway.store.jobs import JobRow, Standing, list_jobs, standing
from gateway.workers.leases import Job, may_do, standings
from gateway.workers.periodic import ClockWatch, periodic_once
from gateway.workers.upkeep import upkeep_once
from tests.support.nodes import Does, House, WorkerDied

_NOW = 1_000 * HOUR


def _row(holder: str = "one", left: float = 0.0, done: float = 0.0) -> JobRow:
    """`left`: seconds of its lease; `done`: seconds ago, 0: never."""
    done_at = _NOW - int(done * SECOND) if done else 0
    return JobRow(name="việc", holder=holder, lease_until=_NOW + int(left * SECOND), done_at=done_at)


@pytest.mark.parametrize(
    ("row", "every", "expected"),
    [
        (None, 0, Standing.FREE),
        (_row(left=9), 0, Standing.OURS),
        (_row(left=7.6), 0, Standing.OURS),
        (_row(left=7.5), 0, Standing.FREE),
        (_row(left=-1), 0, Standing.FREE),
        (_row(left=3_600), 0, Standing.FREE),  # of a clock that was ahead
        (_row("two", left=1), 0, Standing.SHUT),
        (_row("two", left=0), 0, Standing.FREE),
        (_row("two", left=3_600), 0, Standing.FREE),
        (_row(left=9, done=59), 60, Standing.SHUT),
        (_row(left=9, done=60), 60, Standing.FREE),
        (_row("two", left=9, done=60), 60, Standing.SHUT),
        (_row(left=9, done=-3_600), 60, Standing.FREE),  # done in the future
        (_row("two", left=9), 60, Standing.SHUT),
        (_row("", left=0), 60, Standing.FREE),
    ],
)
def test_how_a_job_stands(row: JobRow | None, every: float, expected: Standing) -> None:
    assert standing(row, "one", now=_NOW, seconds=15, every=every) is expected


def test_what_is_shut_would_not_be_taken(house: House) -> None:
    """The look and the taking agree, whoever holds it and wherever the clock stands."""
    node, start, seen = house.node, house.now(), set()
    for every in (0.0, 45.0):
        for ahead in range(-40, 90, 7):
            job = Job(name=f"việc {every} {ahead}", lease=30, every=every)
            assert may_do(node, job.name, job.lease, every=job.every)
            with node.store.write() as connection:
                connection.exec_driver_sql("UPDATE jobs SET holder = 'another'")
            house.clock.jump(ahead * SECOND)
            (stands,) = standings(node, [job])
            seen.add(stands)
            assert (stands is Standing.FREE) == may_do(node, job.name, job.lease, every=job.every), job.name
            house.clock.jump(start - house.now())
    assert seen == {Standing.FREE, Standing.SHUT}


def _leases(house: House) -> dict[str, int]:
    with house.node.store.read() as connection:
        return {row.name: row.lease_until for row in list_jobs(connection)}


def test_a_round_takes_anew_only_what_it_does_not_hold_for_long(house: House) -> None:
    periodic_once(house.node, ClockWatch(house.node.now), 5.0)
    upkeep_once(house.node, ClockWatch(house.node.now))
    first = _leases(house)
    assert {"sweep", "configuration", "drain", "tidy", "blobs", "months"} <= first.keys()
    house.pass_time(5 * SECOND)
    periodic_once(house.node, ClockWatch(house.node.now), 5.0)
    assert _leases(house) == first
    house.pass_time(5 * SECOND)
    periodic_once(house.node, ClockWatch(house.node.now), 5.0)
    upkeep_once(house.node, ClockWatch(house.node.now))
    second = _leases(house)
    assert {name for name in first if second[name] != first[name]} == {"sweep", "configuration", "drain"}


def test_a_round_that_renews_nothing_does_what_is_due_all_the_same(house: House) -> None:
    """A claim whose worker died comes back in it."""
    pause = 2 * house.node.pace.lease / 1e6
    sent = house.send(["check"])
    house.recipient("check").next(Does.DIE_BEFORE)
    with pytest.raises(WorkerDied):
        house.work()
    periodic_once(house.node, ClockWatch(house.node.now), pause)
    assert house.state(sent, "check") == "claimed"
    held = _leases(house)["sweep"]
    house.pass_time(int(pause * SECOND))
    periodic_once(house.node, ClockWatch(house.node.now), pause)
    assert _leases(house)["sweep"] == held
    assert house.state(sent, "check") == "ready"
