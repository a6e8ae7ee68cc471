"""The handle of the store: engine, blobs, clock. Opening it checks that what it confirms is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DBAPIError

from gateway.model.errors import StoreBusy, StoreForeign
from gateway.model.instants import Instant, boot_now, kernel_boot, wall_now
from gateway.store import schema
from gateway.store.blobs import BlobFolder
from gateway.store.carrying import fillings
from gateway.store.dialect import AloneAt, check_durability, continue_order, lock_alone
from gateway.store.engines import name_of, open_postgres, open_sqlite
from gateway.store.faults import Committing, translating
from gateway.store.homes import claim_home, place_of
from gateway.store.migrate import found_revision, upgrade
from gateway.store.reckoning import Clock, Reckoning, go_with
from gateway.store.rollups import add_counts, counting
from gateway.store.statements import COMMITTING
from gateway.store.witnesses import Witnesses, noting

__all__ = ["Clock", "Store", "WallClock", "has_database", "open_store"]


class WallClock:
    """This machine's clocks."""

    boot = kernel_boot()

    def now(self) -> Instant:
        """Microseconds since 1970 UTC."""
        return wall_now()

    def boot_now(self) -> int:
        """Microseconds since the machine was started."""
        return boot_now()


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
    """What a node remembers: rows through `read` and `write`, bytes through `blobs`, time through `now`.

    `clock` is this process's; what is due goes by `now`, what may still land by `reckoning`.
    """

    engine: Engine
    blobs: BlobFolder
    clock: Clock
    reckoning: Reckoning
    wait_seconds: float = 20.0
    goes_by_clock: bool = True  #: and not by the database's
    witnesses: Witnesses = field(default_factory=Witnesses, repr=False, compare=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _writer: _Writer = field(default_factory=_Writer, repr=False, compare=False)

    @contextmanager
    def write(self, *, asks_first: bool = False) -> Iterator[Connection]:
        """One write transaction: commits at the end of the block, rolls back on any exception.

        `asks_first`: it asks something before it wants to know the time; on PostgreSQL it begins in one trip with that,
        and `now` tells the time after it.

        Raises StoreBusy where the writer's place, or another's lock, could not be had in time, StoreConflict where a
        unique constraint refused; nothing was changed then.  StoreUnsure, a kind of StoreBusy: the connection to
        PostgreSQL broke during the very commit, which may have been done: what runs twice must come out the same.
        StoreUndone, another kind, says that PostgreSQL undid the transaction for another's sake (a deadlock, a broken
        connection): `gateway.store.repeating` runs such a one again.

        SQLite: threads of one process take turns before they ask the database, which lets waiters sleep and look
        again; that costs time and processor where some thread always waits.  PostgreSQL: any number write at once.
        """
        if self.engine.dialect.name != "sqlite":
            committing = Committing()
            with translating(committing), self.engine.connect() as connection:
                options = {COMMITTING: committing.begin, **counting(), **noting()}
                connection.execution_options(truc_writes=True, **options)
                if asks_first:
                    _ask_first(connection)
                with connection.begin():
                    yield connection
                    add_counts(connection)
                    committing.begin()
                self.witnesses.keep(connection)
            return
        if not self._turn.acquire(timeout=self.wait_seconds):
            raise StoreBusy(why="another thread of this process is writing")
        try:
            with translating(), self._writer.of(self.engine) as connection:
                yield connection
        finally:
            self._turn.release()

    @property
    def has_many_writers(self) -> bool:
        """Whether transactions that write run beside each other (PostgreSQL); else one after the other."""
        return self.engine.dialect.name != "sqlite"

    def lock_or_read(self) -> AbstractContextManager[Connection]:
        """A transaction that can hold rows where others write at the same time; else one that reads: it is enough."""
        return self.read() if self.engine.dialect.name == "sqlite" else self.write()

    @contextmanager
    def read(self, *, is_hop: bool = False, asks_first: bool = False) -> Iterator[Connection]:
        """One consistent view of the rows. Raises StoreBusy where the database is away.

        `is_hop`: what is asked is asked all the time and says where its rows lie, so that PostgreSQL may keep its plans
        (as it does for whoever writes); for others it plans by what is asked for.  `asks_first` as for `write`.
        """
        with translating(), self.engine.connect() as connection, _view(connection, is_hop):
            if asks_first and self.has_many_writers:
                _ask_first(connection)
            with connection.begin():
                yield connection

    def now(self, connection: Connection) -> Instant:
        """The one clock that scheduling compares with (protocol §13)."""
        if self.goes_by_clock:
            before, told = self.clock.boot_now(), self.clock.now()
            self.reckoning.note(before, told, self.clock.boot_now())
            return told
        from gateway.store import sessions  # with the driver, which a node on SQLite does not load

        looked = sessions.clock_at_begin(connection) or sessions.look(connection)
        self.reckoning.note(looked.before, looked.told, looked.after)
        return Instant(looked.told)

    def known_now(self) -> Instant | None:
        """The time by the same clock where nobody has to be asked for it; None where the database tells it."""
        return self.clock.now() if self.goes_by_clock else None

    def close(self) -> None:
        """Let go of all connections, once whoever writes is done."""
        has_turn = self._turn.acquire(timeout=self.wait_seconds)
        try:
            self._writer.close()
            self.engine.dispose()
        finally:
            if has_turn:
                self._turn.release()


def _ask_first(connection: Connection) -> None:
    from gateway.store import sessions  # with the driver, which a node on SQLite does not load

    sessions.ask_first(connection)


def _view(connection: Connection, is_hop: bool) -> AbstractContextManager[None]:
    """Its transactions have one view of everything; on SQLite every one has."""
    if connection.dialect.name == "sqlite":
        return nullcontext()
    from gateway.store import sessions  # with the driver, which a node on SQLite does not load

    return sessions.begins(connection, sessions.For.READING_HOPS if is_hop else sessions.For.READING)


def open_store(
    folder: Path,
    *,
    node: str,
    database: str = "",
    password_file: str = "",
    clock: Clock | None = None,
    reserve: int = 256 << 20,
    wait_seconds: float = 20.0,
    may_be_marked: bool = False,
    blobs: Path | None = None,
    is_brief: bool = False,
) -> Store:
    """Open the store in `folder`, making and migrating it where needed. Safe to repeat and to do from many processes.

    `blobs`: where the packets' bytes lie, for several machines; None: in the folder.  Raises BlobsElsewhere where that
    is not the folder that the database speaks of, as when a network file system is not mounted.
    `database`: where the rows are (`engines.open_postgres`); "": in an SQLite file in the folder.  Raises StoreForeign
    where the folder or the database belongs to another node, StoreOutdated where a newer program wrote it, StoreUnsafe
    where the database would not keep what it confirms, StoreDamaged where it is none, StoreBusy; StoreMoved and
    StoreUnfinished, unless it `may_be_marked` so: for those who move and restore.
    `is_brief`: for a command, which does not live to wait for what may still land (`Reckoning`).
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # documents are for this node's user alone
    kept = BlobFolder(folder / "blobs" if blobs is None else blobs, reserve, "" if blobs is None else place_of(folder))
    reckoning = Reckoning(clock or WallClock(), is_brief=is_brief)
    engine = _open_engine(folder, node, database, password_file, wait_seconds)
    go_with(engine, reckoning)
    goes_by_clock = clock is not None or engine.dialect.name == "sqlite"
    store = Store(engine, kept, reckoning.clock, reckoning, wait_seconds, goes_by_clock)
    if engine.dialect.name != "sqlite":
        store.witnesses.go_with(engine)
    try:
        with translating():
            if not may_be_marked:
                fillings.check_usable(engine)
            upgrade(engine)
        with store.read() as connection:
            check_durability(connection)
            owner = connection.execute(_OWNER).scalar()
        if owner is None:
            owner = _claim(store, node)
        if owner != node:
            raise StoreForeign(folder=name_of(engine) if database else str(folder), owner=owner, node=node)
        if database:
            with store.write() as connection:
                lock_alone(connection, AloneAt.OPENING)
                continue_order(connection)
                if not may_be_marked:
                    claim_home(connection, kept, node)
        kept.prepare()
    except BaseException:
        store.close()
        raise
    return store


_OWNER = select(schema.node.c.name)


def _open_engine(folder: Path, node: str, database: str, password_file: str, wait_seconds: float) -> Engine:
    if database:
        return open_postgres(database, node=node, password_file=password_file, wait_seconds=wait_seconds)
    return open_sqlite(folder / "truc.db", wait_seconds=wait_seconds)


def _claim(store: Store, node: str) -> str:
    with store.write() as connection:
        lock_alone(connection, AloneAt.OPENING)
        owner = connection.execute(_OWNER).scalar()
        if owner is not None:
            return str(owner)
        row = {"name": node, "created_at": store.now(connection), "directory_version": 0, "configuration_version": 0}
        connection.execute(insert(schema.node), row)
        return node


def has_database(folder: Path, *, database: str = "", password_file: str = "", wait_seconds: float = 20.0) -> bool:
    """Whether a node was ever opened with this folder or database, or its rows are being put there. Makes nothing.

    Raises StoreBusy.
    """
    if not database:
        return (folder / "truc.db").exists()
    engine = _open_engine(folder, "", database, password_file, wait_seconds)
    try:
        with translating():
            has_schema = found_revision(engine) is not None
            with engine.connect() as connection:
                if fillings.find(connection) is not None:
                    return True
                return has_schema and connection.execute(_OWNER).scalar() is not None
    finally:
        engine.dispose()
