"""Measuring: processor time and memory of other processes, servers that start and stop, ratios with an interval.

Everything here reads the kernel's own books (`/proc`), so nothing has to be built into what is measured.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import fcntl
import os
import random
import re
import secrets
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from benchmarks.load import LoadPlan, LoadResult

__all__ = [
    "Interval", "LoadRun", "RunFolder", "Server", "cpu_seconds", "family", "interleave", "interval_of", "memory_bytes",
    "page_counter", "percentile", "run_load", "serve",
]  # fmt: skip

ROOT: Final = Path(__file__).parents[1]
_First = TypeVar("_First")
_Second = TypeVar("_Second")
_PORT: Final = re.compile(r"(?:.*\bport=)?(?P<port>[1-9][0-9]*)\b.*")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> tuple[int, ...]:
    """`pid` and all its living descendants."""
    children: list[int] = []
    for task in _listed(f"/proc/{pid}/task"):
        try:
            listed = Path(f"/proc/{pid}/task/{task}/children").read_text()
        except OSError:
            continue
        children.extend(int(child) for child in listed.split())
    return (pid, *(member for child in children for member in family(child)))


def cpu_seconds(pid: int) -> float:
    """Processor time used so far by `pid`, its living descendants and those it has waited for, in seconds.

    User and kernel time; the kernel counts in steps of 10 ms. Raises ProcessLookupError if `pid` is gone.
    """
    ticks = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_bytes().rpartition(b")")[2].split()
        except FileNotFoundError:
            if member == pid:
                raise ProcessLookupError(pid) from None
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS


def memory_bytes(pid: int) -> int:
    """Resident memory of `pid` and its living descendants; pages that they share count for each."""
    total = 0
    for member in family(pid):
        try:
            status = Path(f"/proc/{member}/statm").read_text().split()
        except FileNotFoundError:
            continue
        total += int(status[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


class Server:
    """A server process that was started for a bench, with its port and data folder."""

    def __init__(self, process: subprocess.Popen[str], port: int, folder: Path) -> None:
        self.process, self.port, self.folder = process, port, folder

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        return cpu_seconds(self.pid)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 10 s. Safe to repeat."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def serve(
    command: Sequence[str], folder: Path, *, environment: Mapping[str, str] | None = None, ready_within: float = 30.0
) -> Iterator[Server]:
    """Run a server whose first line of output is its port, or has `port=…` in it; it is stopped at the end.

    Later output is thrown away, its log goes to a file beside `folder`. Raises RuntimeError if it prints no port
    within `ready_within` seconds.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    with open(f"{folder}.log", "wb") as log:
        process = subprocess.Popen(
            list(command), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=own | dict(environment or {})
        )
    timer = threading.Timer(ready_within, process.kill)
    timer.start()
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    timer.cancel()
    told = _PORT.fullmatch(line)
    server = Server(process, int(told["port"]) if told else 0, folder)
    try:
        if not server.port:
            raise RuntimeError(f"{command[:3]} gave {line!r} instead of its port; its log is {folder}.log")
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        yield server
    finally:
        server.stop()


class RunFolder:
    """Fresh folders for runs, all removed at the end and none before.

    Where thousands of files were removed, ext4 creates new ones up to five times slower for some minutes: it
    gives out no inode that was freed a short while ago, and steps over each of them anew for every file.  So
    nothing is removed between runs, and the runs of one bench keep away from what the last one removed: each
    folder lies in another block group (the directory's "T" attribute), where the file system can do that.
    """

    def __init__(self, under: Path | None = None) -> None:
        """Folders go under `under`, or the system's place for temporary files."""
        self._all = tempfile.TemporaryDirectory(prefix="truc-bench-", dir=under, ignore_cleanup_errors=True)
        self._number = 0
        _spread_folders(Path(self._all.name))

    def fresh(self, name: str) -> Path:
        """A new empty folder."""
        self._number += 1
        # ext4 chooses the block group by the name: the same name would go where the last bench was removed.
        folder = Path(self._all.name) / f"{self._number:03}-{name}-{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    def remove(self) -> None:
        """Remove them all. Safe to repeat."""
        self._all.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """What a load did, and what the server used for it."""

    result: LoadResult
    server_cpu: float
    """Seconds of processor time of all server processes, warm-up not counted."""
    server_memory: int
    """Bytes resident at the end."""

    @property
    def documents_per_second(self) -> float:
        return self.result.confirmed / self.result.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of the server's processor time per document."""
        return self.server_cpu / self.result.confirmed * 1000

    @property
    def load_cpu_ms(self) -> float:
        """The same for the load generator: what measuring costs."""
        return self.result.cpu_seconds / self.result.confirmed * 1000


