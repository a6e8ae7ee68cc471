"""Figures about documents for the scrape: backlog, ages, breakers, alerts; read from roll-ups, never counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta

from gateway.model.chain import Reason
from gateway.model.instants import as_datetime
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import followers, views
from gateway.store.channels import list_health
from gateway.store.followers import Behind
from gateway.workers.loop import Loop
from monitoring.alerts import Alert, InboxFigures, Snapshot, find_alerts
from monitoring.registry import BreakerState, FaultBook, Urgency
from routing.directory import Directory

__all__ = ["Progress", "alerts_of", "figures_once", "inbox_figures", "start_figures"]

_PAUSE = 10.0


class Progress:
    """Since when each follower stands where it is, though a packet waits for it: as this process saw it."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}

    def still(self, behind: Mapping[str, Behind], now: int) -> dict[str, float]:
        """Seconds without a step of each follower for which something waits; one that moves is catching up."""
        waiting = {name: one.position for name, one in behind.items() if one.since is not None}
        before = {name: seen for name, seen in self._seen.items() if waiting.get(name) == seen[0]}
        self._seen = {name: before.get(name, (position, now)) for name, position in waiting.items()}
        return {name: (now - since) / 1e6 for name, (_, since) in self._seen.items()}


def figures_once(node: Node, progress: Progress | None = None) -> None:
    """Read one snapshot and show it in this process's metrics. Changes nothing.

    `progress`: what this process saw of the followers before; nothing where it has just started.
    """
    with node.store.read() as connection:
        now = node.store.now(connection)
        seen = views.snapshot(connection, now)
        health = list_health(connection)
        behind = followers.behind(connection)
    by_state: Counter[str] = Counter()
    for line in seen.backlog:
        by_state[line.state] += line.count
    node.metrics.show_backlog(by_state, (seen.oldest_ready or 0) / 1e6)
    node.metrics.know_channels(health)
    for channel_id, known in health.items():
        is_open = known.breaker.open_until > now
        ramps = bool(known.breaker.faults or known.breaker.ramp)
        state = BreakerState.OPEN if is_open else BreakerState.PROBING if ramps else BreakerState.CLOSED
        node.metrics.show_breaker(channel_id, state)
    for name, one in behind.items():
        node.metrics.show_follower(name, one.events)
    for book in FaultBook:
        node.metrics.show_faults(book, sum(seen.faults.get(book, {}).values()))
    node.metrics.show_free_disk(node.store.blobs.free())
    node.metrics.show_backups(is_recovering=seen.recovering is not None, age=(seen.unsaved or 0) / 1e6)
    node.metrics.show_without_month(seen.without_month)
    node.metrics.know_systems(node.channels.snapshot().system_names.values())
    node.metrics.show_inboxes(_inboxes_of(node, seen), node.thresholds.unfetched_seconds)
    node.metrics.show_seal_certificate(_seal_covered(node).total_seconds())
    node.metrics.show_alerts(alerts_of(node, seen, (progress or Progress()).still(behind, seen.now)))


def alerts_of(node: Node, seen: views.Snapshot, still: Mapping[str, float] | None = None) -> tuple[Alert, ...]:
    """What an operator must be told of the figures `seen`, and of disk and rows as they are now, the most urgent first.

    `still`: seconds for which each follower that has something to do did not move.
    """
    parked: Counter[str] = Counter()
    for line in seen.parked:
        parked[line.reason] += line.count
    blobs = seen.faults.get(FaultBook.BLOBS, {})
    return find_alerts(
        Snapshot(
            parked=parked,
            oldest_ready_seconds=None if seen.oldest_ready is None else seen.oldest_ready / 1e6,
            oldest_channel=seen.oldest_channel,
            waiting=sum(line.count for line in seen.backlog if line.state == DeliveryState.READY),
            open_breakers=seen.broken_channels,
            disk_free_bytes=node.store.blobs.free(),
            disk_reserve_bytes=node.store.blobs.reserve,
            damaged_blobs=max(parked[Reason.BLOB_DAMAGED], blobs.get("damaged", 0)),
            missing_blobs=max(parked[Reason.BLOB_MISSING], blobs.get("missing", 0)),
            unread_blobs=blobs.get("unread", 0),
            inboxes=_inboxes_of(node, seen),
            unreadable_rows=tuple((one.kind, one.name, one.why) for one in node.channels.snapshot().faults),
            still_followers=still or {},
            account_gaps=sum(seen.faults.get(FaultBook.ACCOUNT, {}).values()),
            first_gap=seen.first_gap,
            recovering_seconds=None if seen.recovering is None else seen.recovering / 1e6,
            unsaved_seconds=None if seen.unsaved is None else seen.unsaved / 1e6,
            packets_without_month=seen.without_month,
            seal_days_left=_seal_covered(node).days,
        ),
        node.thresholds,
    )


def _inboxes_of(node: Node, seen: views.Snapshot) -> tuple[InboxFigures, ...]:
    directory, today = node.channels.snapshot().directory, node.today()
    return tuple(inbox_figures(one, directory, today, seen.now) for one in seen.inboxes)


def inbox_figures(inbox: views.Inbox, directory: Directory, today: date, now: int) -> InboxFigures:
    """What waits in an inbox and who was last heard of there, its agency by the name of `today`."""
    agency = directory.by_id(inbox.agency_id)
    waits = {Urgency.URGENT: inbox.urgent, Urgency.ORDINARY: inbox.ordinary}
    return InboxFigures(
        agency_id=inbox.agency_id,
        agency=inbox.agency_id if agency is None else agency.name_on(today),
        system=inbox.system,
        at=as_datetime(now),
        count=sum(each.count for each in waits.values() if each is not None),
        oldest={name: (now - each.since) / 1e6 for name, each in waits.items() if each is not None},
        polled_at=None if inbox.polled_at is None else as_datetime(inbox.polled_at),
        seen_at=None if inbox.seen_at is None else as_datetime(inbox.seen_at),
    )


def _seal_covered(node: Node) -> timedelta:
    """How long there will be a valid certificate to seal with, those announced counted."""
    now = as_datetime(node.now())
    return node.keyring.ring().covered_until(now) - now


def start_figures(node: Node) -> Loop:
    """The figures' loop, by time alone."""

    progress = Progress()

    def once() -> float:
        figures_once(node, progress)
        return _PAUSE

    return Loop("figures", once, node.transport, beat=_PAUSE)
