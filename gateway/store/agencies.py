"""Agencies (cơ quan): the directory as rows, one per agency with everything dated in it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, insert, select, update

from gateway.store.schema import agencies
from gateway.store.versions import raise_directory
from routing.agency import Agency
from routing.directory import Directory
from routing.rows import COLUMNS, agencies_from_rows, as_rows

__all__ = ["changed_agencies", "load_agencies", "load_directory", "put_agencies"]

_ALL = select(agencies.c.id, agencies.c.data).order_by(agencies.c.id)
_INSERT = insert(agencies)
_UPDATE = update(agencies).where(agencies.c.id == bindparam("b_id")).values(data=bindparam("data"))


def load_agencies(connection: Connection) -> tuple[Agency, ...]:
    """Every agency, in order of id."""
    tables: dict[str, list[dict[str, object]]] = {table: [] for table in COLUMNS}
    for row in connection.execute(_ALL):
        for table, rows in json.loads(row.data).items():
            tables[table].extend(rows)
    return agencies_from_rows(tables)


def load_directory(connection: Connection) -> Directory:
    """The directory of this node. Raises DirectoryInvalid where the rows contradict each other."""
    return Directory.from_agencies(load_agencies(connection))


def changed_agencies(connection: Connection, wanted: Iterable[Agency]) -> tuple[Agency, ...]:
    """Those of `wanted` that are not stored, or stored otherwise."""
    stored = {row.id: row.data for row in connection.execute(_ALL)}
    return tuple(agency for agency in wanted if stored.get(agency.id) != _as_data(agency))


def put_agencies(connection: Connection, wanted: Iterable[Agency]) -> tuple[str, ...]:
    """Add agencies, or put them in the place of those with the same id; gives the ids that changed.

    A repeat changes nothing, and the directory's version neither.  The caller checks that the whole still makes a
    directory.  Nothing is ever removed: an agency ends by its dates, because old documents still name it.
    """
    known = {row.id for row in connection.execute(_ALL)}
    changed = changed_agencies(connection, wanted)
    added = [{"id": a.id, "data": _as_data(a)} for a in changed if a.id not in known]
    replaced = [{"b_id": a.id, "data": _as_data(a)} for a in changed if a.id in known]
    if added:
        connection.execute(_INSERT, added)
    if replaced:
        connection.execute(_UPDATE, replaced)
    if changed:
        raise_directory(connection)
    return tuple(agency.id for agency in changed)


def _as_data(agency: Agency) -> str:
    return json.dumps(as_rows((agency,)), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
