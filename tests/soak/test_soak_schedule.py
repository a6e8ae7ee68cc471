"""Schedules: repeatable, complete, without two faults on one thing; kept as files; cut down to what matters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak.recipients import LATE
from tests.soak.schedule import TARGETS, Fault, draw, read_schedule, table, write_schedule
from tests.soak.shrink import shrink


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None)
def test_half_an_hour_holds_every_fault_of_every_target_five_times_and_never_two_at_once(seed: int) -> None:
    faults = draw(seed, 30)
    assert {kind: dict(hits) for kind, hits in table(faults).items()} == {
        kind: dict.fromkeys(targets, 5) for kind, targets in TARGETS.items()
    }
    free: dict[str, float] = {}
    for fault in faults:
        assert all(fault.at >= free.get(lane, 0.0) for lane in fault.lanes)
        free |= dict.fromkeys(fault.lanes, fault.free_at)
    assert faults[-1].at < 45 * 60
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None)
def test_while_something_lands_late_neither_the_databases_clock_nor_the_network_changes(seed: int) -> None:
    faults = draw(seed, 30)
    for late in (fault for fault in faults if fault.kind == "late"):
        beside = [one for one in faults if one is not late and late.at <= one.at < late.free_at]
        assert not [one for one in beside if one.kind.startswith("clock") and one.target == "postgres"]
        assert not [one for one in beside if one.target in ("rest", "deliver>rest")]
        assert late.free_at - late.at > late.seconds + LATE


def test_a_seed_gives_the_same_schedule_again() -> None:
    assert draw(3, 10) == draw(3, 10)
    assert draw(3, 10) != draw(4, 10)


def test_a_schedule_is_read_as_it_was_written(tmp_path: Path) -> None:
    faults = draw(5, 2)
    write_schedule(tmp_path / "s.json", faults, seed=5, rate=3.0)
    assert read_schedule(tmp_path / "s.json") == (faults, {"seed": 5, "rate": 3.0})


def test_a_fault_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="wipe"):
        Fault(at=0, kind="wipe", target="postgres", seconds=1)
    with pytest.raises(ValueError, match="flood"):
        Fault(at=0, kind="flood", target="api", seconds=1)


@given(st.data())
@settings(deadline=None)
def test_what_is_left_fails_and_can_do_without_none(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    needed = data.draw(st.frozensets(st.integers(0, count - 1), min_size=1, max_size=4))
    asked = []

    def fails(part: tuple[int, ...]) -> bool:
        asked.append(part)
        return needed <= set(part)

    assert shrink(range(count), fails, runs=10_000) == tuple(sorted(needed))
    assert len(set(asked)) == len(asked)


def test_with_few_runs_what_is_left_still_fails() -> None:
    left = shrink(range(100), lambda part: 63 in part, runs=3)
    assert 63 in left
    assert len(left) < 100
    assert shrink(range(100), lambda _: False, runs=50) == tuple(range(100))
