"""The handle of the store: engine, blobs, clock. Opening it checks that what it confirms is kept."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError

from gateway.model.errors import StoreBusy, StoreConflict, StoreDamaged, StoreForeign
from gateway.model.instants import Instant, wall_now
from gateway.store import schema
from gateway.store.blobs import BlobFolder
from gateway.store.dialect import check_durability, open_engine
from gateway.store.migrate import upgrade

__all__ = ["Clock", "Store", "WallClock", "open_store"]


class Clock(Protocol):
    """Where the store's time comes from on SQLite; on PostgreSQL the database tells. Replaceable as a whole."""

    def now(self) -> Instant:
        """Microseconds since 1970 UTC."""


class WallClock:
    """This machine's clock."""

    def now(self) -> Instant:
        """Microseconds since 1970 UTC."""
        return wall_now()


@dataclass(slots=True)
class _Writer:
    """The one connection that writes, used by whoever has the turn.

    SQLite drops a connection's page cache when another one has written: writing through whichever connection the pool
    gives would read the upper pages of every index anew for each group (22 reads per document).
    """

    _connection: Connection | None = None

    @contextmanager
    def of(self, engine: Engine) -> Iterator[Connection]:
        """A write transaction on it. What the database refused may have left it in any state: then it is closed."""
        if self._connection is None or self._connection.closed or self._connection.invalidated:
            self._connection = engine.connect().execution_options(truc_writes=True)
        try:
            with self._connection.begin():
                yield self._connection
        except DBAPIError:
            self.close()
            raise

    def close(self) -> None:
        """Give it back. Safe to repeat."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@dataclass(frozen=True, slots=True)
class Store:
    """What a node remembers: rows through `read` and `write`, bytes through `blobs`, time through `now`."""

    engine: Engine
    blobs: BlobFolder
    clock: Clock
    wait_seconds: float = 20.0
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _writer: _Writer = field(default_factory=_Writer, repr=False, compare=False)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One write transaction: commits at the end of the block, rolls back on any exception.

        Raises StoreBusy where the writer's place could not be had in time, StoreConflict where a unique constraint
        refused; nothing was changed then.  Threads of one process take turns before they ask the database: SQLite
        lets waiters sleep and look again, which costs time and processor where some thread always waits.
        """
        if not self._turn.acquire(timeout=self.wait_seconds):
            raise StoreBusy(why="another thread of this process is writing")
        try:
            with _translating(), self._writer.of(self.engine) as connection:
                yield connection
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of the rows. Raises StoreBusy where the database is away."""
        with _translating(), self.engine.connect() as connection, connection.begin():
            yield connection

    def now(self, connection: Connection) -> Instant:
        """The one clock that scheduling compares with (protocol §13)."""
        if connection.dialect.name == "sqlite":
            return self.clock.now()
        moment = connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return Instant(moment.scalar_one())

    def close(self) -> None:
        """Let go of all connections, once whoever writes is done."""
        has_turn = self._turn.acquire(timeout=self.wait_seconds)
        try:
            self._writer.close()
            self.engine.dispose()
        finally:
            if has_turn:
                self._turn.release()


_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@contextmanager
def _translating() -> Iterator[None]:
    """The database library's errors as ours; what is our own defect stays as it is."""
    try:
        yield
    except IntegrityError as why:
        raise StoreConflict(why=str(why.orig)) from why
    except DatabaseError as why:
        code = getattr(why.orig, "sqlite_errorcode", 0) & 0xFF
        if code in _AWAY:
            raise StoreBusy(why=str(why.orig)) from why
        if code in _DAMAGED:
            raise StoreDamaged(why=str(why.orig)) from why
        raise


def open_store(
    folder: Path, *, node: str, clock: Clock | None = None, reserve: int = 256 << 20, wait_seconds: float = 20.0
) -> Store:
    """Open the store in `folder`, making and migrating it where needed. Safe to repeat and to do from many processes.

    Raises StoreForeign where the folder belongs to another node, StoreOutdated where a newer program wrote it,
    StoreUnsafe where the database would not keep what it confirms, StoreDamaged where it is none, StoreBusy.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # documents are for this node's user alone
    blobs = BlobFolder(folder / "blobs", reserve)
    blobs.prepare()
    database = folder / "truc.db"
    engine = open_engine(database, wait_seconds=wait_seconds)
    with _translating():
        upgrade(engine)
    store = Store(engine, blobs, clock or WallClock(), wait_seconds)
    with store.read() as connection:
        check_durability(connection)
        owner = connection.execute(select(schema.node.c.name)).scalar()
    if owner is None:
        owner = _claim_folder(store, node)
    if owner != node:
        store.close()
        raise StoreForeign(folder=str(folder), owner=owner, node=node)
    return store


def _claim_folder(store: Store, node: str) -> str:
    with store.write() as connection:
        owner = connection.execute(select(schema.node.c.name)).scalar()
        if owner is not None:
            return str(owner)
        row = {"name": node, "created_at": store.now(connection), "directory_version": 0, "configuration_version": 0}
        connection.execute(insert(schema.node), row)
        return node
