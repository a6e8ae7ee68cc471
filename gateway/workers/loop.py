"""A loop that does its work when woken, or when time says so, and survives what its work raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from gateway.model.errors import GatewayError
from gateway.transport.contract import Subscription, Transport
from monitoring import log

__all__ = ["Loop"]

_log = log.get("worker")
_LONGEST_PAUSE = 30.0


class Loop:
    """Runs `once` in a thread: again at once while it answers 0, else after the seconds that it answers, or a wake.

    An error of ours is logged by its code, any other with its place; either way the loop goes on after a pause that
    doubles up to half a minute.
    """

    def __init__(self, name: str, once: Callable[[], float], transport: Transport, topics: Sequence[str] = ()) -> None:
        self._name = name
        self._once = once
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
        failures = 0
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                pause = self._once()
                failures = 0
            except GatewayError as why:
                failures += 1
                pause = self._pause(failures)
                _log.warning("loop.failed", process=self._name, reason=why.reason)
            except Exception as why:  # noqa: BLE001 - a loop outlives its work; the log line names it
                failures += 1
                pause = self._pause(failures)
                _log.exception("loop.failed", process=self._name, reason=type(why).__name__)
            if pause > 0 and not self._stopping.is_set():  # `stop` may have come before its wake was cleared
                self._woken.wait(pause)

    @staticmethod
    def _pause(failures: int) -> float:
        return min(0.2 * float(2 ** min(failures, 10)), _LONGEST_PAUSE)
