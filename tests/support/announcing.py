"""What tests of transports do again and again: make tickets, announce until all is confirmed, wait, be stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gateway.transport.contract import Ticket, Transport
from tests.support.patience import PATIENCE, until

__all__ = ["NORMAL", "URGENT", "announce_all", "announce_until", "stuck_at", "tickets"]


NORMAL, URGENT = "deliver.normal", "deliver.urgent"


def tickets(number: int, queue: str = NORMAL, prefix: str = "t") -> list[Ticket]:
    return [Ticket(f"{prefix}{index}", 1, queue) for index in range(number)]


def stuck_at(gate: threading.Event) -> Callable[[object], None]:
    """A handler or callback that ends when the gate opens."""

    def wait(_: object) -> None:
        gate.wait(PATIENCE)

    return wait


def announce_all(transport: Transport, wanted: list[Ticket], timeout: float = PATIENCE) -> None:
    """As the relay does: announce again what was not confirmed, until all is."""
    end = time.monotonic() + timeout
    left = wanted
    while left:
        assert time.monotonic() < end, f"{len(left)} tickets were never confirmed"
        confirmed = set(transport.announce(left))
        left = [ticket for ticket in left if ticket not in confirmed]
        if left:
            time.sleep(0.02)


def announce_until(transport: Transport, is_so: Callable[[], object]) -> set[str]:
    """Announce more and more until it is so: whoever is to get some may come late to what there is. The ids of all."""
    given = set[str]()

    def announce_more() -> object:
        more = tickets(100, prefix=f"{len(given)}-")
        announce_all(transport, more)
        given.update(ticket.transfer_id for ticket in more)
        return is_so()

    until(announce_more)
    return given
