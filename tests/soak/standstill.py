"""Seconds in which the machine ran: on a shared one, minutes may pass in which no process and no disk does anything.

    with MachineClock(folder) as clock:
        clock.seconds        goes on while a small file can be brought to the disk, several times a second
        clock.stands         when it did not, and for how long

Who is given 45 seconds to end in is given 45 of these: a process that had none of them has not been slow.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Final, Self

__all__ = ["MachineClock"]

_EVERY: Final = 0.25
_MOST: Final = 1.0
"""Seconds that one look counts, however long it took: a busy machine looks in time, one that stands does not."""
_STANDS: Final = 3.0
"""Seconds between two looks from which on it is said that the machine stood."""


class MachineClock:
    """Looks again and again, in a thread of its own, until its block ends. `folder`: on the disk that is looked at."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        self.stands: list[tuple[float, float]] = []
        """When (wall clock, seconds) and for how many seconds."""
        self._file = folder / "ticks"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-clock", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def wait(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Whether it ended within so many seconds of this clock."""
        end = self.seconds + seconds
        while process.poll() is None:
            if self.seconds > end:
                return False
            time.sleep(_EVERY / 5)
        return True

    def line(self) -> str:
        """For the report."""
        if not self.stands:
            return "the machine never stood"
        longest = max(seconds for _, seconds in self.stands)
        whole = sum(seconds for _, seconds in self.stands)
        return f"the machine stood {len(self.stands)} times, {whole:.0f} s in all, {longest:.0f} s at the longest"

    def _run(self) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            last = time.monotonic()
            while not self._done.wait(_EVERY):
                os.pwrite(descriptor, b"%.6f" % last, 0)
                os.fsync(descriptor)
                now = time.monotonic()
                self.take(now - last)
                last = now
        finally:
            os.close(descriptor)

    def take(self, elapsed: float) -> None:
        """A look that came `elapsed` seconds after the one before."""
        self.seconds += min(elapsed, _MOST)
        if elapsed > _STANDS:
            self.stands.append((time.time() - elapsed, elapsed))
