"""The account goes round by itself: new packets soon, all that is stored again and again, a page at a time.

Each page is one consistent view that blocks nobody, and a short write only where something is to be kept.  What does
not add up stands in the store as a fault, with an event that names its packet; it is gone when a later round finds it
right.
"""

from __future__ import annotations

from typing import Final

from gateway.account.fold import Sums, altered, compare_counts, fold_packet, is_intact
from gateway.account.values import Gap
from gateway.model.instants import DAY, HOUR, SECOND, id_floor, wall_now
from gateway.node import Node
from gateway.store import Connection, books, walks
from gateway.store.walks import Fault, Walk
from monitoring import log
from monitoring.registry import FaultBook

__all__ = ["check_next"]

_log = log.get("account")
_NEW: Final = "account-new"
_ALL: Final = "account"
_REST: Final = HOUR
"""From the end of a round to the beginning of the next."""
_SETTLED: Final = 10 * SECOND
"""An id is made a moment before its packet is committed: the newest are left to the next look."""


def check_next(node: Node) -> bool:
    """Close the books of one page of packets; False where nothing is to be looked at now.

    Packets that came since the last look go first, then the next page of the round over everything; a round ends with
    the roll-ups and the events of no packet, of a day at most.  Safe to repeat and to be killed; two processes at once
    do the same work twice and keep it once.  Raises StoreBusy.
    """
    return _check_new(node) or _check_all(node)


def _check_new(node: Node) -> bool:
    with node.store.read() as connection:
        walk = walks.read_walk(connection, _NEW)
        page = books.next_packets(connection, walk.after, id_floor(wall_now() - _SETTLED))
    if not page:
        return False
    _keep(node, walk, _gaps_of(page), page[-1].id)
    return True


def _check_all(node: Node) -> bool:
    with node.store.read() as connection:
        walk = walks.read_walk(connection, _ALL)
        now = node.store.now(connection)
        if not walk.after and walk.ended_at and 0 <= now - walk.ended_at < _REST:
            return False
        page = books.next_packets(connection, walk.after, id_floor(wall_now() - _SETTLED))
        gaps = _gaps_of(page) if page else _gaps_of_no_packet(connection, walk, now)
    _keep(node, walk, gaps, page[-1].id if page else "")
    return bool(page)


def _gaps_of(page: tuple[books.BookedPacket, ...]) -> list[Gap]:
    sums = Sums()
    for packet in page:
        fold_packet(packet, sums)
    return sums.gaps


def _gaps_of_no_packet(connection: Connection, walk: Walk, now: int) -> list[Gap]:
    """The roll-ups against the rows, and events that belong to no packet, since the last round or for a day."""
    since = max(walk.ended_at, now - DAY)
    gaps = [altered(booked) for booked in books.loose_events(connection, since, now) if not is_intact(booked)]
    return gaps + compare_counts(books.counted_deliveries(connection), books.counted_rollups(connection))


def _keep(node: Node, walk: Walk, gaps: list[Gap], last: str) -> None:
    found = {_fault(gap) for gap in gaps}
    with node.store.write() as connection:
        now = node.store.now(connection)
        new, gone = walks.keep(
            connection, walk, FaultBook.ACCOUNT, found, last=last, at=node.now(), actor=node.worker, now=now
        )
    for fault in new:
        _log.error("account.gap", packet=fault.packet_id or None, delivery=fault.delivery_id or None, reason=fault.kind)
    for fault in gone:
        _log.info("account.mended", packet=fault.packet_id or None, reason=fault.kind)


def _fault(gap: Gap) -> Fault:
    return Fault(
        packet_id=gap.packet_id, kind=gap.kind, delivery_id=gap.delivery_id, agency_id=gap.agency_id,
        detail=f"{gap.expected} ≠ {gap.found}",
    )  # fmt: skip
