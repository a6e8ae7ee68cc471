"""Beats: loops with the same pause look at the same times, so that a machine at rest is woken once for all of them."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import pytest

from gateway.model.errors import StoreBusy, StoreUnreachable
from gateway.workers.loop import Loop, pause_after, until_beat
from tests.service.transport_child import open_transport
from tests.support.patience import PATIENCE


@pytest.mark.parametrize("beat", [0.2, 2.0, 5.0, 30.0])
def test_whoever_looks_between_two_beats_is_on_them_two_looks_later(beat: float) -> None:
    for tenth in range(100):
        now = 7 * beat + tenth * beat / 100
        waits = []
        for _ in range(3):
            wait = until_beat(now, beat)
            waits.append(wait)
            now += wait + beat / 1_000  # no wait ends before its time
        assert all(beat / 2 <= wait <= beat for wait in waits), (tenth, waits)
        assert now % beat < beat / 400, tenth


def test_work_makes_nobody_late() -> None:
    now = 35.0
    for _ in range(1_000):
        now += 0.3  # its work
        now += until_beat(now, 5.0)
    assert now == pytest.approx(35.0 + 1_000 * 5.0)


class _Counted(threading.Event):
    """Waits for nothing, tells how long it was to, and ends the loop after so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.waited: list[float | None] = []
        self.loop: Loop | None = None
        self._times = times

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        assert self.loop is not None
        if len(self.waited) == self._times:
            self.loop.stop()
        return True


def test_a_loop_that_fails_waits_no_longer_than_it_may_and_says_so_now_and_then(
    tmp_path: Path, lines: io.StringIO
) -> None:
    gate, event = threading.Event(), _Counted(11)

    def once() -> float:
        gate.wait(PATIENCE)
        raise StoreUnreachable(why="x") if len(event.waited) == 5 else StoreBusy(why="x")

    transport = open_transport("local", str(tmp_path), "one")
    looping = Loop("nhịp", once, transport, longest_pause=1.0)
    looping._woken, event.loop = event, looping
    gate.set()
    looping._thread.join(PATIENCE)
    transport.close()
    assert event.waited == [0.4, 0.8, *[1.0] * 9]
    assert pause_after(8) == 30.0, "where nobody says otherwise"
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["reason"], line["count"]) for line in told if line["event"] == "loop.failed"] == [
        ("store.busy", 1), ("store.busy", 2), ("store.busy", 4), ("store.unreachable", 6), ("store.busy", 7),
        ("store.busy", 8),
    ]  # fmt: skip


class _Asked(threading.Event):
    """Tells how long it was waited for, and ends the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []
        self.loop: Loop | None = None

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        assert self.loop is not None
        self.loop.stop()
        return True


@pytest.mark.parametrize("answer", [3600.0, 1.0])
def test_only_the_pause_of_nothing_to_do_is_taken_to_a_beat(tmp_path: Path, answer: float) -> None:
    gate, event = threading.Event(), _Asked()

    def once() -> float:
        gate.wait(PATIENCE)
        return answer

    transport = open_transport("local", str(tmp_path), "one")
    looping = Loop("nhịp", once, transport, beat=3600.0)
    looping._woken, event.loop = event, looping
    gate.set()
    looping._thread.join(PATIENCE)
    assert not looping._thread.is_alive()
    (waited,) = event.waited
    assert waited is not None
    assert 1800.0 <= waited < 3600.0 if answer == 3600.0 else waited == 1.0
    transport.close()
