"""Rendezvous: where the processes of a node find each other's sockets, and tell dead ones from living.

Every socket is a file in `<data folder>/run`, named `<what>~<process>~<pid>~<start>~<token>~<number>`:

    deliver.urgent~serve~1234~5678901~a1b2c3~1      takes tickets of a queue
    wake~api~1235~5678950~d4e5f6~0                  takes wake-ups
    here~inspect~1236~5679001~a7b8c9~1              takes nothing: it shows that its process lives

`start` is the process's start time in clock ticks since boot, so that a pid that was given out again is not
mistaken for its former owner.  A socket is bound under a hidden name and renamed once it listens: whoever
sees a name can connect to it, and a refused connection means that the owner is gone.

A socket address holds at most 107 bytes of path, a data folder may be deeper: addresses go through
`/proc/self/fd/<folder>`, which is short wherever the folder lies.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["Address", "Rendezvous", "held_sockets", "is_alive", "is_stopped", "start_time"]

_FOREIGN_LETTERS: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_PROCESS_NAME: Final = 20
_BACKLOG: Final = 64
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A socket's name, taken apart. `what` is a queue, "wake", or "here"."""

    what: str
    process: str
    pid: int
    started: int
    token: str
    number: int

    @property
    def name(self) -> str:
        """The file name under `run/`."""
        return f"{self.what}~{self.process}~{self.pid}~{self.started}~{self.token}~{self.number}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The address behind a file name; None for a file that is none of ours."""
        parts = name.split("~")
        if len(parts) != 6 or name.startswith(".") or not all(part.isdigit() for part in (*parts[2:4], parts[5])):
            return None
        what, process, pid, started, token, number = parts
        return cls(what=what, process=process, pid=int(pid), started=int(started), token=token, number=int(number))


class Rendezvous:
    """The `run` folder of a node, as one transport of one process sees it. Any thread may call."""

    def __init__(self, folder: Path, process_name: str) -> None:
        """Make `<folder>/run` (readable by its owner only) where it is missing, and clear away dead sockets.

        Raises OSError if the folder cannot be made or opened.
        """
        run = folder / "run"
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path = f"/proc/self/fd/{self._descriptor}"
        self._process = _FOREIGN_LETTERS.sub("-", process_name)[:_LONGEST_PROCESS_NAME] or "process"
        self._token = secrets.token_hex(3)
        self._number = 0
        self._own: set[Address] = set()
        self.remove_dead()

    @property
    def home(self) -> str:
        """The same for all who find each other here: the folder, on the machine that runs now."""
        found = os.fstat(self._descriptor)
        return f"{_BOOT.read_text('ascii').strip()}:{found.st_dev}:{found.st_ino}"

    def path(self, name: str) -> str:
        """A path to `name` that fits into a socket address."""
        return f"{self._path}/{name}"

    def bind(self, what: str, kind: socket.SocketKind) -> tuple[socket.socket, Address]:
        """A new non-blocking socket of `kind` that others find as `what`. Raises OSError where the folder's
        file system carries no sockets."""
        self._number += 1
        address = Address(
            what=what, process=self._process, pid=os.getpid(), started=start_time(os.getpid()) or 0,
            token=self._token, number=self._number,
        )  # fmt: skip
        hidden = f".{address.name}"
        opened = socket.socket(socket.AF_UNIX, kind)
        try:
            opened.setblocking(False)
            opened.bind(self.path(hidden))
            if kind != socket.SOCK_DGRAM:
                opened.listen(_BACKLOG)
            os.rename(hidden, address.name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            opened.close()
            self._unlink(hidden)
            raise
        self._own.add(address)
        return opened, address

    def others(self, what: str) -> tuple[Address, ...]:
        """Sockets for `what` that other transports bound (of other processes, or of this one), by name."""
        if self._descriptor < 0:
            return ()
        try:
            names = sorted(os.listdir(self._path))
        except OSError:  # out of descriptors: a hint finds nobody, and nobody gets an exception for it
            return ()
        found = (Address.parse(name) for name in names if name.startswith(f"{what}~"))
        return tuple(address for address in found if address and address.token != self._token)

    def withdraw(self, address: Address) -> None:
        """Take an own address off the folder: nobody finds it any more. Safe to repeat."""
        self._own.discard(address)
        self._unlink(address.name)

    def forget_if_dead(self, address: Address) -> bool:
        """Remove a socket that refused a connection, if its process is gone as well; says whether it is."""
        if is_alive(address.pid, address.started):
            return False
        self._unlink(address.name)
        return True

    def remove_dead(self) -> int:
        """Remove what dead processes left behind; gives the number of names removed. Live sockets stay,
        whoever owns them: a name goes only if its process is gone *and* nothing answers there."""
        removed = 0
        for name in os.listdir(self._path):
            address = Address.parse(name.removeprefix("."))
            if address is None or is_alive(address.pid, address.started) or self._answers(name):
                continue
            self._unlink(name)
            removed += 1
        return removed

    def close(self) -> None:
        """Withdraw all own addresses and let go of the folder: nobody is found any more. Safe to repeat."""
        for address in tuple(self._own):
            self.withdraw(address)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _answers(self, name: str) -> bool:
        return _is_held(self.path(name))

    def _unlink(self, name: str) -> None:
        if self._descriptor < 0:
            return
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            pass


def _is_held(path: str) -> bool:
    """Whether some process holds the socket.

    Asked with a datagram socket, which takes nobody's place in a backlog: a socket of another kind
    answers EPROTOTYPE, a socket without owner ECONNREFUSED.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def held_sockets(folder: Path) -> tuple[Address, ...]:
    """The sockets of a data folder that somebody holds, by name; nothing where there are none. Changes nothing.

    They are asked themselves: whoever runs in another container has a pid that means nothing here.
    """
    run = folder / "run"
    if not run.is_dir():
        return ()
    descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = [Address.parse(name) for name in sorted(os.listdir(descriptor))]
        held = [one for one in found if one is not None and _is_held(f"/proc/self/fd/{descriptor}/{one.name}")]
    finally:
        os.close(descriptor)
    return tuple(held)


def start_time(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None if there is no such process, or only its shell
    that nobody has waited for yet (a zombie holds no sockets)."""
    fields = _fields(pid)
    return None if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether somebody stopped `pid` (SIGSTOP, a debugger): it is there, keeps what it holds, and does nothing."""
    return _fields(pid)[:1] in ([b"T"], [b"t"])


def _fields(pid: int) -> list[bytes]:
    """What the kernel says of a process, from its state on; nothing where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return stat[stat.rindex(b")") + 2 :].split()


def is_alive(pid: int, started: int) -> bool:
    """Whether `pid` still is the process that started at `started`."""
    return start_time(pid) == started
