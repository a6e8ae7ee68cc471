"""Reporting: sends the statuses that the node owes for software that cannot speak them, as soon as they are owed."""

from __future__ import annotations

from gateway.exchange.report import report_once
from gateway.node import Node
from gateway.store import reports
from gateway.workers.leases import may_do
from gateway.workers.loop import Loop

__all__ = ["reporting_once", "start_reporting"]

_SHORTEST_LEASE = 2.0  # seconds


def reporting_once(node: Node, pause: float) -> float:
    """Send every status that is owed, where no other process does; seconds until the next look.

    Where none is owed this is one read: a wake says only that something was delivered.  Raises what taking in a
    status raises where it may be tried again (a full disk, a busy store); what is owed stays owed.
    """
    while _is_owing(node) and may_do(node, "reports", max(3 * pause, _SHORTEST_LEASE)):
        report_once(node)
    return pause


def _is_owing(node: Node) -> bool:
    with node.store.read() as connection:
        return bool(reports.owing(connection, 1))


def start_reporting(node: Node, pause: float) -> Loop:
    """The loop of statuses that are owed, woken by the topic `reports` and by time."""
    return Loop("reports", lambda: reporting_once(node, pause), node.transport, ["reports"], beat=pause)
