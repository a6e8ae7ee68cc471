"""The registry of event kinds: everything the node ever remembers of what happened. Renaming one is breaking.

An event holds ids and codes, never subjects or names: a recall must be able to erase a document while its history
stays.  Kinds are `noun.past_participle`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from edxml.values import hasten
from gateway.model.instants import random_bytes
from gateway.model.states import DeliveryState

__all__ = ["RULE_VERSION", "Event", "EventKind", "kind_of_state", "leaf_digest"]

RULE_VERSION = 1
"""Version of the rules of the machine by which events were decided."""


class EventKind(StrEnum):
    """What happened."""

    PACKET_ACCEPTED = "packet.accepted"
    PACKET_REFUSED = "packet.refused"
    PACKET_REPEATED = "packet.repeated"
    DELIVERY_PLANNED = "delivery.planned"
    DELIVERY_PROMOTED = "delivery.promoted"
    DELIVERY_RETURNED = "delivery.returned"
    DELIVERY_FETCHED = "delivery.fetched"
    DELIVERY_HANDED_OVER = "delivery.handed_over"
    DELIVERY_DELIVERED = "delivery.delivered"
    DELIVERY_REFUSED = "delivery.refused"
    DELIVERY_WITHDRAWN = "delivery.withdrawn"
    DELIVERY_EXPIRED = "delivery.expired"
    DELIVERY_PARKED = "delivery.parked"
    DELIVERY_RELEASED = "delivery.released"
    DELIVERY_RESENT = "delivery.resent"
    DELIVERY_VOUCHED = "delivery.vouched"
    DELIVERY_MOVED = "delivery.moved"
    DELIVERY_LATE_RECEIPT = "delivery.late_receipt"
    STATUS_RECORDED = "status.recorded"
    SIGNATURE_CHECKED = "signature.checked"
    PACKET_INSPECTED = "packet.inspected"
    CALLER_REFUSED = "caller.refused"
    CHANNEL_PAUSED = "channel.paused"
    CHANNEL_RESUMED = "channel.resumed"
    CHANNEL_SCHEDULED = "channel.scheduled"
    CHANNEL_DRAINING = "channel.draining"
    CHANNEL_DRAINED = "channel.drained"
    CHANNEL_EMPTIED = "channel.emptied"
    CHANNEL_BROKEN = "channel.broken"
    CHANNEL_RECOVERED = "channel.recovered"
    SYSTEM_ADDED = "system.added"
    TOKEN_ROTATED = "token.rotated"  # noqa: S105 - the name of an event
    CONFIGURATION_APPLIED = "configuration.applied"
    NODE_STARTED = "node.started"
    CLOCK_JUMPED = "node.clock_jumped"
    NODE_BACKED_UP = "node.backed_up"
    NODE_RESTORED = "node.restored"
    NODE_RECOVERED = "node.recovered"
    FAULT_FOUND = "fault.found"
    FAULT_MENDED = "fault.mended"
    HOLD_ADDED = "hold.added"
    HOLD_ENDED = "hold.ended"
    PERIOD_ARCHIVED = "period.archived"
    PERIOD_DROPPED = "period.dropped"


_STATE_KINDS = {
    DeliveryState.READY: EventKind.DELIVERY_RETURNED,
    DeliveryState.AVAILABLE: EventKind.DELIVERY_RETURNED,
    DeliveryState.FETCHED: EventKind.DELIVERY_FETCHED,
    DeliveryState.HANDED_OVER: EventKind.DELIVERY_HANDED_OVER,
    DeliveryState.DELIVERED: EventKind.DELIVERY_DELIVERED,
    DeliveryState.REFUSED: EventKind.DELIVERY_REFUSED,
    DeliveryState.WITHDRAWN: EventKind.DELIVERY_WITHDRAWN,
    DeliveryState.EXPIRED: EventKind.DELIVERY_EXPIRED,
    DeliveryState.PARKED: EventKind.DELIVERY_PARKED,
}

_REASON_KINDS = {
    "promoted": EventKind.DELIVERY_PROMOTED,
    "recall_passed": EventKind.DELIVERY_PROMOTED,
    "recall_orphan": EventKind.DELIVERY_PROMOTED,
    "recall_doubtful": EventKind.DELIVERY_PROMOTED,
    "recall_archived": EventKind.DELIVERY_PROMOTED,
    "released": EventKind.DELIVERY_RELEASED,
    "resent": EventKind.DELIVERY_RESENT,
    "vouched": EventKind.DELIVERY_VOUCHED,
    "moved": EventKind.DELIVERY_MOVED,
    "late_receipt": EventKind.DELIVERY_LATE_RECEIPT,
}


def kind_of_state(after: DeliveryState, reason: str) -> EventKind:
    """The kind of the event that a delivery's move leaves behind."""
    return _REASON_KINDS.get(reason) or _STATE_KINDS[after]


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `at` is when, for people; the store adds id, recorded_at, salt and leaf."""

    kind: EventKind
    at: int
    actor: str
    book: str = ""
    packet_id: str = ""
    delivery_id: str = ""
    agency_id: str = ""
    system_id: str = ""
    state_after: str = ""
    holder_after: str = ""
    reason: str = ""
    reported_at: int | None = None
    salt: bytes = field(default_factory=lambda: random_bytes(16))


def leaf_digest(event: Event, event_id: str, recorded_at: int, rule_version: int) -> bytes:
    """SHA-256 over the salt and every field, in a fixed order: the leaf of this event in a later checkpoint."""
    fields = (
        event_id, event.kind, event.book, event.packet_id, event.delivery_id, event.agency_id, event.system_id,
        event.state_after, event.holder_after, event.reason, event.actor, str(event.at), str(recorded_at),
        "" if event.reported_at is None else str(event.reported_at), str(rule_version),
    )  # fmt: skip
    return hashlib.sha256(event.salt + "\x1f".join(fields).encode()).digest()
