"""Upkeep: what a node does by the hour or the day, in a loop of its own: what time moves does not wait for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final, Protocol, runtime_checkable

from adapters.contract import AdapterError
from gateway.channels import name_fault
from gateway.model.instants import DAY
from gateway.node import Node
from gateway.store import packets, recoveries
from gateway.workers.leases import Job, do_due
from gateway.workers.loop import Loop
from gateway.workers.months import keep_months
from gateway.workers.periodic import ClockWatch
from monitoring import log
from monitoring.registry import SweepFind

__all__ = ["start_upkeep", "upkeep_once"]

_log = log.get("periodic")
_PAUSE: Final = 30.0
_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0
_LEASE: Final = 600.0
_KEPT_AFTER_RESTORE: Final = 30 * DAY


@runtime_checkable
class Tidied(Protocol):
    """A channel that keeps records beside what it hands over."""

    def tidy(self) -> int:
        """Forget what is too old to be asked for; how many records."""


def upkeep_once(node: Node, watch: ClockWatch) -> float:
    """Every job that is due and not held by another process; seconds until the next look.

    After a jump of a clock it waits for the next one: how old a blob is goes by the wall clock.
    """
    if watch.jumped():
        watch.told()
        return _PAUSE
    do_due(node, {
        Job(name="tidy", lease=_LEASE, every=_DAY): partial(_tidy_channels, node),
        Job(name="blobs", lease=_LEASE, every=_HOUR): partial(_sweep_blobs, node),
        Job(name="months", lease=_LEASE, every=_HOUR): partial(keep_months, node.store, node.months_ahead),
    })  # fmt: skip
    return _PAUSE


def _tidy_channels(node: Node) -> None:
    """Channels that keep records beside what they hand over forget old ones; one that cannot now does it tomorrow."""
    for channel_id in node.channels.snapshot().by_id:
        try:
            opened = node.channels.opened(channel_id)
            gone = opened.tidy() if isinstance(opened, Tidied) else 0
        except (AdapterError, OSError) as why:
            _log.warning("channel.untidy", channel=channel_id, reason=name_fault(why))
            continue
        if gone:
            _log.info("channel.tidied", channel=channel_id, count=gone)


def _sweep_blobs(node: Node) -> None:
    """Not in the weeks after a restore: what no row speaks of may be all that is left of what was accepted since."""
    with node.store.read() as connection:
        restored = recoveries.last(connection)
        if restored is not None and node.store.now(connection) < restored.restored_at + _KEPT_AFTER_RESTORE:
            return

    def needed(digests: Sequence[str]) -> Collection[str]:
        with node.store.read() as connection:
            return packets.blobs_needed(connection, digests)

    trashed, gone = node.store.blobs.sweep(needed)
    if trashed or gone:
        node.metrics.count_sweep(SweepFind.LEFT_BLOB, trashed)
        _log.info("blobs.swept", count=trashed + gone)


def start_upkeep(node: Node) -> Loop:
    """The loop, by time alone."""
    watch = ClockWatch(node.now)
    return Loop("upkeep", lambda: upkeep_once(node, watch), node.transport, beat=_PAUSE)
