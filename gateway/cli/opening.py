"""Opening this machine's node for a command: settings, lock, store; and the node itself where a hop is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from gateway.cli.lock import take_lock
from gateway.compose import build_node
from gateway.model.errors import NotFound
from gateway.model.instants import VIETNAM
from gateway.node import Node
from gateway.settings import Settings, read_settings
from gateway.store import Store, open_store

__all__ = ["ACTOR", "Local", "has_lost_database", "has_node", "open_local", "open_node", "today"]

ACTOR = "operator:cli"
"""Who acts, in events: whoever may run commands on the node's machine is its operator (quản trị viên)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The node's rows on this machine."""

    settings: Settings
    store: Store


@contextmanager
def open_local(*, may_make: bool = False) -> Iterator[Local]:
    """The node's store, beside its running processes.

    Raises SettingsError, StoreForeign and what opening raises; NotFound `cli.no_node` where there is none yet and
    `may_make` is not said: a command in the wrong folder must not leave a new node behind.
    """
    settings = read_settings()
    if not may_make and not has_node(settings):
        reason = "cli.database_gone" if has_lost_database(settings) else "cli.no_node"
        raise NotFound(reason, folder=str(settings.data.resolve()))
    lock = take_lock(settings.data, settings.node)
    try:
        store = open_store(
            settings.data,
            node=settings.node,
            reserve=settings.disk_reserve_mib << 20,
            wait_seconds=settings.database_wait,
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


def has_node(settings: Settings) -> bool:
    """Whether a node was ever opened in the data folder."""
    return (settings.data / "truc.db").exists()


def has_lost_database(settings: Settings) -> bool:
    """Whether keys or packets lie in a data folder without its database: a node was there, and must be restored."""
    data = settings.data
    left = any(path.is_file() for path in (data / "keys").glob("seal.*"))
    return not has_node(settings) and (left or any(path.is_file() for path in (data / "blobs").rglob("*")))


def today(settings: Settings) -> date:
    """The calendar day in Vietnam that agencies are looked up on."""
    return date.fromisoformat(settings.today) if settings.today else datetime.now(VIETNAM).date()
