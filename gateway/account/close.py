"""Closing the books of a period."""

from __future__ import annotations

from gateway.account.fold import Sums, add_carried, altered, compare_counts, entered_at, fold_packet, is_intact
from gateway.account.values import Account
from gateway.store import Store, books
from gateway.store.months import periods

__all__ = ["close_books"]


def close_books(store: Store, start: int, end: int) -> Account:
    """Close the books (đối soát) of everything accepted in [start, end), instants of the store's clock.

    Reads one consistent view and changes nothing; may run beside the working node and any number of times.  What
    happened after `end` to what was accepted before it is included: a late receipt still finds its line.  Of months
    that were archived and are gone, days that begin in [start, end) are in it as they were carried forward.  Roll-ups
    are compared with all rows that are stored, since they know no period.  Memory stays constant; time is that of the
    period's events (about 100,000 in two seconds).  Raises StoreBusy where the database is away.
    """
    sums = Sums()
    with store.read() as connection:
        for packet in books.packets_between(connection, start, end):
            entered = entered_at(packet)
            if entered is not None and start <= entered < end:
                fold_packet(packet, sums)
        for booked in books.loose_events(connection, start, end):
            sums.events += 1
            if not is_intact(booked):
                sums.gaps.append(altered(booked))
        for (agency_id, book, fate), n in periods.carried_between(connection, start, end).items():
            add_carried(sums, agency_id, book, fate, n)
        sums.gaps += compare_counts(books.counted_deliveries(connection), books.counted_rollups(connection))
    return Account(
        start=start,
        end=end,
        books=sums.lines(),
        gaps=tuple(sums.gaps),
        packets=sums.packets,
        events=sums.events,
    )
