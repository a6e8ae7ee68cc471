"""Fillings (nạp dữ liệu): which database a node may not open, because another one is being put into it, or its own rows
were moved away.

A move and a restore onto a server take many transactions.  Their database says from the first to the last that it is
being filled, and the database that is moved away says so before the first row is copied: at no moment, whoever was
killed when, can a node open both.  The table is made where one of these happens, and is no part of the schema: a copy
of a database leaves it out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, Table, Text, delete, insert, inspect, select
from sqlalchemy import update as update_rows

from gateway.model.errors import Conflict, StoreLeft, StoreMoved, StoreUnfinished
from gateway.store.dialect import AloneAt, lock_alone

__all__ = ["TABLE", "Filling", "FillingKind", "begin", "check_unused", "check_usable", "end", "find", "forget", "keep"]

TABLE: Final = "fillings"
_PATIENCE: Final = 15.0
_PAUSE: Final = 0.1

_fillings = Table(
    TABLE,
    MetaData(),  # its own: never copied, compared or migrated with the schema
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("other", Text, nullable=False),  # where from, or where to
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("progress", Text, nullable=False),  # JSON
)


class FillingKind(StrEnum):
    """What happens to a database."""

    MOVED_AWAY = "moved_away"  #: its rows go, or went, to another one: never opened again by a node
    MOVED_HERE = "moved_here"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """One move or restore. Both sides of a move have the same `id`; `progress` is whatever its doer keeps there."""

    id: str
    kind: FillingKind
    node: str
    other: str
    began_at: int
    ended_at: int | None
    progress: Mapping[str, Any]


def find(connection: Connection) -> Filling | None:
    """The last filling of this database, ended or not; None where there never was one."""
    if not inspect(connection).has_table(TABLE):
        return None
    newest = select(_fillings).order_by(_fillings.c.began_at.desc(), _fillings.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    if row is None:
        return None
    values = {**row._mapping, "kind": FillingKind(row.kind), "progress": json.loads(row.progress)}
    return Filling(**values)


def check_usable(engine: Engine) -> None:
    """Raises StoreMoved where a database's rows were moved away, StoreLeft where they were and the node went back from
    it, StoreUnfinished where it is not yet whole.
    """
    with engine.connect() as connection:
        found = find(connection)
    if found is not None and found.kind is FillingKind.MOVED_AWAY:
        raise StoreMoved(where=found.other)
    if found is not None and found.progress.get("is_left"):
        raise StoreLeft(other=found.other)
    if found is not None and found.ended_at is None:
        command = "truc restore" if found.kind is FillingKind.RESTORED else "truc store move"
        raise StoreUnfinished(other=found.other, command=command)


def begin(connection: Connection, filling: Filling) -> None:
    """Write down that the database is being filled, or left, from this transaction's commit on.

    Raises Conflict `move.taken` where something of the kind was begun and did not end, `move.in_use` where processes
    of a node work with the database.
    """
    lock_alone(connection, AloneAt.OPENING)
    check_unused(connection)
    _fillings.create(connection, checkfirst=True)
    now_found = find(connection)
    if now_found is not None and now_found.ended_at is None:
        raise Conflict("move.taken", owner=now_found.node)
    row = {
        "id": filling.id, "kind": filling.kind, "node": filling.node, "other": filling.other,
        "began_at": filling.began_at, "ended_at": filling.ended_at, "progress": json.dumps(dict(filling.progress)),
    }  # fmt: skip
    connection.execute(insert(_fillings), row)


_OTHERS = (
    "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database() "
    "AND usename = current_user AND application_name LIKE 'truc %%' AND application_name <> "
    "current_setting('application_name') ORDER BY 1"
)


def check_unused(connection: Connection) -> None:
    """Raises Conflict `move.in_use` where processes of a node, on whatever machine, are connected to a server's
    database; a file's are told by the lock of its folder.

    One that was killed is connected until the server notices: they are given some seconds to go.
    """
    if connection.dialect.name == "sqlite":
        return
    until = time.monotonic() + _PATIENCE
    while others := [str(row[0]) for row in connection.exec_driver_sql(_OTHERS)]:
        if time.monotonic() > until:
            raise Conflict("move.in_use", names=", ".join(others))
        time.sleep(_PAUSE)
        connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")


def keep(connection: Connection, filling_id: str, progress: Mapping[str, Any]) -> None:
    """Write down how far it came, in the transaction that came so far."""
    values = {"progress": json.dumps(dict(progress))}
    connection.execute(update_rows(_fillings).where(_fillings.c.id == filling_id).values(values))


def end(connection: Connection, filling_id: str, at: int | None) -> None:
    """It is whole as of `at`, from this transaction's commit on; None: it is not to be used (any more)."""
    connection.execute(update_rows(_fillings).where(_fillings.c.id == filling_id).values(ended_at=at))


def forget(connection: Connection, filling_id: str) -> None:
    """As if it had never been begun. Safe to repeat."""
    connection.execute(delete(_fillings).where(_fillings.c.id == filling_id))
