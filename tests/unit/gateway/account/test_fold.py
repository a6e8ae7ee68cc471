"""The account's fold, on events made by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gateway.account.fold import Sums, compare_counts, entered_at, fold_packet, is_intact
from gateway.account.values import Account, BookLine, Fate, GapKind
from gateway.model.events import RULE_VERSION, Event, EventKind, leaf_digest
from gateway.model.states import Book, DeliveryState
from gateway.store.books import BookedDelivery, BookedEvent, BookedPacket, PacketFacts

S = DeliveryState
_ORDER = itertools.count()


def told(
    kind: EventKind, state: str, *, at: int, delivery: str = "d1", agency: str = "b", place: int = 0
) -> BookedEvent:
    """One event with a true leaf; its id's random part falls with every event made. `place` 0: as the time says."""
    event = Event(
        kind=kind, at=at, actor="t", book=Book.DOCUMENTS, packet_id="p", delivery_id=delivery, agency_id=agency,
        state_after=state, salt=b"salt",
    )  # fmt: skip
    event_id = f"01900000-0000-7000-8000-{999_999_999_999 - next(_ORDER):012d}"
    return BookedEvent(
        id=event_id,
        recorded_at=at,
        rule_version=RULE_VERSION,
        leaf=leaf_digest(event, event_id, at, RULE_VERSION),
        event=event,
        place=place or at,
    )


ACCEPTED = told(EventKind.PACKET_ACCEPTED, "", at=1, delivery="", agency="a")
PLANNED = told(EventKind.DELIVERY_PLANNED, S.READY, at=1)


def packet(state: str, *happened: BookedEvent, recipients: tuple[str, ...] = ("organ-b",)) -> BookedPacket:
    """A packet with one delivery whose row says `state`."""
    row = BookedDelivery(id="d1", agency_id="b", organ="organ-b", book=Book.DOCUMENTS, state=state, accepted_at=1)
    facts = PacketFacts(book=Book.DOCUMENTS, sender_id="a", recipients=recipients, recorded_at=1)
    return BookedPacket(id="p", facts=facts, deliveries=(row,), events=happened)


def fold(*packets: BookedPacket) -> Sums:
    sums = Sums()
    for each in packets:
        fold_packet(each, sums)
    return sums


@pytest.mark.parametrize("state", list(DeliveryState))
def test_each_state_has_one_fate(state: DeliveryState) -> None:
    sums = fold(packet(state, ACCEPTED, told(EventKind.DELIVERY_PLANNED, state, at=1)))
    (line,) = sums.lines()
    assert not sums.gaps
    assert (line.accepted, line.told) == (1, 1)
    wanted = Fate(state) if state in {"parked"} or state.is_final else Fate.OPEN
    assert getattr(line, wanted) == 1


def test_the_order_is_that_of_commits_though_the_clock_was_set_back() -> None:
    returned = told(EventKind.DELIVERY_RETURNED, S.READY, at=3_600, place=5)
    parked = told(EventKind.DELIVERY_PARKED, S.PARKED, at=7, place=6)
    assert not fold(packet(S.PARKED, ACCEPTED, PLANNED, parked, returned)).gaps
    (gap,) = fold(packet(S.READY, ACCEPTED, PLANNED, parked, returned)).gaps
    assert gap.kind is GapKind.STATE_DIFFERS


def test_events_are_read_in_their_order_not_as_they_come() -> None:
    delivered = told(EventKind.DELIVERY_DELIVERED, S.DELIVERED, at=9)
    parked = told(EventKind.DELIVERY_PARKED, S.PARKED, at=5)
    assert not fold(packet(S.DELIVERED, delivered, parked, PLANNED, ACCEPTED)).gaps


def test_a_receipt_is_a_fact_though_the_clock_stepped_back() -> None:
    delivered = told(EventKind.DELIVERY_DELIVERED, S.DELIVERED, at=5)
    returned = told(EventKind.DELIVERY_RETURNED, S.READY, at=6)
    assert not fold(packet(S.DELIVERED, ACCEPTED, PLANNED, delivered, returned)).gaps
    (gap,) = fold(packet(S.READY, ACCEPTED, PLANNED, delivered, returned)).gaps
    assert gap.kind is GapKind.STATE_DIFFERS


