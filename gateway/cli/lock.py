"""The lock of a data folder: processes of one node on one machine work on it together; anybody else is refused.

`<data>/node.lock` is held shared (flock) by every living process of the node, and says whose they are.  Whoever comes
first holds it alone for a moment, for what must be done while nobody else works here (migrating, clearing the spool).
The lock goes with its process, however that dies; the file stays and means nothing by itself.

The folder is one machine's: an SQLite database in WAL mode must not be used from two
machines (their shared memory is not the same).  So a folder on a network file system is refused while processes of
another machine hold it; machines of one node share the database and the folder of packets, and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, Final

from gateway.model.errors import DataShared, StoreBusy, StoreForeign, StoreUnsafe

__all__ = ["NodeLock", "take_lock"]

_NAME: Final = "node.lock"
_WAIT: Final = 60.0  # seconds: the first process may be migrating
_PAUSE: Final = 0.02


class NodeLock:
    """The lock as one process holds it. `is_alone`: no other process of the node lives, until `share` is called."""

    def __init__(self, descriptor: int, identity: dict[str, str], folder: Path, *, is_alone: bool) -> None:
        self._descriptor = descriptor
        self._identity = identity
        self._folder = folder
        self.is_alone = is_alone

    def share(self) -> None:
        """Let other processes of this node in. Safe to repeat. Raises StoreForeign, StoreBusy."""
        if self.is_alone:
            self.is_alone = False
            _wait_for(self._descriptor, fcntl.LOCK_SH)  # not atomic: somebody may come between, so look again
            _refuse_foreign(_read(self._descriptor), self._identity, self._folder)

    def close(self) -> None:
        """Let go. Safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def take_lock(folder: Path, node: str, *, machine: str | None = None) -> NodeLock:
    """Take the lock of a data folder for node `node`, making the folder where it is missing.

    Alone where nobody else holds it: call `share` as soon as others may work too.  Raises StoreForeign where living
    processes of another node hold it, DataShared where those of another machine do; StoreBusy where the first process
    keeps it to itself for a minute; StoreUnsafe where the file system knows no locks.  `machine`: what tells this boot
    of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = {"node": node, "machine": machine or _boot_id(), "host": platform.node()}
    descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if _try(descriptor, fcntl.LOCK_EX):
            _write(descriptor, identity)
            return NodeLock(descriptor, identity, folder, is_alone=True)
        _wait_for(descriptor, fcntl.LOCK_SH, identity, folder)
        _refuse_foreign(_read(descriptor), identity, folder)
    except BaseException:
        os.close(descriptor)
        raise
    return NodeLock(descriptor, identity, folder, is_alone=False)


def _wait_for(descriptor: int, kind: int, identity: dict[str, str] | None = None, folder: Path | None = None) -> None:
    """Wait for the first process; another node's is not worth waiting for."""
    until = time.monotonic() + _WAIT
    while not _try(descriptor, kind):
        if identity is not None and folder is not None:
            _refuse_foreign(_read(descriptor), identity, folder)
        if time.monotonic() > until:
            raise StoreBusy(why="node.lock", seconds=_WAIT)
        time.sleep(_PAUSE)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as why:
        raise StoreUnsafe(setting="flock", value=str(why), wanted="flock(2)") from why
    return True


def _refuse_foreign(owner: dict[str, Any], identity: dict[str, str], folder: Path) -> None:
    if not owner:
        return  # the first process is still writing it down: it will be looked at again
    if owner.get("node") != identity["node"]:
        raise StoreForeign(folder=str(folder), owner=owner.get("node", "?"), node=identity["node"])
    if owner.get("machine") != identity["machine"]:
        raise DataShared(folder=str(folder), host=owner.get("host", "?"))


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(descriptor: int, identity: dict[str, str]) -> None:
    content = json.dumps(identity).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
