"""The account's own path: events in, fates and gaps out. Pure; knows neither the machine nor its table of moves.

A defect of the machine must not be copied into the check of it, so this reads only what was written down: the first
event of a delivery plans it, each later one names the state after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.account.values import BookLine, Fate, Gap, GapKind
from gateway.model.events import EventKind, leaf_digest
from gateway.model.states import Book
from gateway.model.states import DeliveryState as S
from gateway.store.books import BookedDelivery, BookedEvent, BookedPacket

__all__ = ["Sums", "add_carried", "compare_counts", "entered_at", "fold_packet", "is_intact"]

_FATES = {
    S.DELIVERED: Fate.DELIVERED,
    S.REFUSED: Fate.REFUSED,
    S.WITHDRAWN: Fate.WITHDRAWN,
    S.UNDELIVERABLE: Fate.UNDELIVERABLE,
    S.EXPIRED: Fate.EXPIRED,
    S.PARKED: Fate.PARKED,
}
_FACTS = frozenset({S.DELIVERED, S.REFUSED, S.UNDELIVERABLE})
"""States that no later event can change: a receipt and a refusal are facts (protocol §4)."""


@dataclass(slots=True)
class Sums:
    """What is added up while packets go by: figures by (agency, book), and everything that disagreed."""

    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    fates: Counter[tuple[str, str, Fate]] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    packets: int = 0
    events: int = 0

    def lines(self) -> tuple[BookLine, ...]:
        """One line for each agency of each book, documents first."""
        keys = set(self.accepted) | {(agency_id, book) for agency_id, book, _ in self.fates}
        order = {book.value: place for place, book in enumerate(Book)}
        return tuple(
            BookLine(
                agency_id=agency_id,
                book=book,
                accepted=self.accepted[agency_id, book],
                **{fate.value: self.fates[agency_id, book, fate] for fate in Fate},
            )
            for agency_id, book in sorted(keys, key=lambda key: (order.get(key[1], len(order)), key))
        )


@dataclass(slots=True)
class _Told:
    """What the events of one delivery say."""

    agency_id: str
    book: str
    state: str = ""
    planned: int = 0


def entered_at(packet: BookedPacket) -> int | None:
    """When a packet entered the books, by the best witness there is; None where nothing is known of it."""
    for kind in (EventKind.PACKET_ACCEPTED, EventKind.DELIVERY_PLANNED):
        if found := [booked.recorded_at for booked in packet.events if booked.event.kind == kind]:
            return min(found)
    if packet.facts is not None:
        return packet.facts.recorded_at
    if packet.deliveries:
        return min(row.accepted_at for row in packet.deliveries)
    return min((booked.recorded_at for booked in packet.events), default=None)


def is_intact(booked: BookedEvent) -> bool:
    """The event is what its leaf digest was made of (design §2, promise 7)."""
    return leaf_digest(booked.event, booked.id, booked.recorded_at, booked.rule_version) == booked.leaf


def fold_packet(packet: BookedPacket, sums: Sums) -> None:
    """Add one packet to the sums: its recipients as accepted, its deliveries' fates, and every disagreement."""
    sums.packets += 1
    sums.events += len(packet.events)
    sums.gaps += [altered(booked) for booked in packet.events if not is_intact(booked)]
    told = _histories(packet.events)
    rows = {row.id: row for row in packet.deliveries}
    for history in told.values():
        if history.planned:
            sums.fates[history.agency_id, history.book, _fate(history.state)] += 1
    sums.gaps += _packet_gaps(packet, told)
    for delivery_id in sorted(told.keys() | rows.keys()):
        sums.gaps += _delivery_gaps(packet.id, delivery_id, told.get(delivery_id), rows.get(delivery_id))
    _count_recipients(packet, sums)


def add_carried(sums: Sums, agency_id: str, book: str, fate: str, count: int) -> None:
    """Add what was carried forward of packets that are gone: `fate` is one of Fate, or "accepted"."""
    if fate == "accepted":
        sums.accepted[agency_id, book] += count
    else:
        sums.fates[agency_id, book, Fate(fate)] += count


def altered(booked: BookedEvent) -> Gap:
    """The gap of an event that is not intact."""
    event = booked.event
    return Gap(
        kind=GapKind.EVENT_ALTERED,
        packet_id=event.packet_id,
        delivery_id=event.delivery_id,
        agency_id=event.agency_id,
        expected=booked.leaf.hex(),
        found=f"{booked.id} {event.kind}",
    )


# --- what the events say -------------------------------------------------------------------------------------


