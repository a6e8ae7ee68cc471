"""Moving a node's rows from SQLite to PostgreSQL (chuyển kho), table by table, so that it may be killed at any moment.

    the old database says that it is left ── the new one that it is being filled ── batches by COPY, each with a note of
    how far it came, in one transaction ── both are read whole and compared ── the new one is the node's

Rows keep their values, events their order: an event's place is its row number in the old database, which is smaller
than any that the new one gives.  Nobody writes into either meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    bindparam,
    func,
    inspect,
    literal_column,
    select,
)

from edxml.crashpoints import crash_point, declare
from gateway.model.errors import Conflict, StoreBusy, StoreForeign
from gateway.model.instants import new_id, wall_now
from gateway.store.carrying import fillings
from gateway.store.carrying.fillings import Filling, FillingKind
from gateway.store.dialect import COMMIT_ORDER, AloneAt, check_durability, continue_order, lock_alone
from gateway.store.engines import name_of, translating
from gateway.store.handle import Store
from gateway.store.migrate import HEAD, found_revision, upgrade
from gateway.store.months.partitions import PARTITIONED, is_partitioned, made_at, make_month, month_of
from gateway.store.schema import events
from gateway.store.tables import metadata

__all__ = [
    "TableTotal",
    "claim_target",
    "close_source",
    "close_target",
    "copy_rows",
    "count_events",
    "finish_move",
    "leave_source",
    "total_rows",
]

declare("move.source_left", "the old database says that it is left; the new one knows of nothing")
declare("move.target_claimed", "the new database says that it is being filled; it has no tables yet")
declare("move.batch_copied", "some rows are in the new database, with a note of how far they go")
declare("move.copied", "every row is in the new database; nothing was compared")
declare("move.finished", "the new database is the node's; the old one does not know when that was")

_BATCH: Final = 2000
_POSITION: Final = "position"
_ROWID: ColumnElement[int] = literal_column("rowid")
_TABLES: Final[Sequence[Table]] = metadata.sorted_tables
_LARGEST: Final = 1 << 128

Tell = Callable[[str, int, int], object]
"""Told how far a step came: its word, how much is done, of how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTotal:
    """What a table holds: `digest` is the sum of its rows' SHA-256, whatever their order, in hex."""

    table: str
    rows: int
    digest: str


# --- the two sides -----------------------------------------------------------------------------------------------


def leave_source(source: Store, *, node: str, target: Engine) -> Filling:
    """Let the old database say that its rows go to `target`; what it says already, where it was begun before.

    Raises Conflict `move.elsewhere` where they go, or went, to another database; what `claim_target` raises where the
    new one takes nothing, and the old one is then as it was.  Crash points: move.source_left.
    """
    with source.read() as connection:
        found = fillings.find(connection)
    if found is None or found.kind is not FillingKind.MOVED_AWAY:
        _check_takes(target, node)
    with source.write() as connection:
        found = fillings.find(connection)
        if found is None or found.kind is not FillingKind.MOVED_AWAY:
            found = Filling(
                id=new_id(), kind=FillingKind.MOVED_AWAY, node=node, other=name_of(target),
                began_at=source.now(connection), ended_at=None, progress={},
            )  # fmt: skip
            fillings.begin(connection, found)
    crash_point("move.source_left")
    if found.other != name_of(target):
        raise Conflict("move.elsewhere", where=found.other)
    return found


def claim_target(target: Engine, left: Filling, *, source: str) -> Filling:
    """Make the new database this move's, with this program's schema; how far the move came there before.

    Raises Conflict `move.not_empty` where anything lies in it, `move.taken` where it is being filled from elsewhere,
    `move.went_back` where this move was taken back, `move.other_schema` where another release began it; StoreForeign
    where it is another node's, StoreUnsafe where it would not keep what it confirms, StoreBusy.
    Crash points: move.target_claimed.
    """
    with translating():
        with target.connect() as connection, connection.begin():
            check_durability(connection)
            lock_alone(connection, AloneAt.OPENING)
            found = fillings.find(connection)
            if found is None or found.id != left.id:
                _check_empty(connection, found, node=left.node)
                found = Filling(
                    id=left.id, kind=FillingKind.MOVED_HERE, node=left.node, other=source,
                    began_at=left.began_at, ended_at=None, progress={"schema": HEAD},
                )  # fmt: skip
                fillings.begin(connection, found)
        crash_point("move.target_claimed")
        if found.ended_at is None:
            if found.progress.get("is_left"):
                raise Conflict("move.went_back", where=name_of(target))
            if found.progress["schema"] != HEAD:
                raise Conflict("move.other_schema", found=found.progress["schema"], wanted=HEAD)
            upgrade(target)
    return found


