"""A loop that does its work when woken, or when time says so, and survives what its work raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from gateway.model.errors import GatewayError
from gateway.transport.contract import Subscription, Transport
from monitoring import log

__all__ = ["Loop", "pause_after", "until_beat"]

_log = log.get("worker")
_LONGEST_PAUSE = 30.0
_APART: Final = 0.005
_PLACES: Final = 16
"""Loops on one beat begin so many seconds one after the other: all at once, they would wait for each other."""
_numbers = count()


def until_beat(now: float, beat: float) -> float:
    """Seconds from `now` to the next beat: a time of the monotonic clock that is a multiple of `beat`.

    Never longer than `beat`, never less than half of it: whoever looks between two beats is on them two looks later.
    """
    late = now % beat
    return beat - late if late <= beat / 2 else beat / 2


def pause_after(failures: int, longest: float = _LONGEST_PAUSE) -> float:
    """Seconds to wait after so many failures in a row: twice as long after each, up to `longest`."""
    return min(0.2 * float(2 ** min(failures, 10)), longest)


class Loop:
    """Runs `once` in a thread: again at once while it answers 0, else after the seconds that it answers, or a wake.

    Where it answers `beat`, its pause while there is nothing to do, it waits for the next beat instead, which all loops
    with the same pause share: a machine at rest is woken once for all of them, and what one has brought into the
    processor's caches serves the next.

    An error of ours is logged by its code, any other with its place; either way the loop goes on after a pause that
    doubles up to half a minute, or to `longest_pause`.  Of many for one reason in a row the first is logged, the
    second, the fourth, and so on, each with how many failed.
    """

    def __init__(
        self,
        name: str,
        once: Callable[[], float],
        transport: Transport,
        topics: Sequence[str] = (),
        *,
        beat: float = 0.0,
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        """`topics`: whose wakes it hears. `beat`: seconds; 0: whatever `once` answers is waited for as it is."""
        self._name = name
        self._once = once
        self._beat = beat
        self._longest_pause = longest_pause
        self._place = next(_numbers) % _PLACES * _APART
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._stopped_at = 0.0
        self._waking: Subscription | None = (
            transport.on_wake(topics, lambda _topic: self._woken.set()) if topics else None
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, without waiting for what is being done: so that many end beside each other."""
        if not self._stopping.is_set():
            self._stopped_at = time.monotonic()
            self._stopping.set()
            self._woken.set()

    def close(self, timeout: float = 10.0) -> None:
        """Finish what is being done, then stop. Safe to repeat.

        What is not done `timeout` seconds after `stop`, or this, was called first is left to end with the process.
        """
        self.stop()
        if self._waking is not None:
            self._waking.close()
        self._thread.join(max(0.0, self._stopped_at + timeout - time.monotonic()))

    def _run(self) -> None:
        failures, told = 0, ""
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                pause = self._once()
                failures, told = 0, ""
            except Exception as why:  # noqa: BLE001 - a loop outlives its work; the log line names it
                failures += 1
                pause = pause_after(failures, self._longest_pause)
                reason = why.reason if isinstance(why, GatewayError) else type(why).__name__
                if reason != told or failures.bit_count() == 1:
                    say = _log.warning if isinstance(why, GatewayError) else _log.exception
                    say("loop.failed", process=self._name, reason=reason, count=failures)
                told = reason
            if pause == self._beat > 0:
                pause = until_beat(time.monotonic() - self._place, pause)
            if pause > 0 and not self._stopping.is_set():  # `stop` may have come before its wake was cleared
                self._woken.wait(pause)
