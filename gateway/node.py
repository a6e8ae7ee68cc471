"""The node: a frozen value of handles, handed to every hop. No behaviour; `compose` builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from edxml.limits import Limits
from edxml.seal import SealKey
from gateway.channels import Channels
from gateway.identity import Callers
from gateway.keys import Keyring
from gateway.model.instants import Instant, as_datetime
from gateway.model.step import Pace
from gateway.store import Store
from gateway.transport.contract import Transport
from monitoring.alerts import Thresholds
from monitoring.metrics import Metrics

__all__ = ["Node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one process of a node holds. `now` and `today` are for people; scheduling asks `store.now`."""

    name: str
    worker: str  #: this process: node, role, pid
    store: Store
    transport: Transport
    channels: Channels  #: who is reached how: directory, reach, sinks and sources, as rows say now
    callers: Callers  #: who may do what
    keyring: Keyring
    pace: Pace
    limits: Limits
    metrics: Metrics
    now: Callable[[], Instant]
    today: Callable[[], date]
    group: int = 32  #: most members of one transaction
    slots: int = 4  #: groups of tickets that this process works on at once
    months_ahead: int = 3  #: months of tables that are made ahead of time (PostgreSQL)
    thresholds: Thresholds = field(default_factory=Thresholds)  #: when a figure becomes an alert

    @property
    def seal_key(self) -> SealKey:
        """The key that seals now; another one, without a restart, once its moment has come. Raises as `key_at`."""
        return self.keyring.key_at(as_datetime(self.now()))
