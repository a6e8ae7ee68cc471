"""One trip to PostgreSQL and back: statements that need nothing of each other's answers, sent and answered together.

    BEGIN · lock the chains · read the items · the clock        one trip
    write deliveries, transfers, events and counts · COMMIT     one trip

They are executed one after the other, each sees what was committed before it, and the first that fails ends the trip:
those behind it are not executed.  What fails is told when all have come back, so whoever sends a trip needs no answer
of its statements before its end.

A statement is prepared when a connection executes it first, under a name of this module's; the driver's own machinery
for parameters, preparing and results is passed by (it costs several times what libpq does), its errors are raised.
"""

from __future__ import annotations

import re
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from gateway.store.arrays import picker
from gateway.store.statements import Asked

__all__ = ["STATEMENT_SECONDS", "Lost", "Told", "Traveller"]

STATEMENT_SECONDS: Final = 300
"""After which the server itself ends a statement (`gateway.store.engines`)."""
_SILENT_SECONDS: Final = STATEMENT_SECONDS + 30
"""After which a server that has not said anything is given up: its disk hangs, or the process that served us, while its
system keeps the connection alive.  Whoever comes next connects anew, to whoever serves there by then."""
_KEPT: Final = 100
"""How many statements a connection keeps prepared; of more, those that were executed longest ago go with the next
transaction's beginning."""
_PLACE: Final = re.compile(r"%%|%\((\w+)\)s")
_ENDS: Final = (b"BEGIN", b"COMMIT", b"ROLLBACK")
"""These bear their text in their name, so that what goes over the wire tells where a transaction begins and ends."""
_NOT_PREPARED: Final = errors.InvalidSqlStatementName.sqlstate
_GOOD: Final = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY})


class Lost(psycopg.OperationalError):
    """The connection ended on the way: what became of its statements is not known."""


class Told(NamedTuple):
    """What came back of a trip: for each statement before the first that failed its rows, or how many there were."""

    answers: list[Any]
    why: psycopg.Error | None  #: the driver's error of that one; None where none failed


