"""Relay (chuyển tiếp): the only publisher. Announces what is due, notes what was confirmed (rule 3).

Where others write at the same time a loop of its own announces what is urgent: a batch of 256 takes longer to pick, to
be confirmed and to be noted than an urgent document may wait.  The other loop waits a moment for it before each round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from edxml.crashpoints import crash_point, declare
from gateway.model.errors import StoreUnsure
from gateway.model.instants import SECOND, Instant
from gateway.node import Node
from gateway.store import Connection, picking, transfers
from gateway.store.picking import LARGE, Due
from gateway.store.repeating import repeated_where_undone
from gateway.transport.contract import Ticket
from gateway.workers.loop import Loop
from gateway.workers.precedence import Precedence
from monitoring import log
from monitoring.registry import Hop, HopOutcome, TicketEvent

__all__ = ["Relay", "relay_once", "start_relay"]

declare("relay.announced", "tickets are out; nobody wrote down that they are")
declare("relay.noted", "tickets are out, and it is written down when")

_log = log.get("relay")
_MOST = 256
_IDLE = 5.0
_IDLE_URGENT = 30.0
_LONGEST_PAUSE = 1.0
"""Seconds between two tries while the store is away: nobody else says that it is back, and documents are due."""


def relay_once(node: Node, *, urgent_alone: bool = False) -> int:
    """Announce one batch of what is due; how many tickets were confirmed. May run twice: tickets are hints.

    `urgent_alone`: nothing but what is urgent.  Crash points: relay.announced, relay.noted.
    """
    return _announce_round(node, _Owed(), urgent_alone)[0]


class _Owed:
    """What a loop picked and did not announce, and could not put back: the store was away. It would lie for a minute.

    Owed for as long: then it is picked again anyhow.  Used by one thread.
    """

    def __init__(self) -> None:
        self._owed: list[tuple[float, Callable[[Connection], None]]] = []

    def add(self, seconds: float, give: Callable[[Connection], None]) -> None:
        """`give` puts it back, in a transaction that writes; not any more in so many seconds."""
        self._owed.append((time.monotonic() + seconds, give))

    def settle(self, node: Node) -> None:
        """Put everything back. Raises StoreBusy; what is not put back by then is still owed."""
        while self._owed:
            until, give = self._owed[0]
            if time.monotonic() < until:
                _give(node, give)
            del self._owed[0]


@repeated_where_undone
def _give(node: Node, give: Callable[[Connection], None]) -> None:
    with node.store.write() as connection:
        give(connection)


def _announce_round(node: Node, owed: _Owed, urgent_alone: bool) -> tuple[int, float | None]:
    """How many tickets were confirmed, and in how many seconds something more becomes due by itself, if anything does.

    Crash points: relay.announced, relay.noted.
    """
    began = time.monotonic()
    owed.settle(node)
    try:
        picked, picked_at, until_due = _pick(node, owed, urgent_alone)
    except StoreUnsure as why:
        _log.warning("tickets.pick_unsure", hop=Hop.RELAY, reason=why.reason)
        owed.settle(node)
        picked, picked_at, until_due = _pick(node, owed, urgent_alone)
    if not picked:
        return 0, until_due
    confirmed = node.transport.announce([_ticket(due) for due in picked])
    crash_point("relay.announced")
    _note(node, owed, picked, picked_at, confirmed)
    crash_point("relay.noted")
    node.metrics.count_tickets(TicketEvent.ANNOUNCED, len(confirmed))
    node.metrics.count_tickets(TicketEvent.UNCONFIRMED, len(picked) - len(confirmed))
    seconds = time.monotonic() - began
    node.metrics.count_hop(Hop.RELAY, HopOutcome.DONE, seconds, len(confirmed))
    ms = round(seconds * 1000, 1)
    _log.info("tickets.announced", hop=Hop.RELAY, outcome=HopOutcome.DONE, count=len(confirmed), ms=ms)
    return len(confirmed), until_due


@repeated_where_undone
def _pick(node: Node, owed: _Owed, urgent_alone: bool) -> tuple[list[Due], Instant, float | None]:
    """What is due, when it was picked, and in how many seconds something more is (None also where nobody asked).

    Where others write at the same time it is looked for first, by a transaction that reads and costs one trip: only
    where it finds something another one locks and picks.  Where nobody can say whether that was committed (StoreUnsure)
    it is owed.
    """
    store, again = node.store, node.pace.announce_again
    if not store.has_many_writers:
        with store.read() as connection:
            now = store.now(connection)
            due = picking.pick_due(connection, now=now, since=now - again, most=_MOST, urgent_alone=urgent_alone)
            upcoming = picking.next_due(connection, now)
        return due, now, _seconds(now, upcoming)
    with store.read(is_hop=True, asks_first=True) as connection:
        seen = picking.look(
            connection, now=store.known_now(), again=again, most=_MOST, urgent_alone=urgent_alone, is_last=True
        )
        now = store.now(connection)
    due = []
    if seen.channels:
        try:
            with store.write(asks_first=True) as connection:
                due = picking.pick_seen(connection, seen, now=now, since=now - again, most=_MOST, is_last=True)
        except StoreUnsure:
            owed.add(again / SECOND, partial(picking.put_back_unsure, seen=seen, at=now))
            raise
    return due, now, _seconds(now, seen.next_due)


def _seconds(now: Instant, then: Instant | None) -> float | None:
    return None if then is None else (then - now) / 1e6


def _note(node: Node, owed: _Owed, picked: Sequence[Due], picked_at: Instant, confirmed: Sequence[Ticket]) -> None:
    """Write down which tickets are out; the others are picked again with the next batch.

    Where others write at the same time they count as announced since they were picked: nothing more is written, and no
    worker who claims one of them waits for this.
    """
    if not node.store.has_many_writers:
        _mark(node, confirmed)
        return
    taken = {ticket.transfer_id for ticket in confirmed}
    others = [due for due in picked if due.transfer_id not in taken]
    if others:
        owed.add(node.pace.announce_again / SECOND, partial(picking.put_back, due=others, at=picked_at))
        owed.settle(node)


@repeated_where_undone
def _mark(node: Node, confirmed: Sequence[Ticket]) -> None:
    with node.store.write() as connection:
        now = node.store.now(connection)
        transfers.mark_announced(connection, [(t.transfer_id, t.turn) for t in confirmed], now)


def _ticket(due: Due) -> Ticket:
    """Large packets and channels known to be slow have queues of their own, so that they delay nobody (design §5).

    What a worker claimed and never reported may have ended it: it goes the slow way, where nobody shares its group, so
    that its neighbours' claims are not counted with its own (rule 8).
    """
    if due.size > LARGE:
        queue = "deliver.large"
    elif due.is_slow or due.is_suspect:
        queue = "deliver.slow"
    else:
        queue = "deliver.urgent" if due.is_urgent else "deliver.normal"
    return Ticket(due.transfer_id, due.turn, queue)


def _relay_pause(node: Node, owed: _Owed, give_way: Callable[[], None]) -> float:
    """Announce all that can be; seconds until something is due by itself.

    While nobody takes tickets nothing is picked or written, whoever wakes us; `relay` is called when it is over.
    """
    if not node.transport.takes_tickets:
        return _IDLE
    give_way()
    announced, until_due = _announce_round(node, owed, urgent_alone=False)
    if announced:
        return 0.0
    return _IDLE if until_due is None else max(0.02, min(until_due, _IDLE))


def _urgent_pause(node: Node, owed: _Owed) -> float:
    """Announce what is urgent; what must wait for a place or a time is seen by the other loop."""
    if node.transport.takes_tickets and _announce_round(node, owed, urgent_alone=True)[0]:
        return 0.0
    return _IDLE_URGENT


def _go_on() -> None:
    """Wait for nobody."""


class Relay:
    """The relay's loops: one woken by the topic `relay`, one by `relay.urgent` where there can be two."""

    def __init__(self, node: Node, precedence: Precedence | None = None) -> None:
        """`precedence`: what is known of urgent documents; None: heard by itself. Closed with it."""
        self._precedence = precedence or Precedence(node.transport)
        # Where one loop does all, what is urgent is announced by it.
        give_way = self._precedence.give_way if node.store.has_many_writers else _go_on
        loop = partial(Loop, transport=node.transport, longest_pause=_LONGEST_PAUSE)
        announce = partial(_relay_pause, node, _Owed(), give_way)
        self._loops = [loop("relay", announce, topics=["relay"], beat=_IDLE)]
        if node.store.has_many_writers:
            announce_urgent = partial(_urgent_pause, node, _Owed())
            self._loops.append(loop("relay-urgent", announce_urgent, topics=["relay.urgent"]))

    def stop(self) -> None:
        """Begin nothing more, without waiting."""
        self._precedence.close()
        for loop in self._loops:
            loop.stop()

    def close(self) -> None:
        """Finish what is being done, then stop. Safe to repeat."""
        self.stop()
        for loop in self._loops:
            loop.close()


def start_relay(node: Node) -> Relay:
    """Announce from now on what is due."""
    return Relay(node)
