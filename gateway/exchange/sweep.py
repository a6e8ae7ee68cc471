"""What time does by itself: dead leases return, limits close, recalls stop waiting (rules 3, 6, 7, 8, 10).

Each function goes through all that is due, a bounded batch per transaction, and says how many moves were made; the
periodic worker calls them until nothing moves.  All compare with the store's clock, and none runs while the clock is
distrusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from edxml.crashpoints import crash_point, declare
from gateway.exchange.advance import Planned, advance, give_wakes
from gateway.model.chain import Chain, Link
from gateway.model.machine import expire, reclaim
from gateway.model.step import Step
from gateway.node import Node
from gateway.store import due
from gateway.store.chains import load_chains
from gateway.store.dialect import writes_beside_others
from gateway.store.months import ahead
from gateway.store.repeating import repeated_where_undone
from monitoring import log
from monitoring.registry import SweepFind

__all__ = ["expire_once", "mend_once", "reclaim_once", "settle_once", "sweep_once"]

declare("sweep.committed", "time's own moves are written")

_BATCH = 200

_log = log.get("sweep")

Decide = Callable[[Chain, Link, int], Step]
_Find = Callable[..., Sequence[tuple[str, str]]]


def sweep_once(node: Node) -> int:
    """One pass of each kind; how many moves were made. Crash points: sweep.committed."""
    if not _is_anything_due(node):
        return 0
    mend_once(node)
    return reclaim_once(node) + settle_once(node) + expire_once(node)


def _is_anything_due(node: Node) -> bool:
    """One view of all kinds: an idle node has nothing of any."""
    limit = partial(due.past_limit, limit=node.pace.time_limit)
    with node.store.read() as connection:
        now = node.store.now(connection)
        return ahead.is_ahead(connection, now=now, lease=node.pace.lease) or any(
            find(connection, now=now, after="", most=1)
            for find in (due.dead_leases, due.waiting_heads, limit, due.fetched_under_recall)
        )


@repeated_where_undone
def mend_once(node: Node) -> None:
    """What waits for a time that the present clock cannot have given goes on: that clock was ahead (rule 13).

    Nobody must wait until the wrong time comes.  Repeats change nothing.
    """
    lease = node.pace.lease
    with node.store.read() as connection:
        if not ahead.is_ahead(connection, now=node.store.now(connection), lease=lease):
            return
    with node.store.write() as connection:
        mended = ahead.mend(connection, now=node.store.now(connection), lease=lease)
    for kind, count in mended.items():
        _log.warning("times.mended", reason=kind, count=count)


def reclaim_once(node: Node) -> int:
    """Claims whose lease ran out go back to ready, or park when their workers died too often (rules 3, 8)."""
    moved = _move(node, due.dead_leases, lambda _chain, link, now: reclaim(link, now, node.pace))
    if moved:
        node.metrics.count_sweep(SweepFind.DEAD_LEASE, moved)
    return moved


def settle_once(node: Node) -> int:
    """Recalls that waited for a document that never came look again under the lock, then go on (rule 6).

    Also links whose doubt became certain only by time: an open attempt that is now unsure.
    """
    return _move(node, due.waiting_heads, lambda _chain, _link, _now: Step(move=None))


def expire_once(node: Node) -> int:
    """Heads past their time limit close, and fetched items whose recall has waited long enough (rules 7, 10)."""
    moved = 0
    for find in (partial(due.past_limit, limit=node.pace.time_limit), due.fetched_under_recall):
        moved += _move(node, find, lambda chain, link, now: expire(chain, link, now, node.pace))
    if moved:
        node.metrics.count_sweep(SweepFind.EXPIRED, moved)
    return moved


def _move(node: Node, find: _Find, decide: Decide) -> int:
    """Page through what is due, a transaction per page; a page may move nothing and still there is a next one."""
    moved, after = 0, ""
    while True:
        with node.store.read() as connection:
            if not find(connection, now=node.store.now(connection), after=after, most=_BATCH):
                return moved
        count, after = _move_page(node, find, decide, after)
        moved += count
        if not after:
            return moved


@repeated_where_undone
def _move_page(node: Node, find: _Find, decide: Decide, after: str) -> tuple[int, str]:
    """How many of the page after this delivery moved, and its last delivery, "" where there was none."""
    with node.store.write() as connection:
        now = node.store.now(connection)
        found = find(connection, now=now, after=after, most=_BATCH)
        chains = load_chains(connection, {chain_id for _, chain_id in found})
        still = found
        if writes_beside_others(connection):  # a lease may have been renewed before the rows were locked
            still = [pair for pair in find(connection, now=now, after=after, most=_BATCH) if pair[1] in chains]
        planned = [
            Planned(
                chain_id=chain_id,
                delivery_id=delivery_id,
                step=decide(chains[chain_id], chains[chain_id].find(delivery_id), now),
            )
            for delivery_id, chain_id in still
        ]
        effects = advance(connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=node.worker)
    crash_point("sweep.committed")
    give_wakes(node, effects)
    return len(effects.moves), found[-1][0] if found else ""
