"""Connections to the two databases, and their libraries' errors as ours.

SQLite runs in WAL mode with `synchronous=FULL`, so that a commit that was answered survives a crash of the machine.
Write transactions begin with `BEGIN IMMEDIATE`: the wait for the one writer happens at the beginning, where nothing is
lost by giving up.

PostgreSQL writes side by side at READ COMMITTED, where every statement sees what was committed before it: whoever
decides something by rows locks them first and reads them then.  Whoever reads does it at REPEATABLE READ, one view for
the whole transaction.  No statement waits for ever: for locks, for an answer, or for a client that went away.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from gateway.model.errors import StoreBusy, StoreConflict, StoreDamaged

__all__ = ["name_of", "open_postgres", "open_sqlite", "translating"]

_BUSY_SECONDS = 20


def open_sqlite(path: Path, *, wait_seconds: float = _BUSY_SECONDS) -> Engine:
    """An engine on the SQLite file `path` (made where missing). Waits up to `wait_seconds` for the writer's place."""
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": wait_seconds, "check_same_thread": False},
        pool_size=16,
        max_overflow=32,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16000",
            "temp_store=MEMORY",
            "wal_autocheckpoint=2000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("truc_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


_CONNECTIONS, _MORE_CONNECTIONS = 8, 8
"""Of one process: kept, and at most besides. A server allows a hundred by default."""
_STATEMENT_SECONDS = 300
_IDLE_SECONDS = 60
"""After which the server ends a transaction whose process hangs: its locks must not stop the others for ever."""
_CONNECT_SECONDS = 10


def open_postgres(address: str, *, node: str, password_file: str = "", wait_seconds: float = _BUSY_SECONDS) -> Engine:
    """An engine on a PostgreSQL database: `postgresql://user@host:port/name?sslmode=verify-full&…` (libpq's words).

    The password is the first line of `password_file`, read when connecting, so that it may be changed; without one,
    libpq's own ways hold (a password file in the home folder, a certificate, the socket's peer).  Waits up to
    `wait_seconds` for another's lock and for a free connection.  Does not connect yet.
    """
    told = {
        "lock_timeout": int(wait_seconds * 1000),
        "statement_timeout": _STATEMENT_SECONDS * 1000,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS * 1000,
        "synchronous_commit": "on",
        "jit": "off",  # short statements: compiling them costs more than it saves
        "timezone": "UTC",
    }
    engine = create_engine(
        _url(address),
        isolation_level="READ COMMITTED",
        pool_size=_CONNECTIONS,
        max_overflow=_MORE_CONNECTIONS,
        pool_timeout=wait_seconds,
        pool_pre_ping=True,
        connect_args={
            "application_name": f"truc {node} {os.getpid()}",
            "connect_timeout": _CONNECT_SECONDS,
            "tcp_user_timeout": int(wait_seconds * 1000),
            "options": " ".join(f"-c {name}={value}" for name, value in told.items()),
        },
    )
    if password_file:

        @event.listens_for(engine, "do_connect")
        def _say_password(_dialect: Any, _record: Any, _arguments: Any, words: dict[str, Any]) -> None:
            try:
                words["password"] = Path(password_file).read_text("utf-8").split("\n", 1)[0]
            except OSError as why:
                raise StoreBusy(why=str(why)) from why

    return engine


def _url(address: str) -> URL:
    return make_url(address).set(drivername="postgresql+psycopg")


def name_of(engine: Engine) -> str:
    """The database as people are told of it: never its password."""
    if engine.dialect.name == "sqlite":
        return str(engine.url.database)
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=True)


# --- errors ------------------------------------------------------------------------------------------------------

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
_AWAY_CLASSES = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58"})
"""Of SQLSTATE: no connection, read-only or timed out, refused, no such database, rolled back, out of something,
locked, shut down, failing disk."""
_DAMAGED_STATES = frozenset({"XX001", "XX002"})


@contextmanager
def translating() -> Iterator[None]:
    """The database library's errors as ours; what is our own defect stays as it is."""
    try:
        yield
    except IntegrityError as why:
        raise StoreConflict(why=_say(why.orig)) from why
    except PoolExhausted as why:
        raise StoreBusy(why=str(why)) from why
    except DatabaseError as why:
        if _is_away(why.orig):
            raise StoreBusy(why=_say(why.orig)) from why
        if _is_damaged(why.orig):
            raise StoreDamaged(why=_say(why.orig)) from why
        raise


def _say(why: BaseException | None) -> str:
    """One line of it: the rest says where in a statement, or what else might help."""
    return str(why).strip().split("\n", 1)[0]


def _is_servers(why: BaseException | None) -> bool:
    """Whether PostgreSQL's driver raised it, or one of its kinds; the driver is loaded only where it is used."""
    return any(kind.__module__.partition(".")[0] == "psycopg" for kind in type(why).__mro__)


def _is_away(why: BaseException | None) -> bool:
    if _is_servers(why):
        state = getattr(why, "sqlstate", None)
        is_lost = any(kind.__name__ == "OperationalError" for kind in type(why).__mro__)
        return is_lost if state is None else state[:2] in _AWAY_CLASSES
    return getattr(why, "sqlite_errorcode", 0) & 0xFF in _AWAY


def _is_damaged(why: BaseException | None) -> bool:
    if _is_servers(why):
        return getattr(why, "sqlstate", None) in _DAMAGED_STATES
    return getattr(why, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
