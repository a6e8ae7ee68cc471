"""Figures about documents for the scrape: backlog, ages, breakers, alerts; read from roll-ups, never counted."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.node import Node
from gateway.store import views
from gateway.store.channels import list_health
from gateway.workers.loop import Loop
from monitoring.alerts import Snapshot, find_alerts
from monitoring.registry import BreakerState

__all__ = ["figures_once", "start_figures"]

_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class _Parked:
    """Parked deliveries by reason, and those that a blob is to blame for."""

    by_reason: dict[str, int]

    def of(self, reason: str) -> int:
        return sum(n for known, n in self.by_reason.items() if known == reason)


def figures_once(node: Node) -> None:
    """Read one snapshot and show it in this process's metrics. Changes nothing."""
    with node.store.read() as connection:
        now = node.store.now(connection)
        seen = views.snapshot(connection, now)
        health = list_health(connection)
    by_state: dict[str, int] = {}
    for line in seen.backlog:
        by_state[line.state] = by_state.get(line.state, 0) + line.count
    oldest = (seen.oldest_ready or 0) / 1e6
    node.metrics.show_backlog(by_state, oldest)
    node.metrics.know_channels(health)
    for channel_id, known in health.items():
        is_open = known.breaker.open_until > now
        ramps = bool(known.breaker.faults or known.breaker.ramp)
        state = BreakerState.OPEN if is_open else BreakerState.PROBING if ramps else BreakerState.CLOSED
        node.metrics.show_breaker(channel_id, state)
    free = node.store.blobs.free()
    node.metrics.show_storage(blob_bytes=0, free_bytes=free)
    parked = _Parked(_by_reason(seen))
    node.metrics.show_alerts(
        find_alerts(
            Snapshot(
                parked=parked.by_reason,
                oldest_ready_seconds=None if seen.oldest_ready is None else oldest,
                open_breakers=seen.broken_channels,
                disk_free_bytes=free,
                disk_reserve_bytes=node.store.blobs.reserve,
                damaged_blobs=parked.of("blob_damaged") + parked.of("blob.damaged"),
                missing_blobs=parked.of("blob_missing") + parked.of("blob.missing"),
            )
        )
    )


def _by_reason(seen: views.Snapshot) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for line in seen.parked:
        reasons[line.reason] = reasons.get(line.reason, 0) + line.count
    return reasons


def start_figures(node: Node) -> Loop:
    """The figures' loop, by time alone."""

    def once() -> float:
        figures_once(node)
        return _PAUSE

    return Loop("figures", once, node.transport)
