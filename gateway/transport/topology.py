"""Topology (sơ đồ hàng đợi): what stands in the broker's virtual host, as data. Fixed, whatever the number of agencies.

    relay ── truc-tickets (direct) ─┬─ truc-deliver.urgent ─┐
                                    ├─ truc-deliver.normal  ├─ workers, each queue with slots of its own
                                    ├─ truc-deliver.slow    │
                                    └─ truc-deliver.large  ─┘
                                          └── given up on ── truc-dead (fanout) ── truc-dead
    anyone ── truc-events (topic) ── queues of agencies' own software

One virtual host belongs to one node.  `docs/reference/queues.md` is written from here, `truc broker check` holds a
live broker against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.transport.contract import QUEUES

__all__ = [
    "DEAD",
    "EVENTS",
    "EXCHANGES",
    "LAYOUT",
    "LEAST_RIGHTS",
    "OLDEST_BROKER",
    "SUBSCRIBER_RIGHTS",
    "TICKETS",
    "Exchange",
    "Queue",
    "queue_name",
]

OLDEST_BROKER: Final = (4, 0)
"""RabbitMQ before 4 has no default delivery limit, loses priorities of quorum queues and gets no more corrections."""

TICKETS: Final = "truc-tickets"
DEAD: Final = "truc-dead"
EVENTS: Final = "truc-events"

_MOST_TICKETS: Final = 100_000  # per queue; more are not confirmed, and announced again when there is room
_MOST_DEAD: Final = 10_000
_DELIVERY_LIMIT: Final = 20
_DEAD_KEPT: Final = 7 * 24 * 3600 * 1000  # milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange; `kind` is AMQP's word for how it routes."""

    name: str
    kind: str
    is_durable: bool
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue, durable, bound to `exchange` by `key`; `carries` is the contract's name of its tickets, if any."""

    name: str
    exchange: str
    key: str
    what: str
    carries: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)


def queue_name(queue: str) -> str:
    """What a queue of the contract is called in the broker."""
    return f"truc-{queue}"


_WHAT: Final = {
    "deliver.normal": "tickets of documents",
    "deliver.urgent": "tickets of urgent documents; slots of their own, so that no backlog is ahead of them",
    "deliver.slow": "tickets for slow channels, and of what a worker never reported; who is silent keeps no slot",
    "deliver.large": "tickets of packets over 8 MB",
}

EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(name=TICKETS, kind="direct", is_durable=True, what="tickets, by the name of their queue"),
    Exchange(name=DEAD, kind="fanout", is_durable=True, what="tickets that the broker gave up on"),
    Exchange(name=EVENTS, kind="topic", is_durable=True, what="changes of state, for software of agencies"),
)

LAYOUT: Final[tuple[Queue, ...]] = (
    *(
        Queue(
            name=queue_name(queue),
            exchange=TICKETS,
            key=queue,
            what=_WHAT[queue],
            carries=queue,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": _DELIVERY_LIMIT,
                "x-dead-letter-exchange": DEAD,
                "x-max-length": _MOST_TICKETS,
                "x-overflow": "reject-publish",
            },
        )
        for queue in QUEUES
    ),
    Queue(
        name=DEAD,
        exchange=DEAD,
        key="",
        what="tickets that came back too often, for a person to look at; nothing waits for them",
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-max-length": _MOST_DEAD,
            "x-overflow": "drop-head",
            "x-message-ttl": _DEAD_KEPT,
        },
    ),
)

_OURS: Final = r"^truc-.*$"
LEAST_RIGHTS: Final[Mapping[str, str]] = {"configure": _OURS, "write": _OURS, "read": _OURS}
"""Permissions of the node's own user in its virtual host: everything of ours, nothing of anybody else's."""

SUBSCRIBER_RIGHTS: Final[Mapping[str, str]] = {
    "configure": r"^agency\.{agency}\..*$",
    "write": r"^agency\.{agency}\..*$",
    "read": r"^(agency\.{agency}\..*|truc-events)$",
    "topic": r"^agency\.{agency}\..*$",
}
"""Permissions of an agency's own user: queues under its own name, bound to its own events. `topic` is the pattern that
binding keys on `truc-events` must match; the broker asks it of topic exchanges only."""
