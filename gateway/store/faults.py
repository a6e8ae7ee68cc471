"""What the errors of the two databases' libraries mean: every foreign exception becomes one of ours here."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from gateway.model.errors import (
    StoreAbsent,
    StoreBusy,
    StoreConflict,
    StoreCrowded,
    StoreDamaged,
    StoreError,
    StorePooled,
    StoreRefused,
    StoreUndone,
    StoreUnreachable,
    StoreUnsure,
    StoreUntrusted,
)

__all__ = ["Committing", "cause_of", "is_outlived", "translating"]

_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_AWAY_CLASSES: Final = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Of SQLSTATE: no connection, read-only or timed out, rolled back, out of room, locked, shut down, failing disk."""
_DAMAGED_STATES: Final = frozenset({"XX001", "XX002"})
_UNDONE_STATES: Final = frozenset({"40001", "40P01", "26000"})
"""Serialization failure, deadlock: undone for the sake of another transaction. And what was prepared is forgotten: it
is prepared anew the next time (`gateway.store.trips`)."""
_OUTLIVED: Final = ("0A000", "RevalidateCachedQuery")
"""A column's type is another than when the statement was prepared; the state, and where in the server it is said. The
words are in the server's language, and the state alone means much else."""
_ENDED_STATES: Final = frozenset({"57P01", "57P02", "57P05", "25P03", "25P04"})
"""The server ended the connection, and with it what was not committed: told to, after a crash, or after too long."""
_KEPT_OUT: Final = "42501"
"""Of a table or function that somebody gave to another role, or took the right to."""
_OUT_OF_SIGHT: Final = frozenset({"3F000", "42P01", "42883"})
"""A schema, table or function is not where it was: another search path, or a database that is being put back."""

_BY_WORDS: Final[tuple[tuple[re.Pattern[str], type[StoreBusy]], ...]] = (
    (re.compile(r"too many (clients|connections)|connection slots|no more connections allowed"), StoreCrowded),
    (re.compile(r'database "[^"]*" does not exist|no such database'), StoreAbsent),
    (re.compile(r"unsupported startup parameter"), StorePooled),
    (
        re.compile(
            r"authentication failed|no password supplied|no pg_hba\.conf entry|rejects connection"
            r'|not permitted to log in|role "[^"]*" does not exist|permission denied for database'
            r"|expected password response"
        ),
        StoreRefused,
    ),
    (re.compile(r"certificate|SSL|\btls\b", re.IGNORECASE), StoreUntrusted),
    (
        re.compile(
            r"resolve host|translate host name|Connection refused|No route to host|unreachable|timeout expired"
            r"|No such file or directory|Connection timed out"
        ),
        StoreUnreachable,
    ),
)
"""While connecting the library gives no SQLSTATE, only words; the server's are English where its `lc_messages` is.
The first that fits decides: where the server's rules keep us out it names the encryption too.  What fits none is
`store.busy` with the server's own words."""


class Committing:
    """Whether a transaction's COMMIT has been sent: from then on a lost connection does not say what became of it."""

    __slots__ = ("began",)

    def __init__(self) -> None:
        self.began = False

    def begin(self) -> None:
        """It is about to be sent."""
        self.began = True


@contextmanager
def translating(committing: Committing | None = None) -> Iterator[None]:
    """The database library's errors as ours; what is our own defect stays as it is.

    With `committing`, StoreUndone says that the transaction which it belongs to was certainly undone for no fault of
    its own, and may be run again, StoreUnsure that it may have been committed; neither is raised without.
    """
    try:
        yield
    except IntegrityError as why:
        raise StoreConflict(why=_say(why.orig)) from why
    except PoolExhausted as why:
        raise StoreBusy(why=str(why)) from why
    except DatabaseError as why:
        if committing is not None and _is_undone(why, committing):
            raise StoreUndone(why=_say(why.orig)) from why
        if committing is not None and committing.began and why.connection_invalidated:
            raise StoreUnsure(why=_say(why.orig)) from why
        ours = _ours(why.orig)
        if ours is None:
            raise
        raise ours(why=_say(why.orig)) from why


def is_outlived(why: BaseException | None) -> bool:
    """Whether a statement was prepared for tables that were changed since, and fails on this connection for ever."""
    state, place = _OUTLIVED
    return getattr(why, "sqlstate", None) == state and why.diag.source_function == place  # type: ignore[union-attr]


def cause_of(why: BaseException) -> str:
    """Why a connection is not there, for log lines: the code of the error of ours that it means; `ended_by_server`, or
    `cut` where it was there and nobody said why it ended."""
    if isinstance(why, StoreError):
        return why.reason
    told = getattr(why, "orig", None) or why
    state = getattr(told, "sqlstate", None)
    if state in _ENDED_STATES:
        return "ended_by_server"
    ours = _ours(told)
    return "cut" if ours is None or (ours is StoreBusy and state is None) else ours.code


def _say(why: BaseException | None) -> str:
    """One line of it: the rest says where in a statement, or what else might help."""
    return str(why).strip().split("\n", 1)[0]


def _is_servers(why: BaseException | None) -> bool:
    """Whether PostgreSQL's driver raised it, or one of its kinds; the driver is loaded only where it is used."""
    return any(kind.__module__.partition(".")[0] == "psycopg" for kind in type(why).__mro__)


def _is_undone(why: DatabaseError, committing: Committing) -> bool:
    """Whether the server has undone the transaction, as it would have had to without any fault of ours."""
    if not _is_servers(why.orig):
        return False
    state = getattr(why.orig, "sqlstate", None)
    if state in _UNDONE_STATES or is_outlived(why.orig):
        return True
    return why.connection_invalidated and not committing.began and (state is None or state in _ENDED_STATES)


def _ours(why: BaseException | None) -> type[StoreError] | None:
    if not _is_servers(why):
        code = getattr(why, "sqlite_errorcode", 0) & 0xFF
        return StoreBusy if code in _AWAY else StoreDamaged if code in _DAMAGED else None
    state = getattr(why, "sqlstate", None)
    if state is None:
        is_lost = any(kind.__name__ == "OperationalError" for kind in type(why).__mro__)
        return _by_words(str(why)) if is_lost else None
    if state in _DAMAGED_STATES:
        return StoreDamaged
    if state == _KEPT_OUT:
        return StoreRefused
    is_passing = state[:2] in _AWAY_CLASSES or state in _OUT_OF_SIGHT or is_outlived(why)
    return StoreBusy if is_passing else None


def _by_words(words: str) -> type[StoreBusy]:
    """What kept us from connecting; words about a connection that was there are no more than `store.busy`."""
    if not words.startswith(("connection ", "failed to resolve", "[Errno")):
        return StoreBusy
    return next((kind for pattern, kind in _BY_WORDS if pattern.search(words)), StoreBusy)
