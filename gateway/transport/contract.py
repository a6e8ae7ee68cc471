"""Transport: how tickets (phiếu chuyển) get from the relay to a worker, and how one process wakes another.

A ticket is a hint.  Losing, doubling, reordering tickets, or wiping whatever carries them, changes nothing but
latency: the store is the truth (protocol, rule 3).  Every implementation passes `tests/service/transport_suite.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["QUEUES", "Handler", "Subscription", "Ticket", "Transport"]

QUEUES: tuple[str, ...] = (
    "deliver.normal",
    "deliver.urgent",
    "deliver.slow",
    "deliver.large",
)
"""The fixed queues, whatever the number of agencies: normal, urgent, channels known to be slow, packets over 8 MB."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A hint that transfer `transfer_id` may be claimed at `turn`; carried on `queue`."""

    transfer_id: str
    turn: int
    queue: str = "deliver.normal"


Handler = Callable[[tuple[Ticket, ...]], None]
"""Gets a group of tickets (1 to the group size). Runs in a slot."""


class Subscription(Protocol):
    """Something that was asked for and can be ended."""

    def close(self, timeout: float = 5.0) -> None:
        """Take nothing more; wait up to `timeout` seconds for running handlers. Safe to repeat."""


class Transport(Protocol):
    """Tickets and wake-ups. All methods may be called from any thread."""

    @property
    def takes_tickets(self) -> bool:
        """Whether announcing can succeed now. Where not, topic `relay` is called once it can again.

        Never blocks for longer than a second.
        """

    def announce(self, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
        """Hand tickets over; returns those that were confirmed, in order.

        The others may or may not have gone out: announce them again later.
        Never blocks for longer than a second; a missing or full listener means fewer tickets, never an exception.
        """

    def listen(self, queue: str, slots: int, handler: Handler, *, group: int = 32) -> Subscription:
        """Run `handler` on groups of up to `group` tickets of `queue`, in up to `slots` threads at once.

        A handler that raises is logged and its tickets are forgotten (the sweep finds the work again).
        """

    def wake(self, topic: str) -> None:
        """Tell whoever called `on_wake` for `topic`, in any process of this node.

        A hint: it may be lost. Never blocks, never raises.
        """

    def on_wake(self, topics: Sequence[str], callback: Callable[[str], None]) -> Subscription:
        """Call `callback(topic)` soon after a `wake` of one of `topics` ("*": every topic). Callbacks must be quick."""

    @property
    def has_outsiders(self) -> bool:
        """Whether anybody outside the node could hear an event."""

    def publish_event(self, topic: str, body: bytes) -> None:
        """Tell subscribers outside (agencies' broker users) that something changed. The local transport has none."""

    def depths(self) -> Mapping[str, int]:
        """Tickets waiting per queue, as far as this transport can tell."""

    def close(self) -> None:
        """Let go of everything. Safe to repeat."""