def _histories(happened: Iterable[BookedEvent]) -> dict[str, _Told]:
    told: dict[str, _Told] = {}
    for booked in sorted(happened, key=_when):
        event = booked.event
        if not event.delivery_id or not event.state_after:
            continue
        history = told.setdefault(event.delivery_id, _Told(event.agency_id, event.book))
        history.planned += event.kind == EventKind.DELIVERY_PLANNED
        if history.state not in _FACTS:
            history.state = event.state_after
    return told


def _when(booked: BookedEvent) -> tuple[int, int, int, str]:
    """The order in which events are read: of writing, whatever clocks said meanwhile; of old ones that of commits, then
    ids, which are monotone."""
    return booked.written, booked.place, booked.recorded_at, booked.id


def _fate(state: str) -> Fate:
    return _FATES[S(state)] if state in _FATES else Fate.OPEN


# --- what disagrees ------------------------------------------------------------------------------------------


def _packet_gaps(packet: BookedPacket, told: Mapping[str, _Told]) -> Iterator[Gap]:
    was_accepted = any(booked.event.kind == EventKind.PACKET_ACCEPTED for booked in packet.events)
    if packet.facts is not None and not was_accepted:
        yield Gap(
            kind=GapKind.PACKET_UNRECORDED, packet_id=packet.id, agency_id=packet.facts.sender_id,
            expected=EventKind.PACKET_ACCEPTED,
        )  # fmt: skip
    if packet.facts is None and (was_accepted or told or packet.deliveries):
        yield Gap(kind=GapKind.PACKET_LOST, packet_id=packet.id, found=f"{len(told)} / {len(packet.deliveries)}")


def _delivery_gaps(packet_id: str, delivery_id: str, told: _Told | None, row: BookedDelivery | None) -> Iterator[Gap]:
    """Where a delivery's row and its events disagree. A claim leaves no event: it ends in one whatever happens."""
    agency_id = row.agency_id if row is not None else told.agency_id if told is not None else ""

    def gap(kind: GapKind, expected: str, found: str) -> Gap:
        return Gap(
            kind=kind, packet_id=packet_id, delivery_id=delivery_id, agency_id=agency_id, expected=expected, found=found
        )

    if row is not None and (told is None or not told.planned):
        yield gap(GapKind.DELIVERY_UNRECORDED, EventKind.DELIVERY_PLANNED, row.state)
    if told is not None and row is None:
        yield gap(GapKind.DELIVERY_LOST, told.state, "")
    if told is not None and told.planned > 1:
        yield gap(GapKind.PLANNED_TWICE, "1", str(told.planned))
    if told is None or row is None:
        return
    if row.state != told.state and (told.state, row.state) != (S.READY, S.CLAIMED):
        yield gap(GapKind.STATE_DIFFERS, told.state, row.state)
    if (row.agency_id, row.book) != (told.agency_id, told.book):
        yield gap(GapKind.BOOKED_ELSEWHERE, f"{told.agency_id} {told.book}", f"{row.agency_id} {row.book}")


def _count_recipients(packet: BookedPacket, sums: Sums) -> None:
    """Every recipient of an accepted packet has exactly one delivery, and every delivery such a recipient."""
    if packet.facts is None:
        return
    book = packet.facts.book
    unmatched: dict[str, list[BookedDelivery]] = {}
    for row in packet.deliveries:
        unmatched.setdefault(row.organ, []).append(row)
    for organ in packet.facts.recipients:
        serves = next(iter(unmatched.get(organ, ())), None)
        if serves is None:
            sums.accepted["", book] += 1
            sums.gaps.append(Gap(kind=GapKind.RECIPIENT_MISSING, packet_id=packet.id, agency_id=organ, expected=organ))
        else:
            unmatched[organ].remove(serves)
            sums.accepted[serves.agency_id, book] += 1
    sums.gaps += [
        Gap(
            kind=GapKind.RECIPIENT_TOO_MANY, packet_id=packet.id, delivery_id=row.id, agency_id=row.agency_id,
            found=row.organ,
        )
        for rows in unmatched.values()
        for row in rows
    ]  # fmt: skip


def compare_counts(
    counted: Mapping[tuple[str, str, str], int], rolled: Mapping[tuple[str, str, str], int]
) -> list[Gap]:
    """Roll-ups that are not the number of rows they stand for, by (agency, book, state)."""
    return [
        Gap(
            kind=GapKind.ROLLUP_DIFFERS,
            agency_id=agency_id,
            expected=f"{book} {state} {counted.get((agency_id, book, state), 0)}",
            found=f"{book} {state} {rolled.get((agency_id, book, state), 0)}",
        )
        for agency_id, book, state in sorted(counted.keys() | rolled.keys())
        if counted.get((agency_id, book, state), 0) != rolled.get((agency_id, book, state), 0)
    ]
