"""Leases: which process of a node does a job that one does at a time. (A turn is another thing: docs/glossary.md.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.model.errors import GatewayError, StoreError
from gateway.node import Node
from gateway.store import jobs
from gateway.store.jobs import Standing
from gateway.store.repeating import repeated_where_undone
from monitoring import log

__all__ = ["Job", "do_due", "give_back_jobs", "may_do", "standings"]

_log = log.get("leases")


@repeated_where_undone
def may_do(node: Node, job: str, seconds: float, *, every: float = 0.0) -> bool:
    """Whether this process may do `job` now and for `seconds`: no other holds it, nor did it within `every` seconds.

    After a crash the next process takes it once `seconds` have passed; two at once harm nothing, by each job's nature.
    """
    with node.store.write() as connection:
        now = node.store.now(connection)
        return jobs.take(connection, job, node.worker, now=now, seconds=seconds, every=every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job by the name of its row; seconds for which it is taken, and within which it is not done again."""

    name: str
    lease: float
    every: float = 0.0  #: 0: in every round


def standings(node: Node, wanted: Sequence[Job]) -> tuple[Standing, ...]:
    """How these stand with this process, in their order, by one look: an idle node takes and writes nothing for what it
    holds, or what is not due.  Where one is FREE ask `may_do`; OURS it stays for half of its lease.  Raises StoreBusy.
    """
    with node.store.read() as connection:
        now, rows = node.store.now(connection), {row.name: row for row in jobs.list_jobs(connection)}
    return tuple(
        jobs.standing(rows.get(one.name), node.worker, now=now, seconds=one.lease, every=one.every) for one in wanted
    )


def do_due(node: Node, work: Mapping[Job, Callable[[], object]]) -> None:
    """Every one of these jobs that is due and not held by another process.

    What keeps one from going on is raised when the others are done.
    """
    failed: GatewayError | None = None
    for (job, do), standing in zip(work.items(), standings(node, tuple(work)), strict=True):
        try:
            is_free = standing is Standing.FREE and may_do(node, job.name, job.lease, every=job.every)
            if is_free or standing is Standing.OURS:
                do()
        except GatewayError as why:
            _log.warning("job.failed", process=job.name, reason=why.reason)
            failed = failed or why
    if failed is not None:
        raise failed


def give_back_jobs(node: Node) -> None:
    """This process ends: the next one need not wait for its leases."""
    try:
        with node.store.write() as connection:
            jobs.give_back(connection, node.worker)
    except StoreError as why:  # they run out by themselves
        _log.warning("jobs.not_given_back", reason=why.code)
