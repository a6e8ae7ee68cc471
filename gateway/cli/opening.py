"""Opening this machine's node for a command: settings, lock, store; and the node itself where a hop is called."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from edxml.messages import system_words
from gateway.backup import is_unfinished
from gateway.cli.lock import take_lock
from gateway.compose import Today, build_node
from gateway.model.errors import NotFound, StoreUnwritable
from gateway.node import Node
from gateway.settings import Settings, read_settings
from gateway.store import Store, has_database, open_store

__all__ = [
    "ACTOR", "Local", "check_not_lost", "has_node", "left_behind", "open_local", "open_node", "today",
    "try_folder",
]  # fmt: skip

ACTOR = "operator:cli"
"""Who acts, in events: whoever may run commands on the node's machine is its operator (quản trị viên)."""

_PROBE: Final = 64 << 10  # bytes: a database that is opened needs some


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The node's rows on this machine."""

    settings: Settings
    store: Store


@contextmanager
def open_local(*, may_make: bool = False) -> Iterator[Local]:
    """The node's store, beside its running processes.

    Raises SettingsError, StoreForeign, StoreUnwritable and what opening raises; as `check_not_lost`; NotFound
    `cli.no_node` where there is none yet and `may_make` is not said: a command in the wrong folder must not leave a
    new node behind.
    """
    settings = read_settings()
    check_not_lost(settings)
    if not may_make and not has_node(settings):
        raise NotFound("cli.no_node", folder=str(settings.data.resolve()))
    if may_make:
        try_folder(settings.data)
    lock = take_lock(settings.data, settings.node)
    try:
        store = open_store(
            settings.data,
            node=settings.node,
            database=settings.database,
            password_file=settings.database_password_file,
            reserve=settings.disk_reserve_mib << 20,
            wait_seconds=settings.database_wait,
            blobs=Path(settings.blobs) if settings.blobs else None,
        )
        lock.share()
        try:
            yield Local(settings=settings, store=store)
        finally:
            store.close()
    finally:
        lock.close()


@contextmanager
def open_node() -> Iterator[Node]:
    """The whole node, for commands that call a hop or open a channel. Raises as `open_local`, and for its keys."""
    with open_local() as local:
        node = build_node(local.settings, role="cli")
        try:
            yield node
        finally:
            node.transport.close()
            node.store.close()


def try_folder(folder: Path) -> float:
    """Write into the data folder and sync, making it where it is missing; gives by how many seconds its clock is ahead.

    Leaves nothing behind, even when killed: the file that is tried has no name. Raises StoreUnwritable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".thu-") as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
            return os.fstat(probe.fileno()).st_mtime - time.time()
    except OSError as why:
        raise StoreUnwritable(folder=str(folder.resolve()), why=system_words(why)) from why


def has_node(settings: Settings) -> bool:
    """Whether a node was ever opened in the data folder, or with its database. Raises StoreBusy."""
    return has_database(
        settings.data,
        database=settings.database,
        password_file=settings.database_password_file,
        wait_seconds=settings.database_wait,
    )


def left_behind(settings: Settings) -> str:
    """What lies in a data folder without its database, as "keys/ (2), blobs/ (31)", counted in files; "" where nothing
    does, or where the database is there."""
    if has_node(settings):
        return ""
    found = {
        "keys/": list((settings.data / "keys").glob("seal.*")),
        "blobs/": [path for path in settings.blob_folder.rglob("*") if path.is_file()],
    }
    return ", ".join(f"{folder} ({len(files)})" for folder, files in found.items() if files)


def check_not_lost(settings: Settings) -> None:
    """Raises NotFound `restore.unfinished` where a restore was begun and not ended; `cli.database_gone` where a node's
    keys or packets lie without their database, `cli.database_empty` where the one on a server holds no node.

    A new database beside them would know of nothing that was accepted: the old one must be restored.
    """
    if is_unfinished(settings.data):
        raise NotFound("restore.unfinished", folder=str(settings.data.resolve()))
    left = left_behind(settings)
    if left:
        raise NotFound(
            f"cli.{lost_word(settings)}", folder=str(settings.data.resolve()), left=left, where=settings.database
        )


def lost_word(settings: Settings) -> str:
    """What is said where packets or keys lie without their database: a file is gone, a server's may be another one."""
    return "database_empty" if settings.database else "database_gone"


def today(settings: Settings) -> date:
    """The calendar day in Vietnam that agencies are looked up on."""
    return Today(settings)()
