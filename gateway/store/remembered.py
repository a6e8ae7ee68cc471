"""What a data folder remembers of its database: how far the events had come.

A database that knows less than that was put back: by a copy of an old file, by its server's own recovery, or by a
failover that lost commits.  Its node must ask what arrived since before it pushes anything (rule 13), so it does not
start.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Row, select

from edxml.messages import system_words
from gateway.model.errors import StorePutBack, StoreUnwritable
from gateway.model.instants import local_iso
from gateway.store import recoveries
from gateway.store.dialect import COMMIT_ORDER
from gateway.store.handle import Store
from gateway.store.schema import events

__all__ = ["check_remembered", "remember"]

_MARK: Final = "newest"
_NEWEST: Final = (
    select(COMMIT_ORDER.label("position"), events.c.recorded_at).order_by(COMMIT_ORDER.desc()).limit(1)
)  # fmt: skip


def remember(store: Store, data: Path) -> None:
    """Let the folder remember the database's newest event. Safe to repeat; raises StoreUnwritable, StoreBusy, and
    StorePutBack as `check_remembered` does: what is remembered stays then.
    """
    with store.read() as connection:
        newest = connection.execute(_NEWEST).one_or_none()
        at = store.now(connection)
        last = recoveries.last(connection)
    position, remembered_at = _read(data)
    _check(newest, last, position, remembered_at)
    if newest is None or position == newest.position:
        return
    part = data / f"{_MARK}-{os.getpid()}"
    try:
        part.write_text(json.dumps({"position": newest.position, "at": at}), "ascii")
        part.replace(data / _MARK)
    except OSError as why:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreUnwritable(folder=str(data), why=system_words(why)) from why


def check_remembered(store: Store, data: Path) -> None:
    """Raises StorePutBack where the database knows less than the folder remembers, and no recovery was begun for it."""
    position, at = _read(data)
    with store.read() as connection:
        newest = connection.execute(_NEWEST).one_or_none()
        last = recoveries.last(connection)
    _check(newest, last, position, at)


def _check(newest: Row[int, int] | None, last: recoveries.Recovery | None, position: int, at: int) -> None:
    if position <= (0 if newest is None else newest.position):
        return
    if last is not None and (last.ended_at is None or last.restored_at >= at):
        return
    known = local_iso(newest.recorded_at) if newest is not None else "–"
    raise StorePutBack(remembered=local_iso(at), known=known)


def _read(data: Path) -> tuple[int, int]:
    """The place and the moment; zeros where the folder remembers nothing, or a torn note."""
    try:
        found = json.loads((data / _MARK).read_bytes())
        return int(found["position"]), int(found["at"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0, 0