def test_late_receipts_and_resends_change_the_fate() -> None:
    expired = told(EventKind.DELIVERY_EXPIRED, S.EXPIRED, at=5)
    resent = told(EventKind.DELIVERY_RESENT, S.READY, at=6)
    late = told(EventKind.DELIVERY_LATE_RECEIPT, S.DELIVERED, at=7)
    assert fold(packet(S.READY, ACCEPTED, PLANNED, expired, resent)).lines()[0].open == 1
    assert fold(packet(S.DELIVERED, ACCEPTED, PLANNED, expired, late)).lines()[0].delivered == 1


def test_only_a_ready_delivery_may_be_claimed_without_an_event() -> None:
    assert not fold(packet(S.CLAIMED, ACCEPTED, PLANNED)).gaps
    parked = told(EventKind.DELIVERY_PARKED, S.PARKED, at=5)
    assert [gap.kind for gap in fold(packet(S.CLAIMED, ACCEPTED, PLANNED, parked)).gaps] == [GapKind.STATE_DIFFERS]


def test_a_delivery_planned_twice_is_named() -> None:
    again = told(EventKind.DELIVERY_PLANNED, S.READY, at=2)
    assert [gap.kind for gap in fold(packet(S.READY, ACCEPTED, PLANNED, again)).gaps] == [GapKind.PLANNED_TWICE]


def test_a_recipient_missing_or_too_many_is_named_and_unbalances_a_line() -> None:
    missing = fold(packet(S.READY, ACCEPTED, PLANNED, recipients=("organ-b", "organ-c", "organ-b")))
    assert [(gap.kind, gap.agency_id) for gap in missing.gaps] == [
        (GapKind.RECIPIENT_MISSING, "organ-c"),
        (GapKind.RECIPIENT_MISSING, "organ-b"),
    ]
    assert {line.agency_id: line.balances for line in missing.lines()} == {"": False, "b": True}
    many = fold(packet(S.READY, ACCEPTED, PLANNED, recipients=()))
    assert [(gap.kind, gap.delivery_id) for gap in many.gaps] == [(GapKind.RECIPIENT_TOO_MANY, "d1")]
    assert not many.lines()[0].balances


def test_any_change_of_an_event_is_seen() -> None:
    assert is_intact(PLANNED)
    for changed in (
        replace(PLANNED, recorded_at=2),
        replace(PLANNED, id="other"),
        replace(PLANNED, rule_version=RULE_VERSION + 1),
        replace(PLANNED, event=replace(PLANNED.event, reason="x")),
        replace(PLANNED, event=replace(PLANNED.event, state_after="x")),
        replace(PLANNED, event=replace(PLANNED.event, reported_at=0)),
    ):
        assert not is_intact(changed)


def test_a_packet_enters_by_its_best_witness() -> None:
    bare = packet(S.READY)
    assert entered_at(packet(S.READY, told(EventKind.PACKET_ACCEPTED, "", at=7), PLANNED)) == 7
    assert entered_at(packet(S.READY, told(EventKind.DELIVERY_PLANNED, S.READY, at=8))) == 8
    assert entered_at(bare) == 1
    assert entered_at(replace(bare, facts=None)) == 1
    assert entered_at(replace(bare, facts=None, deliveries=())) is None
    refused = told(EventKind.PACKET_REFUSED, "", at=3)
    assert entered_at(replace(bare, facts=None, deliveries=(), events=(refused,))) == 3


def test_counts_that_differ_are_named_and_zero_is_absence() -> None:
    assert not compare_counts({("b", "documents", "ready"): 2}, {("b", "documents", "ready"): 2})
    gaps = compare_counts({("b", "documents", "ready"): 2}, {("b", "documents", "parked"): 1})
    assert [(gap.expected, gap.found) for gap in gaps] == [
        ("documents parked 0", "documents parked 1"),
        ("documents ready 2", "documents ready 0"),
    ]


def test_an_account_closes_only_where_lines_balance_and_nothing_gaps() -> None:
    line = BookLine(agency_id="b", book=Book.DOCUMENTS, accepted=3, delivered=2, open=1)
    account = Account(start=0, end=1, books=(line, replace(line, agency_id="c")), gaps=(), packets=1, events=1)
    assert account.closes
    assert (account.total(Book.DOCUMENTS).accepted, account.total(Book.DOCUMENTS).delivered) == (6, 4)
    assert account.total(Book.STATUSES) == BookLine(agency_id="", book=Book.STATUSES)
    assert not replace(account, books=(replace(line, open=0),)).closes
