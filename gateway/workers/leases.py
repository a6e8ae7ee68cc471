"""Leases: which process of a node does a job that one does at a time. (A turn is another thing: docs/glossary.md.)"""

from __future__ import annotations

from gateway.model.errors import StoreError
from gateway.node import Node
from gateway.store import jobs
from gateway.store.repeating import repeated_where_undone
from monitoring import log

__all__ = ["give_back_jobs", "may_do"]

_log = log.get("leases")


@repeated_where_undone
def may_do(node: Node, job: str, seconds: float, *, every: float = 0.0) -> bool:
    """Whether this process may do `job` now and for `seconds`: no other holds it, nor did it within `every` seconds.

    After a crash the next process takes it once `seconds` have passed; two at once harm nothing, by each job's nature.
    """
    with node.store.write() as connection:
        now = node.store.now(connection)
        return jobs.take(connection, job, node.worker, now=now, seconds=seconds, every=every)


def give_back_jobs(node: Node) -> None:
    """This process ends: the next one need not wait for its leases."""
    try:
        with node.store.write() as connection:
            jobs.give_back(connection, node.worker)
    except StoreError as why:  # they run out by themselves
        _log.warning("jobs.not_given_back", reason=why.code)
