"""The account of a month that may go: what is carried forward of it, by the day on which the books took it in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from gateway.account.fold import Sums, entered_at, fold_packet
from gateway.account.values import Fate
from gateway.model.errors import Conflict
from gateway.model.instants import VIETNAM, as_instant, as_local
from gateway.store import Connection, books
from gateway.store.books import BookedPacket
from gateway.store.months.partitions import Month
from gateway.store.months.periods import Carried

__all__ = ["Folded", "fold_month", "fold_packets"]

ACCEPTED = "accepted"


@dataclass(slots=True)
class Folded:
    """What is carried forward."""

    carried: Counter[Carried] = field(default_factory=Counter)
    packets: int = 0


def fold_month(connection: Connection, month: Month) -> Folded:
    """Fold every packet of the month. Raises Conflict `archive.gap` where one does not add up."""
    folded, after = Folded(), month.low
    while page := books.next_packets(connection, after, month.high):
        fold_packets(page, folded)
        after = max(packet.id for packet in page)
    return folded


def fold_packets(page: Iterable[BookedPacket], folded: Folded) -> None:
    """Add packets. Raises Conflict `archive.gap`: what does not add up must stay where it can be looked into."""
    for packet in page:
        sums = Sums()
        fold_packet(packet, sums)
        if sums.gaps:
            raise Conflict("archive.gap", packet=packet.id, kind=sums.gaps[0].kind)
        day = _day_of(entered_at(packet) or 0)
        folded.packets += packet.facts is not None
        for (agency_id, book), n in sums.accepted.items():
            folded.carried[day, agency_id, book, ACCEPTED] += n
        for (agency_id, book, fate), n in sums.fates.items():
            folded.carried[day, agency_id, book, Fate(fate).value] += n


def _day_of(instant: int) -> int:
    """The first instant of its day in Việt Nam."""
    local = as_local(instant)
    return as_instant(datetime(local.year, local.month, local.day, tzinfo=VIETNAM))
