"""A copy of the database as it was at one moment, while others go on writing (sao lưu).

The second place, beside `gateway.store.dialect`, that knows which database it talks to: SQLite copies itself page by
page inside one read transaction, so the copy is one snapshot and writers are not kept waiting.  (VACUUM INTO would do,
but writes every row and index anew, and says nothing until it is done.)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, bindparam, func, select

from gateway.model.errors import BlobDamaged, BlobMissing, StoreDamaged
from gateway.model.room import out_of_room
from gateway.store.blobs import BlobFolder
from gateway.store.schema import deliveries, events, packets, transfers

__all__ = ["BlobSize", "blobs_by_digest", "copy_database", "count_rows", "find_lacking"]

_STEP_PAGES: Final = 1024
_PAGE: Final = 5000

BlobSize = tuple[str, int]
"""The digest of a blob, and how many bytes it has."""


def copy_database(connection: Connection, target: Path, tell: Callable[[int, int], object]) -> None:
    """Copy what this read transaction sees into the new file `target`, not synced yet; `tell`: pages done, of how many.

    Raises StoreDamaged where the copy does not hold together: so does the original; OSError where there is no room.
    """
    assert connection.dialect.name == "sqlite", "PostgreSQL is backed up by its own tools"
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)
    connection.execute(_ANY)  # from here on the transaction sees one moment
    with closing(sqlite3.connect(target)) as copy:
        try:
            source.backup(copy, pages=_STEP_PAGES, progress=lambda _status, left, total: tell(total - left, total))
        except sqlite3.OperationalError as why:
            if why.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise out_of_room(target) from why
            raise
    with closing(sqlite3.connect(f"file:{target}?mode=ro&immutable=1", uri=True)) as copy:
        try:
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as why:
            raise StoreDamaged(why=str(why)) from why
    if found != "ok":
        raise StoreDamaged(why=str(found))


_ANY = select(packets.c.id).limit(1)
_BLOBS = (
    select(packets.c.blob, packets.c.size)
    .distinct()
    .where(packets.c.blob != "", packets.c.blob > bindparam("after"))
    .order_by(packets.c.blob)
    .limit(_PAGE)
)
_COUNTED: Sequence[Table] = (packets, deliveries, transfers, events)


def blobs_by_digest(connection: Connection) -> Iterator[BlobSize]:
    """Every blob that a packet needs, each once, in the order of their digests; a page in memory at a time."""
    after = ""
    while rows := connection.execute(_BLOBS, {"after": after}).all():
        for row in rows:
            if row.blob != after:
                yield row.blob, row.size
            after = row.blob


def count_rows(connection: Connection) -> dict[str, int]:
    """How many rows the large tables have: what a restored database is held against."""
    return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _COUNTED}


def find_lacking(connection: Connection, blobs: BlobFolder) -> list[str]:
    """Digests of the blobs that packets need and the folder does not have, or has of another size; none is read."""
    lacking = []
    for digest, size in blobs_by_digest(connection):
        try:
            with blobs.open(digest) as found:
                is_there = os.fstat(found.fileno()).st_size == size
        except (BlobMissing, BlobDamaged):
            is_there = False
        if not is_there:
            lacking.append(digest)
    return lacking
