"""What must run once on a node: a row with a lease per job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, select, update

from gateway.model.instants import CLOCKS_APART
from gateway.store.dialect import insert_ignore
from gateway.store.schema import jobs

__all__ = ["JobRow", "Standing", "give_back", "list_jobs", "standing", "take"]

_ALL = select(jobs).order_by(jobs.c.name)

_TAKE = (
    update(jobs)
    .where(
        jobs.c.name == bindparam("b_name"),
        (jobs.c.done_at <= bindparam("before")) | (jobs.c.done_at > bindparam("later")),
        (jobs.c.lease_until <= bindparam("now"))
        | (jobs.c.holder == bindparam("who"))
        | (jobs.c.lease_until > bindparam("longest")),
    )
    .values(holder=bindparam("who"), lease_until=bindparam("until"), done_at=bindparam("done"))
)


def take(connection: Connection, name: str, worker: str, *, now: int, seconds: float, every: float = 0.0) -> bool:
    """Whether this worker may do job `name` now: nobody else holds it, and it was not done within `every` seconds.

    A holder that dies loses it after `seconds`; the same worker may take it again at any time.  What a clock that
    was ahead told, a lease longer than `seconds` or a job done in the future, keeps nobody from it (protocol §13).
    """
    insert_ignore(connection, jobs, [{"name": name, "holder": "", "lease_until": 0, "done_at": 0}], "name")
    values = {
        "b_name": name,
        "who": worker,
        "now": now,
        "until": now + int(seconds * 1e6),
        "longest": now + int(seconds * 1e6) + CLOCKS_APART,
        "before": now - int(every * 1e6),
        "later": now + CLOCKS_APART,
        "done": now if every else 0,
    }
    return connection.execute(_TAKE, values).rowcount == 1


_GIVE_BACK = update(jobs).where(jobs.c.holder == bindparam("who")).values(holder="", lease_until=0)


def give_back(connection: Connection, worker: str) -> None:
    """This worker ends: whatever it held may be taken at once. What it did within `every` stays done."""
    connection.execute(_GIVE_BACK, {"who": worker})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job: who holds it and until when, and when it was last done (0: never, or not counted)."""

    name: str
    holder: str
    lease_until: int
    done_at: int


def list_jobs(connection: Connection) -> tuple[JobRow, ...]:
    """Every job that was ever taken, by name."""
    return tuple(JobRow(**row._mapping) for row in connection.execute(_ALL))


class Standing(StrEnum):
    """How a job stands with one worker."""

    OURS = "ours"  #: held by it for a while yet: it may do the job without taking it anew
    FREE = "free"  #: `take` decides
    SHUT = "shut"  #: `take` would say no: another one holds it, or it was done a short while ago


def standing(row: JobRow | None, worker: str, *, now: int, seconds: float, every: float = 0.0) -> Standing:
    """How a job stands that `worker` would take for `seconds`; None: nobody ever took it. Pure; as `take` sees it.

    A lease counts as held while more than half of `seconds` is left of it.  What is done every so often is taken
    each time: that writes down when.
    """
    if row is None:
        return Standing.FREE
    lease, latest = int(seconds * 1e6), now + CLOCKS_APART
    is_held = now < row.lease_until <= lease + latest
    if every:
        was_done = now - int(every * 1e6) < row.done_at <= latest
    elif row.holder == worker:
        return Standing.OURS if is_held and row.lease_until > now + lease // 2 else Standing.FREE
    else:
        was_done = False
    return Standing.SHUT if was_done or (is_held and row.holder != worker) else Standing.FREE
