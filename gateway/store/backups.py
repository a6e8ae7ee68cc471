"""Backups (sao lưu) as the node knows of them: when the last one was whole. The event says which, and who made it."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select, update

from gateway.model.events import Event, EventKind
from gateway.store import events, schema
from gateway.store.dialect import insert_ignore
from gateway.store.schema import jobs

__all__ = ["last_backup", "newest_moment", "note", "unsaved_since"]

_JOB = "backup"
_LAST = select(jobs.c.done_at).where(jobs.c.name == _JOB)
_MADE = select(schema.node.c.created_at)
_NEWEST = select(func.max(schema.events.c.recorded_at))
_NOTE = update(jobs).where(jobs.c.name == _JOB, jobs.c.done_at < bindparam("at")).values(done_at=bindparam("at"))


def note(connection: Connection, *, name: str, at: int, now: int, actor: str) -> None:
    """Write down that the backup `name` of the moment `at` is whole."""
    insert_ignore(connection, jobs, [{"name": _JOB, "holder": "", "lease_until": 0, "done_at": 0}], "name")
    connection.execute(_NOTE, {"at": at})
    made = Event(kind=EventKind.NODE_BACKED_UP, at=now, actor=actor, reason=name)
    events.append(connection, [made], now)


def last_backup(connection: Connection) -> int | None:
    """The moment of the last whole backup that this store knows of; None where there never was one."""
    return int(connection.execute(_LAST).scalar() or 0) or None


def unsaved_since(connection: Connection) -> int | None:
    """Since when nothing is in a backup: the last one's moment, or when the node was made; None in an empty store."""
    found = last_backup(connection)
    return found if found is not None else connection.execute(_MADE).scalar()


def newest_moment(connection: Connection) -> int:
    """When the last event that this store knows was recorded: what came later is unknown to it."""
    return int(connection.execute(_NEWEST).scalar() or 0)
