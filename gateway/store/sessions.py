"""How transactions begin on PostgreSQL: with the server's clock in the same round trip, on a connection that lives.

A connection that is taken from the pool is asked whether it lives only where that is not plain: where it was not used
for a while, or where the server has said something unasked, which is what it does when it closes one.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from gateway.model.instants import boot_now
from gateway.store.dialect import SERVER_CLOCK
from gateway.store.faults import is_outlived
from gateway.store.statements import Asked
from gateway.store.trips import Told, Traveller

__all__ = ["DRIVER", "For", "Looked", "Sessions", "ask_first", "begins", "clock_at_begin", "look"]

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


_CLOCK: Final = Asked(f"SELECT {SERVER_CLOCK}", {}, tuple)
_COMMIT: Final = Asked("COMMIT", {}, None)
_ROLLBACK: Final = Asked("ROLLBACK", {}, None)
_LIVES: Final = Asked("SELECT 1", {}, None)

_UNUSED_SECONDS: Final = 30.0
_READ: Final = Asked("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", {}, None)
_BEGIN: Final = {
    For.WRITING: (Asked("BEGIN ISOLATION LEVEL READ COMMITTED", {}, None),),
    For.READING: (
        _READ,
        Asked("SET LOCAL plan_cache_mode = auto", {}, None),
        Asked("SET LOCAL enable_bitmapscan = on", {}, None),
    ),
    For.READING_HOPS: (_READ,),
}


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that knows what its transactions are for."""

    used_at = float("-inf")
    how = For.WRITING
    is_brief = False  #: it is used once
    clock: Looked | None = None  #: of the server, while the transaction has executed nothing else
    asks_first = False  #: the next transaction begins with its first statement
    is_put_off = False  #: this one has not begun yet
    is_over = False  #: this one ended with its last statement
    is_undone = False  #: and its commit failed
    _traveller: Traveller | None = None

    @property
    def traveller(self) -> Traveller:
        """What sends statements on it."""
        if self._traveller is None:
            self._traveller = Traveller(self)
        return self._traveller

    def _deallocate(self, name: bytes | None) -> Any:
        """The driver has the server forget what was prepared: one statement of its own, or (None) everything."""
        if name is None:
            self.traveller.forget()
        return super()._deallocate(name)


def _session(lent: Any) -> _Session:
    """Of what the pool lends, or of the connection itself."""
    session: _Session = getattr(lent, "dbapi_connection", lent)
    return session


class Sessions(PGDialect_psycopg):
    """SQLAlchemy's way to psycopg, with transactions that begin as said above."""

    supports_statement_cache = True

    def connect(self, *given: Any, **named: Any) -> Any:
        """A new connection."""
        return _Session.connect(*given, **named)

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin, and take the clock, in one trip; or, where that was asked for, with the first statement."""
        session = _session(dbapi_connection)
        session.used_at = time.monotonic()
        session.is_over = session.is_undone = False
        session.is_put_off, session.asks_first = session.asks_first, False
        if not session.is_put_off:
            _begin(session)

    def travel(self, lent: Any, asked: Sequence[Asked], is_last: bool) -> Told:
        """Execute these on what the pool lends, in one trip, as `Traveller.travel` does.

        A transaction that was put off begins before them, and the clock is taken behind them; where it could not begin
        it does so before the next.  `is_last`: it is committed behind them, where none of them fails; nothing may be
        executed in it afterwards, whether the server has committed it or could not.
        """
        session = _session(lent)
        session.clock = None
        if not session.is_put_off and not is_last and not session.is_over:
            return session.traveller.travel(asked)
        _refuse_if_over(session)
        begins = session.is_put_off
        first = _BEGIN[session.how] if begins else ()
        before = boot_now()
        answers, why = session.traveller.travel(
            [*first, *asked, *((_CLOCK,) if begins else ()), *((_COMMIT,) if is_last else ())]
        )
        end = len(first) + len(asked)
        if why is None and begins:
            session.clock = Looked(before, answers[end][0][0], boot_now())
        has_begun = len(answers) >= len(first)
        session.is_put_off = not has_begun
        session.is_over = is_last and has_begun and session.pgconn.transaction_status == TransactionStatus.IDLE
        session.is_undone = session.is_over and why is not None
        return Told(answers[len(first) : end], why)

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit, where anything is open.

        Raises InFailedSqlTransaction where a statement, or the commit that went along with the last one, failed before
        and somebody went on: the server would undo all of it, and call that well done.
        """
        session = _session(dbapi_connection)
        if session.is_undone or session.pgconn.transaction_status == TransactionStatus.INERROR:
            raise psycopg.errors.InFailedSqlTransaction("a statement failed: nothing of this transaction is kept")
        _end(session, _COMMIT)

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Undo, where anything is open. What was prepared stays so."""
        _end(_session(dbapi_connection), _ROLLBACK)

    def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """As the driver does; from now on the clock of the beginning is of the past."""
        _go_on(cursor.connection)
        super().do_execute(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]

    def do_executemany(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """As the driver does; from now on the clock of the beginning is of the past."""
        _go_on(cursor.connection)
        super().do_executemany(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether the connection is lost, or what is prepared on it was outlived: all are made anew then."""
        return is_outlived(e) or bool(super().is_disconnect(e, connection, cursor))  # type: ignore[no-untyped-call]

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether the connection lives; not asked where it was used a moment ago and nothing came since."""
        session: _Session = dbapi_connection
        if session.is_brief:
            return False
        if time.monotonic() - session.used_at < _UNUSED_SECONDS and _is_quiet(session):
            return True
        session.traveller.go([_LIVES])  # the driver would wait for ever for a server that says nothing
        return True


def _begin(session: _Session) -> None:
    before = boot_now()
    *_, ((told,),) = session.traveller.go([*_BEGIN[session.how], _CLOCK])
    session.clock = Looked(before, told, boot_now())


def _go_on(session: _Session) -> None:
    """Something is about to be executed by the driver's cursor."""
    _refuse_if_over(session)
    if session.is_put_off:
        _begin(session)
        session.is_put_off = False
    session.clock = None


def _refuse_if_over(session: _Session) -> None:
    if session.is_undone:
        raise psycopg.errors.InFailedSqlTransaction("the commit failed: nothing of this transaction is kept")
    if session.is_over:
        raise psycopg.ProgrammingError("this transaction was committed with its last statement")


def _end(session: _Session, how: Asked) -> None:
    session.clock = None
    session.is_put_off = session.is_over = session.is_undone = False
    if session.pgconn.transaction_status != TransactionStatus.IDLE:
        session.traveller.go([how])


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


def ask_first(connection: Connection) -> None:
    """Let the next transaction on this connection begin with its first statement, in one trip with it."""
    session: Any = connection.connection.dbapi_connection
    session.asks_first = True


def clock_at_begin(connection: Connection) -> Looked | None:
    """The server's clock, where this transaction has executed nothing since it was told."""
    session: Any = connection.connection.dbapi_connection
    clock: Looked | None = session.clock
    return clock


def look(connection: Connection) -> Looked:
    """The server's clock, asked for now."""
    before = boot_now()
    told: int = connection.exec_driver_sql(_CLOCK.text).scalar_one()
    return Looked(before, told, boot_now())


registry.register(DRIVER.replace("+", "."), __name__, Sessions.__name__)