@cache
def _as_sent(text: str) -> tuple[bytes, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """The text with numbers for parameters, and what picks their values in this order."""
    names: dict[str, int] = {}

    def place(found: re.Match[str]) -> str:
        return "%" if found[1] is None else f"${names.setdefault(found[1], len(names) + 1)}"

    return _PLACE.sub(place, text).encode(), picker(tuple(names))


def _encoded(value: str | int | bytes | None) -> bytes | None:
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return value.encode()
    if isinstance(value, int):
        return b"%d" % value if type(value) is not bool else b"t" if value else b"f"
    return value


class Traveller:
    """Sends trips on one connection, which nothing else uses meanwhile."""

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._session = session
        self._wire: PGconn = session.pgconn
        self._reads = Transformer(session)
        self._prepared: dict[str, bytes] = {}
        self._leaving: list[bytes] = []
        self._number = 0
        self._poll = select.poll()
        self._poll.register(session.fileno(), select.POLLIN)

    def forget(self) -> None:
        """The server keeps none of the statements that were prepared."""
        self._prepared.clear()
        self._leaving.clear()

    def go(self, asked: Sequence[Asked]) -> list[Any]:
        """For each statement its rows, or how many there were. Raises the driver's error of the first that failed."""
        told = self.travel(asked)
        if told.why is not None:
            raise told.why
        return told.answers

    def travel(self, asked: Sequence[Asked]) -> Told:
        """The same, and what failed is told. Raises Lost, or the driver's OperationalError, where the connection was
        lost and nothing came back, or the server said nothing for five minutes and a half; DataError for a text that no
        column can hold.

        A connection that was lost, or whose thread was interrupted on the way, is closed.
        """
        given = [self._given(one) for one in asked]  # before anything is sent: what cannot be told is an error
        wire = self._wire
        if wire.status != ConnStatus.OK:
            raise Lost("the connection is closed" if self._session.closed else "the connection is lost")
        if self._leaving and wire.transaction_status == TransactionStatus.IDLE:
            self._let_go()
        answers, told = self._exchange(
            lambda: [self._send(one, *values) for one, values in zip(asked, given, strict=True)]
        )
        return self._read(asked, answers, iter(told))

    def _exchange(self, send: Callable[[], list[int]]) -> tuple[list[int], list[PGresult]]:
        """What is sent as one trip, by how many answers each of it has; and what came back."""
        try:
            self._wire.enter_pipeline_mode()
            answers = send()
            self._wire.pipeline_sync()
            told = self._await(sum(answers) + 1)
        except BaseException:
            self._session.close()
            raise
        if told and told[-1].status == ExecStatus.PIPELINE_SYNC:
            self._wire.exit_pipeline_mode()
        return answers, told

    def _let_go(self) -> None:
        """Let the server forget what others took the place of: between two transactions, on a trip of its own. Before a
        BEGIN on the same trip it would be a query of that transaction, and one that failed does nothing more.

        What the server does not know (any more) is gone all the same; it ends its trip there, and those behind it go on
        another one.
        """

        def send() -> list[int]:
            for name in self._leaving:
                self._wire.send_query_params(b'DEALLOCATE "%s"' % name, None)
            return [1] * len(self._leaving)

        while self._leaving:
            _, told = self._exchange(send)
            gone = list(takewhile(lambda result: result.status == ExecStatus.COMMAND_OK, told))
            del self._leaving[: len(gone) + 1]

    def _given(self, one: Asked) -> tuple[bytes, list[bytes | None], list[int] | None]:
        """The text, the parameters, and how they are written where some are bytes."""
        text, pick = _as_sent(one.text)
        values = pick(one.values)
        formats = [int(isinstance(value, bytes)) for value in values] if bytes in map(type, values) else None
        return text, [*map(_encoded, values)], formats

    def _send(self, one: Asked, text: bytes, values: list[bytes | None], formats: list[int] | None) -> int:
        """Send one statement, prepared before where it is not; gives how many answers will come."""
        name, answers = self._prepared.pop(one.text, None), 1
        if name is None:
            if len(self._prepared) >= _KEPT:
                self._leaving.append(self._prepared.pop(next(iter(self._prepared))))
            self._number += 1
            name = b"%s_%d" % (text if text.startswith(_ENDS) else b"truc", self._number)
            self._wire.send_prepare(name, text)
            answers += 1
        self._prepared[one.text] = name  # behind all that were executed before
        self._wire.send_query_prepared(name, values, formats)
        return answers

    def _await(self, count: int) -> list[PGresult]:
        """So many answers, that to the end of the trip the last; fewer where the connection was lost after some."""
        found: list[PGresult] = []
        unsent, is_over = self._wire.flush(), False
        while len(found) < count:
            try:
                unsent = self._listen(unsent)
            except psycopg.OperationalError:
                if found and self._wire.status != ConnStatus.OK:  # the server's last words say more
                    break
                raise
            result = self._wire.get_result()
            if result is not None:
                found.append(result)
            elif is_over:
                break  # between two answers there is one pause
            is_over = result is None
        return found

    def _listen(self, unsent: int) -> int:
        """Wait for an answer, and go on sending while not all is sent; gives whether something is left. Raises Lost."""
        wire = self._wire
        while wire.is_busy():
            if unsent:
                self._poll.modify(wire.socket, select.POLLIN | select.POLLOUT)
            if not self._poll.poll(_SILENT_SECONDS * 1000):
                raise Lost(f"the server has said nothing for {_SILENT_SECONDS:g} s")
            wire.consume_input()
            if unsent and not (unsent := wire.flush()):
                self._poll.modify(wire.socket, select.POLLIN)
        return unsent

    def _read(self, asked: Sequence[Asked], answers: Sequence[int], came: Iterator[PGresult]) -> Told:
        read: list[Any] = []
        why: psycopg.Error | None = None
        for one, count in zip(asked, answers, strict=True):
            results = list(islice(came, count))
            good = list(takewhile(lambda result: result.status in _GOOD, results))
            if len(good) == count and why is None:
                read.append(self._rows(results[-1], one.row))
            elif why is None:
                failed = results[len(good)] if len(results) > len(good) else None
                why = Lost("the connection was lost") if failed is None else errors.error_from_result(failed)
            if len(good) < count - 1:
                self._prepared.pop(one.text, None)  # it was not prepared
        if why is not None and why.sqlstate == _NOT_PREPARED:
            self.forget()
        return Told(read, why)

    def _rows(self, result: PGresult, row: Callable[[Sequence[Any]], Any] | None) -> Any:
        if row is None:
            return result.command_tuples or 0
        self._reads.set_pgresult(result)
        return self._reads.load_rows(0, result.ntuples, row)