def _check_takes(target: Engine, node: str) -> None:
    """Raises where a database would take no move of this node, before anything is written anywhere."""
    with translating(), target.connect() as connection, connection.begin():
        check_durability(connection)
        _check_empty(connection, fillings.find(connection), node=node)


def _check_empty(connection: Connection, found: Filling | None, *, node: str) -> None:
    """Raises where a database is not this move's to fill."""
    if found is not None and found.progress.get("is_left"):
        raise Conflict("move.went_back", where=name_of(connection.engine))
    if found is not None and found.ended_at is None:
        raise Conflict("move.taken", owner=found.node)
    there = inspect(connection).get_table_names()
    if metadata.tables["node"].name in there:
        owner = str(connection.execute(select(metadata.tables["node"].c.name)).scalar() or "")
        if owner and owner != node:
            raise StoreForeign(folder=name_of(connection.engine), owner=owner, node=node)
    if there:
        raise Conflict("move.not_empty", where=name_of(connection.engine), name=sorted(there)[0])


# --- the rows ----------------------------------------------------------------------------------------------------


def copy_rows(source: Store, target: Engine, filling: Filling, tell: Tell, *, ahead: int) -> None:
    """Copy every row that is not there yet, in the order in which rows came; `ahead`: months of tables made besides.

    Killed at any moment it goes on where it was: a batch and the note of it are one transaction.  Raises Conflict
    `move.unfit` naming a table with a value that PostgreSQL does not take, StoreBusy where the server is away.
    Crash points: move.batch_copied, move.copied.
    """
    progress: dict[str, Any] = dict(filling.progress)
    _make_months(source, target, ahead)
    with source.read() as connection:
        counts = {table.name: _count(connection, table) for table in _TABLES}
    done, total = sum(int(progress.get(f"{table.name}.rows", 0)) for table in _TABLES), sum(counts.values())
    tell("rows", done, total)
    for table in _TABLES:
        while rows := _read_batch(source, table, int(progress.get(f"{table.name}.after", 0))):
            progress[f"{table.name}.after"] = rows[-1][0]
            progress[f"{table.name}.rows"] = int(progress.get(f"{table.name}.rows", 0)) + len(rows)
            _write_batch(target, table, rows, filling.id, progress)
            crash_point("move.batch_copied")
            done += len(rows)
            tell("rows", done, total)
    crash_point("move.copied")


def _make_months(source: Store, target: Engine, ahead: int) -> None:
    """The months that the old database's rows belong to, so that none of them falls into the rest, and those that a
    new node has from its first day: the job that makes them is not due for an hour.  Safe to repeat.
    """
    with source.read() as connection:
        firsts = [connection.execute(_first_id(table, column)).scalar() for table, column in PARTITIONED.items()]
    known = [made_at(first) for first in firsts if first]
    month, last = month_of(min(known, default=wall_now())), month_of(wall_now()).later(ahead)
    while month <= last:
        with translating(), target.connect() as connection, connection.begin():
            if is_partitioned(connection):
                for table in PARTITIONED:
                    make_month(connection, table, month)
        month = month.later(1)


def _first_id(table: str, column: str) -> Select[str]:
    found = metadata.tables[table].c[column]
    return select(func.min(found)).where(found > "")


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _read_batch(source: Store, table: Table, after: int) -> Sequence[Sequence[Any]]:
    """The next rows, each behind its row number."""
    rows = select(_ROWID, *table.c).where(bindparam("after") < _ROWID).order_by(_ROWID).limit(_BATCH)
    with source.read() as connection:
        return connection.execute(rows, {"after": after}).all()