def run_load(plan: LoadPlan, server: Server, *, timeout: float = 300.0) -> LoadRun:
    """Run the load generator in its own process against `server`.

    Raises RuntimeError if it fails, or if not every document came out that went in.
    """
    command = [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(plan).decode()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            if not process.stdout.readline():
                raise RuntimeError("the load generator ended before it began; see its output above")
            before = server.cpu_seconds()
            process.stdin.write(b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            used = server.cpu_seconds() - before
        if process.wait() != 0 or not line:
            raise RuntimeError("the load generator failed; see its output above")
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    result = msgspec.json.decode(line, type=LoadResult)
    if not result.submitted == result.confirmed == plan.documents:
        raise RuntimeError(f"{plan.documents} wanted, {result.submitted} in, {result.confirmed} out")
    return LoadRun(result=result, server_cpu=used, server_memory=memory_bytes(server.pid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and where it lies with 95 % confidence."""

    median: float
    low: float
    high: float
    pairs: int

    def __format__(self, specification: str) -> str:
        """Median and interval, each formatted as `specification` says (".2f" if it says nothing)."""
        each = specification or ".2f"
        return f"{self.median:{each}} [{self.low:{each}}, {self.high:{each}}]"


def interval_of(values: Sequence[float], *, seed: int = 1, draws: int = 2_000) -> Interval:
    """Median with a bootstrap interval of 95 %; of fewer than 7 values the whole span."""
    if len(values) < 7:
        return Interval(median=statistics.median(values), low=min(values), high=max(values), pairs=len(values))
    chance = random.Random(seed)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    low, high = medians[int(draws * 0.025)], medians[int(draws * 0.975) - 1]
    return Interval(median=statistics.median(values), low=low, high=high, pairs=len(values))


def interleave(
    first: Callable[[int], _First], second: Callable[[int], _Second], *, pairs: int = 7
) -> list[tuple[_First, _Second]]:
    """Run both `pairs` times, each pair's two runs next to each other, in changing order.

    What drifts on a shared machine (neighbours, disk, heat) then falls on both. Both get the pair's number.
    """
    done = []
    for pair in range(pairs):
        if pair % 2:
            below = second(pair)
            done.append((first(pair), below))
        else:
            above = first(pair)
            done.append((above, second(pair)))
    return done


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed. Raises ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_CACHE_HIT, _CACHE_MISS = 7, 8  # SQLITE_DBSTATUS_CACHE_HIT, _MISS


def page_counter(connection: sqlite3.Connection) -> Callable[[], int]:
    """A function that gives how many database pages SQLite looked at on `connection` since it was last called.

    Pages in the cache count like pages on the disk, so that the figure is the same in every run. SQLite counts
    them itself; Python does not pass the count on, so it is read from the library below Python's module.
    """
    library = ctypes.CDLL(_sqlite3.__file__)
    handle = ctypes.c_void_p.from_address(id(connection) + object.__basicsize__)
    now, most = ctypes.c_int(), ctypes.c_int()

    def read(what: int) -> int:
        failed = library.sqlite3_db_status(handle, what, ctypes.byref(now), ctypes.byref(most), 1)
        if failed:
            raise RuntimeError(f"sqlite3_db_status gave {failed}")
        return now.value

    return lambda: read(_CACHE_HIT) + read(_CACHE_MISS)


_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHY = 0x80086601, 0x40086602, 0x20000  # of <linux/fs.h>


def _spread_folders(under: Path) -> None:
    """Have ext4 place each new folder in `under` into another block group (`chattr +T`). No harm elsewhere."""
    descriptor = os.open(under, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l"))))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_HIERARCHY))
    except OSError:
        pass  # another file system: it has no such attribute, and not this trouble
    finally:
        os.close(descriptor)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _drain(output: IO[str]) -> None:
    try:
        for _ in output:
            pass
    except ValueError:
        pass  # closed by stop()
