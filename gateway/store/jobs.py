"""What must run once on a node: a row with a lease per job."""

from __future__ import annotations

from sqlalchemy import bindparam, update

from gateway.store.dialect import insert_ignore
from gateway.store.handle import Store
from gateway.store.schema import jobs

__all__ = ["take"]

_TAKE = (
    update(jobs)
    .where(
        jobs.c.name == bindparam("b_name"),
        jobs.c.done_at <= bindparam("before"),
        (jobs.c.lease_until <= bindparam("now")) | (jobs.c.holder == bindparam("who")),
    )
    .values(holder=bindparam("who"), lease_until=bindparam("until"), done_at=bindparam("done"))
)


def take(store: Store, name: str, worker: str, *, seconds: float, every: float = 0.0) -> bool:
    """Whether this worker may do job `name` now: nobody else holds it, and it was not done within `every` seconds.

    A holder that dies loses it after `seconds`; the same worker may take it again at any time.
    """
    with store.write() as connection:
        now = store.now(connection)
        insert_ignore(connection, jobs, [{"name": name, "holder": "", "lease_until": 0, "done_at": 0}], "name")
        values = {
            "b_name": name,
            "who": worker,
            "now": now,
            "until": now + int(seconds * 1e6),
            "before": now - int(every * 1e6),
            "done": now if every else 0,
        }
        return connection.execute(_TAKE, values).rowcount == 1
