"""Which parts of a node run on this machine: each shows it by a file that it holds locked, for `truc doctor`.

    <data>/run/inspect~1236~5679001~9f3a1c    held (flock) by a process of that role, which started at that clock tick

Behind them stand any letters: in two containers processes may have the same number, and start at the same tick.  The
lock goes with its process, however it dies; a number means nothing outside its container.
What dead processes left behind is cleared away by the next one that starts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

__all__ = ["Presence", "is_stopped", "present", "show_presence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A living process: its part of the node, its number, and when it started, in clock ticks since boot."""

    part: str
    pid: int
    started: int


def show_presence(folder: Path, part: str) -> Callable[[], None]:
    """Show that this process lives until what this gives is called. Raises OSError where the folder takes no files."""
    run = folder / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(run):  # who starts beside us must not take our file, not yet locked, for a dead one's
        for path in run.iterdir():
            if not _is_held(path):
                path.unlink(missing_ok=True)
        shown = run / f"{part}~{os.getpid()}~{_fields(os.getpid())[19].decode()}~{token_hex(3)}"
        descriptor = os.open(shown, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def leave() -> None:
        shown.unlink(missing_ok=True)
        os.close(descriptor)

    return leave


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """One process at a time within; its end lets go."""
    descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def present(folder: Path) -> tuple[Presence, ...]:
    """The processes of the node that live on this machine, by their part. Changes nothing."""
    run = folder / "run"
    found = []
    for path in sorted(run.iterdir()) if run.is_dir() else ():
        part, *rest = path.name.split("~")
        numbers = rest[:2]  # an earlier version wrote no letters behind them
        if len(numbers) == 2 and all(map(str.isdecimal, numbers)) and _is_held(path):
            found.append(Presence(part=part, pid=int(numbers[0]), started=int(numbers[1])))
    return tuple(found)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone meanwhile, or a socket, which an earlier version left
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_stopped(process: Presence) -> bool:
    """Whether somebody stopped it (SIGSTOP, a debugger): it is there, keeps what it holds, and does nothing."""
    fields = _fields(process.pid)
    return bool(fields) and int(fields[19]) == process.started and fields[0] in (b"T", b"t")


def _fields(pid: int) -> list[bytes]:
    """What the kernel says of a process, from its state on; nothing where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return stat[stat.rindex(b")") + 2 :].split()
