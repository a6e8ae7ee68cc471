"""A PostgreSQL database into one file and back, by the server's own programs (pg_dump, pg_restore).

The dump is what one of our reading transactions sees, so that the list of packets beside it is of the same moment.
Both programs belong to the Debian package `postgresql-client`, and must be of the server's release or a later one.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, select

from gateway.model.errors import Conflict, NotFound, StoreForeign, StoreProgram
from gateway.model.room import out_of_room
from gateway.store import schema
from gateway.store.carrying import fillings
from gateway.store.carrying.fillings import Filling
from gateway.store.dialect import AloneAt, check_durability, lock_alone
from gateway.store.engines import name_of, open_postgres, read_password

__all__ = ["DatabaseAccess", "claim_database", "claim_rows", "dump_database", "load_database"]

_DUMP: Final = (
    "pg_dump",
    "--format=custom",
    "--no-owner",
    "--no-privileges",
    "--no-password",
    "--lock-wait-timeout=60s",
)
_NO_ROOM: Final = os.strerror(errno.ENOSPC)
_LOAD: Final = (
    "pg_restore",
    "--no-owner",
    "--no-privileges",
    "--no-password",
    "--single-transaction",
    "--exit-on-error",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAccess:
    """How a node's PostgreSQL database is reached, as the settings have it."""

    address: str
    node: str
    password_file: str = ""
    wait_seconds: float = 20.0

    def open(self) -> Engine:
        """An engine on it. Dispose of it."""
        return open_postgres(
            self.address, node=self.node, password_file=self.password_file, wait_seconds=self.wait_seconds
        )


def dump_database(connection: Connection, access: DatabaseAccess, target: Path) -> None:
    """Write what this reading transaction sees into the new file `target`, not synced yet.

    Raises StoreProgram where pg_dump is missing, too old, or says no, OSError where `target` has no room; what it
    wrote is no dump then.
    """
    # Nothing is said on this connection while the program works, and its snapshot ends with it.
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
    try:
        _run((*_DUMP, f"--snapshot={snapshot}", f"--exclude-table={fillings.TABLE}", f"--file={target}"), access)
    except StoreProgram as why:
        said = str(why.params["why"])
        if "output file" in said and said.endswith(_NO_ROOM):  # its own disk, not the server's
            raise out_of_room(target) from why
        raise


def load_database(access: DatabaseAccess, source: Path) -> None:
    """Put a dump into a database that was claimed, in one transaction: all of it is there, or nothing.

    Raises StoreProgram.
    """
    _run((*_LOAD, str(source)), access)


def _run(command: Sequence[str], access: DatabaseAccess) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise StoreProgram(program=command[0], why="not found")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if access.password_file:
        kept["PGPASSWORD"] = read_password(access.password_file)
    done = subprocess.run(  # noqa: S603 - the two programs above, by our own words and the operator's address
        [program, *command[1:], f"--dbname={access.address}"],
        env=kept | {"LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n", 1)[0]
        raise StoreProgram(program=command[0], why=said or f"exit code {done.returncode}")


# --- a database to be filled -------------------------------------------------------------------------------------


def claim_database(connection: Connection, filling: Filling) -> Filling:
    """Make an empty database this restore's, or find it so; whatever an earlier run of it has put there is removed.

    Gives the filling as the database has it: with `ended_at` where the restore had ended.  Raises Conflict
    `restore.database_not_empty` where anything else lies in it, `move.taken` where something else fills it,
    `move.in_use` where processes work with it; StoreUnsafe.
    """
    check_durability(connection)
    lock_alone(connection, AloneAt.OPENING)
    found = fillings.find(connection)
    if found is not None and found.id == filling.id:
        if found.ended_at is None:
            fillings.check_unused(connection)
            _clear(connection)
        return found
    if found is not None and found.ended_at is None:
        raise Conflict("move.taken", owner=found.node)
    there = [name for name in _names(connection, _TABLES) if name != fillings.TABLE]
    if there or found is not None:
        raise Conflict("restore.database_not_empty", name=(there or [fillings.TABLE])[0])
    fillings.begin(connection, filling)
    return filling


def claim_rows(connection: Connection, filling: Filling) -> Filling:
    """Let nobody open a database that holds a node's rows, put back by the server's own tools, until `filling` ends.

    Raises NotFound `restore.no_rows` where it holds none, StoreForeign where they are another node's, and as
    `claim_database`.
    """
    check_durability(connection)
    lock_alone(connection, AloneAt.OPENING)
    found = fillings.find(connection)
    if found is not None and found.id == filling.id:
        return found
    if found is not None and found.ended_at is None:
        raise Conflict("move.taken", owner=found.node)
    owner = None
    if schema.node.name in _names(connection, _TABLES):
        owner = connection.execute(select(schema.node.c.name)).scalar()
    if owner is None:
        raise NotFound("restore.no_rows", where=name_of(connection.engine))
    if owner != filling.node:
        raise StoreForeign(folder=name_of(connection.engine), owner=owner, node=filling.node)
    fillings.begin(connection, filling)
    return filling


_TABLES: Final = (
    "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1"
)
_SEQUENCES: Final = (
    "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND relkind = 'S' ORDER BY 1"
)
_ROUTINES: Final = (
    "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace ORDER BY 1"
)


def _names(connection: Connection, question: str) -> list[str]:
    return [str(row[0]) for row in connection.exec_driver_sql(question)]


def _clear(connection: Connection) -> None:
    """Everything but the note of the filling: this database was empty when it was claimed."""
    for kind, question in (("TABLE", _TABLES), ("SEQUENCE", _SEQUENCES), ("ROUTINE", _ROUTINES)):
        for name in _names(connection, question):
            if name != fillings.TABLE:
                connection.exec_driver_sql(f"DROP {kind} IF EXISTS {name} CASCADE")
