"""Connections to the two databases; `gateway.store.faults` beside it says what their errors mean.

SQLite runs in WAL mode with `synchronous=FULL`, so that a commit that was answered survives a crash of the machine.
Write transactions begin with `BEGIN IMMEDIATE`: the wait for the one writer happens at the beginning, where nothing is
lost by giving up.

PostgreSQL writes side by side at READ COMMITTED, where every statement sees what was committed before it: whoever
decides something by rows locks them first and reads them then.  Whoever reads does it at REPEATABLE READ, one view for
the whole transaction.  No statement waits for ever: for locks, for an answer, or for a client that went away; nor do we
for a server that says nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url

from edxml.messages import system_words
from gateway.model.errors import StoreBusy, StorePooled, StoreRefused, StoreUnsafe
from gateway.store.faults import translating

__all__ = ["name_of", "open_postgres", "open_sqlite", "read_password", "translating"]

_BUSY_SECONDS = 20


_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-16000",
    "temp_store=MEMORY",
    "wal_autocheckpoint=2000",
)


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
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").close()
        except BaseException:  # what is no database; nobody else closes it then
            connection.close()
            raise

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("truc_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


_CONNECTIONS, _MORE_CONNECTIONS = 8, 8
"""Of one process: kept, and at most besides. A server allows a hundred by default."""
_IDLE_SECONDS = 60
"""After which the server ends a transaction whose process hangs: its locks must not stop the others for ever."""
_CONNECT_SECONDS = 10
_KEEP_ALIVE_SECONDS = 60
"""After which the system asks for a resting connection: a firewall forgets those that say nothing for long."""
_KEEP_ALIVE_AGAIN_SECONDS = 10
"""And once more so much later: then a server that went without a word, with something to answer, is given up."""
_PREPARED_AFTER = 1
"""How often the driver executes a statement before it prepares it, so that the server plans it once more and no more.
What is asked once, as by a command, takes no place among the plans that are kept.  (Those of the hops are prepared when
they are executed first: `gateway.store.trips`.)"""


_PLANS = {
    **dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"), "off"),
    "max_parallel_workers_per_gather": 0,
    "plan_cache_mode": "force_generic_plan",
}
"""Rows are found by an index, from table to table, however many there are.

The server keeps the plans of statements that come again, and a month's tables are empty when their first statements
come: reading the whole of an empty table is cheapest then, and stays the plan while it fills.  Statements of hops say
where their rows lie (`gateway.store.months.bounds`), so a plan that is kept is as good as one for known values and is
not made anew each time.  Two processes more for a few rows of many months, as a planner that counts the months would
have it, cost a hundred times what they spare.
"""


def open_postgres(address: str, *, node: str, password_file: str = "", wait_seconds: float = _BUSY_SECONDS) -> Engine:
    """An engine on a PostgreSQL database: `postgresql://user@host:port/name?sslmode=verify-full&…` (libpq's words).

    The password is the first line of `password_file`, read when connecting, so that it may be changed; without one,
    libpq's own ways hold (a password file in the home folder, a certificate, the socket's peer).  Waits up to
    `wait_seconds` for another's lock and for a free connection.  Does not connect yet.

    Connecting raises StoreUnsafe where the server does not keep what it confirms, whenever it came to be that one, and
    StorePooled where a pooler answers: it keeps the limits of waiting from the server, or lends what
    a session has set (a wake line's commits wait for no disk) to whoever comes next.
    """
    from gateway.store import sessions, trips  # with the driver, which a node on SQLite does not load

    told = {
        "lock_timeout": int(wait_seconds * 1000),
        "statement_timeout": trips.STATEMENT_SECONDS * 1000,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS * 1000,
        "synchronous_commit": "on",
        "jit": "off",  # short statements: compiling them costs more than it saves
        **_PLANS,
        "timezone": "UTC",
        "array_nulls": "on",  # lists of values go to the server as texts, in which NULL is none
    }
    engine = create_engine(
        make_url(address).set(drivername=sessions.DRIVER),
        isolation_level="AUTOCOMMIT",  # the driver's: transactions begin as `sessions` says
        pool_size=_CONNECTIONS,
        max_overflow=_MORE_CONNECTIONS,
        pool_timeout=wait_seconds,
        pool_pre_ping=True,
        pool_use_lifo=True,  # few connections do the work: each has caches and plans of its own
        connect_args={
            "application_name": f"truc {node} {os.getpid()}",
            "connect_timeout": _CONNECT_SECONDS,
            "client_encoding": "utf8",  # whatever the database, the role or the environment has for others
            "prepare_threshold": _PREPARED_AFTER,
            "keepalives_idle": _KEEP_ALIVE_SECONDS,
            "keepalives_interval": _KEEP_ALIVE_AGAIN_SECONDS,
            "tcp_user_timeout": int(wait_seconds * 1000),
            "options": " ".join(f"-c {name}={value}" for name, value in told.items()),
        },
    )
    event.listen(engine, "connect", _judge_server)
    event.listen(engine, "connect", _compress_fast)
    if password_file:

        @event.listens_for(engine, "do_connect")
        def _say_password(_dialect: Any, _record: Any, _arguments: Any, words: dict[str, Any]) -> None:
            words["password"] = read_password(password_file)

    return engine


def read_password(password_file: str) -> str:
    """The first line of the file. Raises StoreRefused where it cannot be read, or is no text."""
    try:
        return Path(password_file).read_text("utf-8").split("\n", 1)[0]
    except OSError as why:
        raise StoreRefused(why=str(why)) from why
    except UnicodeDecodeError as why:  # somebody else's file was put in its place
        raise StoreRefused(why=system_words(why)) from None


_SAFE = ("fsync", "full_page_writes")
"""Settings of the server without which a commit is no promise, and which no connection sets for itself."""


def _judge_server(connection: Any, _record: Any) -> None:
    """Before anything is done on it: another server may have taken the place of the one that was judged at the start.

    The server names its process when we connect; a pooler names what it made up.
    """
    asked = "".join(f", current_setting('{name}')" for name in _SAFE)
    process, *found = connection.execute(f"SELECT pg_backend_pid(){asked}").fetchone()
    connection.rollback()
    try:
        if process != (named := connection.info.backend_pid):
            raise StorePooled(why=f"pg_backend_pid {process} ≠ {named}")
        for name, value in zip(_SAFE, found, strict=True):
            if value == "off":
                raise StoreUnsafe(setting=name, value=value, wanted="on")
    except StoreBusy:
        connection.close()
        raise


_COMPRESS_FAST = (
    "SELECT set_config(name, 'lz4', false) FROM pg_settings "
    "WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"
)


def _compress_fast(connection: Any, _record: Any) -> None:
    """Rows of packets are long, with their seals, and the server packs them: its usual way was half of that statement.

    A value says itself how it is packed; a server that was built without LZ4 keeps its own way.
    """
    connection.execute(_COMPRESS_FAST)
    connection.commit()


def name_of(engine: Engine) -> str:
    """The database as people are told of it: never its password."""
    if engine.dialect.name == "sqlite":
        return str(engine.url.database)
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=True)