def _write_batch(
    target: Engine, table: Table, rows: Sequence[Sequence[Any]], filling_id: str, progress: dict[str, Any]
) -> None:
    names = [column.name for column in table.c]
    if table is events:
        names.append(_POSITION)
    with translating(), target.connect() as connection, connection.begin():
        quoted = connection.dialect.identifier_preparer.quote
        statement = f"COPY {quoted(table.name)} ({', '.join(map(quoted, names))}) FROM STDIN"
        server = connection.connection.driver_connection
        assert isinstance(server, psycopg.Connection)
        try:
            with server.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row([*row[1:], row[0]] if table is events else row[1:])
        except psycopg.DataError as why:
            raise Conflict("move.unfit", table=table.name, why=str(why).split("\n", 1)[0]) from why
        except psycopg.OperationalError as why:
            raise StoreBusy(why=str(why).split("\n", 1)[0]) from why
        fillings.keep(connection, filling_id, progress)


# --- control totals ----------------------------------------------------------------------------------------------


def total_rows(engine: Engine, tell: Tell, step: str) -> tuple[TableTotal, ...]:
    """What every table of a database holds, all columns of all rows read; events with their places."""
    found = []
    for number, table in enumerate(_TABLES):
        tell(step, number, len(_TABLES))
        columns = [*table.c, COMMIT_ORDER.label(_POSITION)] if table is events else [*table.c]
        rows = total = 0
        with translating(), engine.connect() as connection, connection.begin():
            streamed = connection.execution_options(stream_results=True, yield_per=_BATCH)
            for row in streamed.execute(select(*columns)):
                rows += 1
                total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode("utf-8", "surrogatepass")).digest())
        found.append(TableTotal(table=table.name, rows=rows, digest=f"{total % _LARGEST:032x}"))
    tell(step, len(_TABLES), len(_TABLES))
    return tuple(found)


def count_events(engine: Engine) -> int:
    """How many events a database holds, of whatever."""
    with translating(), engine.connect() as connection, connection.begin():
        return _count(connection, events)


# --- the end -----------------------------------------------------------------------------------------------------


def finish_move(source: Store, target: Engine, filling: Filling) -> None:
    """Let the new database be the node's, then let the old one say since when. Safe to repeat; call it when both were
    compared.  Crash points: move.finished.
    """
    assert found_revision(target) == HEAD, "the rows were compared in this program's schema"
    with source.read() as connection:
        now = source.now(connection)
    with translating(), target.connect() as connection, connection.begin():
        connection.execution_options(truc_writes=True)
        lock_alone(connection, AloneAt.OPENING)
        continue_order(connection)
        connection.exec_driver_sql("ANALYZE")
        fillings.end(connection, filling.id, now)
    crash_point("move.finished")
    close_source(source, filling.id, now)


def close_source(source: Store, filling_id: str, at: int) -> None:
    """Let the old database say since when the new one is the node's. Safe to repeat."""
    with source.write() as connection:
        fillings.end(connection, filling_id, at)


def close_target(target: Engine, left: Filling, *, moved: int, loses: bool) -> int | None:
    """Let nobody open the new database any more, for the way back.

    `moved`: how many events the old one holds.  Gives the moment at which the new one became the node's where anything
    happened there since; else None.  Raises Conflict `move.used_since` in that case, unless what happened is to be
    lost, `move.in_use` where processes work with it; StoreBusy.  Safe to repeat: the first answer is kept.
    """
    with translating(), target.connect() as connection, connection.begin():
        lock_alone(connection, AloneAt.OPENING)
        fillings.check_unused(connection)
        found = fillings.find(connection)
        if found is None or found.id != left.id:
            return None  # the move never came so far
        if not found.progress.get("is_left"):
            came = 0 if found.ended_at is None else _count(connection, events) - moved
            if came and not loses:
                raise Conflict("move.used_since", count=came)
            since = found.ended_at if came else None
            fillings.keep(connection, found.id, {**found.progress, "is_left": True, "since": since})
            fillings.end(connection, found.id, None)
            return since
        known: int | None = found.progress["since"]
        return known
