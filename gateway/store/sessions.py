"""How transactions begin on PostgreSQL: with the server's clock in the same round trip, on a connection that lives.

A connection that is taken from the pool is asked whether it lives only where that is not plain: where it was not used
for a while, or where the server has said something unasked, which is what it does when it closes one.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, NamedTuple

import psycopg
from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from gateway.model.instants import boot_now

__all__ = ["DRIVER", "For", "Looked", "Sessions", "begins", "clock_at_begin", "look"]

DRIVER: Final = "postgresql+truc"
"""The driver's name in an engine's address. Its connections begin no transaction by themselves."""


class For(Enum):
    """What a transaction is for; to write where nobody says so."""

    WRITING = "writing"
    READING = "reading"  #: one view of everything, and nothing changes
    READING_HOPS = "hops"  #: the same, by plans that the server keeps


class Looked(NamedTuple):
    """What the server's clock told, between two readings of this machine's boot-time clock; microseconds."""

    before: int
    told: int
    after: int


_CLOCK: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

_UNUSED_SECONDS: Final = 30.0
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN: Final = {
    For.WRITING: f"BEGIN ISOLATION LEVEL READ COMMITTED; {_CLOCK}",
    For.READING: f"{_READ}; {_CLOCK}; SET LOCAL plan_cache_mode = auto; SET LOCAL enable_bitmapscan = on",
    For.READING_HOPS: f"{_READ}; {_CLOCK}",
}


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that knows what its transactions are for."""

    used_at = float("-inf")
    how = For.WRITING
    is_brief = False  #: it is used once
    clock: Looked | None = None  #: of the server, while the transaction has executed nothing else


class Sessions(PGDialect_psycopg):
    """SQLAlchemy's way to psycopg, with transactions that begin as said above."""

    supports_statement_cache = True

    def connect(self, *given: Any, **named: Any) -> Any:
        """A new connection."""
        return _Session.connect(*given, **named)

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin, and take the clock: statements in one message, which the driver must not prepare."""
        session: _Session = dbapi_connection.dbapi_connection
        before = boot_now()
        with session.cursor() as cursor:
            cursor.execute(_BEGIN[session.how], prepare=False)
            cursor.nextset()
            told = cursor.fetchone()
            session.clock = Looked(before, told[0], boot_now()) if told else None
        session.used_at = time.monotonic()

    def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """As the driver does; from now on the clock of the beginning is of the past."""
        cursor.connection.clock = None
        super().do_execute(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]

    def do_executemany(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """As the driver does; from now on the clock of the beginning is of the past."""
        cursor.connection.clock = None
        super().do_executemany(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether the connection lives; not asked where it was used a moment ago and nothing came since."""
        session: _Session = dbapi_connection
        if session.is_brief:
            return False
        if time.monotonic() - session.used_at < _UNUSED_SECONDS and _is_quiet(session):
            return True
        return bool(super().do_ping(dbapi_connection))  # type: ignore[no-untyped-call]


def _is_quiet(session: _Session) -> bool:
    """Whether nothing of the server's lies there to be read: neither a last word nor the end."""
    looking = select.poll()
    looking.register(session.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    return not looking.poll(0)


@contextmanager
def begins(connection: Connection, how: For) -> Iterator[None]:
    """Let transactions that begin on this connection meanwhile be for that.

    (An option of the connection and a listener for its begin do as well, and every transaction pays for them.)
    """
    session: Any = connection.connection.dbapi_connection
    session.how = how
    try:
        yield
    finally:
        session.how = For.WRITING  # whoever is lent it next may say nothing


def clock_at_begin(connection: Connection) -> Looked | None:
    """The server's clock, where this transaction has executed nothing since it was told."""
    session: Any = connection.connection.dbapi_connection
    clock: Looked | None = session.clock
    return clock


def look(connection: Connection) -> Looked:
    """The server's clock, asked for now."""
    before = boot_now()
    told: int = connection.exec_driver_sql(_CLOCK).scalar_one()
    return Looked(before, told, boot_now())


registry.register(DRIVER.replace("+", "."), __name__, Sessions.__name__)
