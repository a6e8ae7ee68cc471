"""The account over a real store: it closes, and each kind of gap is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, event, insert, select, update

from gateway.account import Account, GapKind, close_books
from gateway.model.chain import Reason
from gateway.model.events import Event, EventKind
from gateway.model.instants import new_id
from gateway.model.states import Book, DeliveryState
from gateway.store import books, claims, events, schema
from tests.support.stored import START, FilledStore, fill_store
from tests.support.stores import Database, allow_altering

EVER = 1 << 62
S = DeliveryState


@pytest.fixture
def filled(tmp_path: Path, database: Database) -> Iterator[FilledStore]:
    filled = fill_store(tmp_path, database)
    yield filled
    filled.store.close()


def close(filled: FilledStore, start: int = 0, end: int = EVER) -> Account:
    return close_books(filled.store, start, end)


def tamper(filled: FilledStore, *sql: str) -> None:
    """Change rows behind the store's back, as a defect or a hand in the database would."""
    with filled.store.write() as connection:
        if any(" events" in statement for statement in sql):
            allow_altering(connection)
        for statement in sql:
            connection.exec_driver_sql(statement)


def kinds(account: Account) -> list[GapKind]:
    return [gap.kind for gap in account.gaps]


def test_every_fate_has_its_column_and_the_books_close(filled: FilledStore) -> None:
    sent = filled.send(["b", "c", "d", "e", "f"])
    b, c, d, e, _ = sent.delivery_ids
    filled.move(b, S.FETCHED)
    filled.move(b, S.DELIVERED)
    filled.move(c, S.FETCHED)
    filled.move(c, S.REFUSED)
    filled.move(d, S.WITHDRAWN)
    filled.move(e, S.PARKED)
    filled.send(["b"], sender="c", book=Book.STATUSES)
    filled.send(["g"], first=S.UNDELIVERABLE)
    expired = filled.send(["h"])
    filled.move(expired.delivery_ids[0], S.EXPIRED)

    account = close(filled)

    assert account.closes, account.gaps
    documents, statuses = account.total(Book.DOCUMENTS), account.total(Book.STATUSES)
    assert (documents.accepted, statuses.accepted) == (7, 1)
    columns = ("delivered", "refused", "withdrawn", "undeliverable", "expired", "parked", "open")
    assert [getattr(documents, column) for column in columns] == [1, 1, 1, 1, 1, 1, 1]
    assert statuses.open == 1
    assert [(line.book, line.agency_id) for line in account.books][-1] == (Book.STATUSES, "b")
    assert account.packets == 4


def test_a_claim_leaves_no_event_and_breaks_nothing(filled: FilledStore) -> None:
    sent = filled.send(["b"], first=S.READY)
    with filled.store.write() as connection:
        found = connection.exec_driver_sql("SELECT id, turn FROM transfers").one()
        claims.claim(connection, [tuple(found)], worker="w", lease=EVER, now=0)
    assert close(filled).closes
    filled.states[sent.delivery_ids[0]] = S.CLAIMED
    filled.move(sent.delivery_ids[0], S.DELIVERED)
    assert close(filled).closes


def test_moves_of_one_transaction_are_read_in_order_whatever_their_ids(filled: FilledStore) -> None:
    for _ in range(20):
        sent = filled.send(["b"], first=S.WAITING)
        filled.move(sent.delivery_ids[0], S.AVAILABLE, S.PARKED, S.WITHDRAWN)
    account = close(filled)
    assert account.closes, account.gaps
    assert account.total(Book.DOCUMENTS).withdrawn == 20


def test_resent_and_late_receipts_find_their_line(filled: FilledStore) -> None:
    sent = filled.send(["b", "c"])
    for delivery_id in sent.delivery_ids:
        filled.move(delivery_id, S.EXPIRED)
    end = filled.clock.turn()
    filled.move(sent.delivery_ids[0], S.DELIVERED, reason=Reason.LATE_RECEIPT)
    filled.move(sent.delivery_ids[1], S.AVAILABLE, reason=Reason.RESENT)
    account = close(filled, START, end)
    assert account.closes, account.gaps
    assert (account.total(Book.DOCUMENTS).delivered, account.total(Book.DOCUMENTS).open) == (1, 1)


def test_a_period_holds_what_was_accepted_in_it_and_nothing_else(filled: FilledStore) -> None:
    filled.send(["b"])
    start = filled.clock.turn()
    filled.send(["b", "c"])
    end = filled.clock.turn()
    filled.send(["b"])
    account = close(filled, start, end)
    assert account.closes
    assert account.packets == 1
    assert account.total(Book.DOCUMENTS).accepted == 2
    assert close(filled).total(Book.DOCUMENTS).accepted == 4
    assert close(filled, 0, START).total(Book.DOCUMENTS).accepted == 0


def test_a_packet_counts_by_when_it_was_accepted_not_by_its_id(filled: FilledStore) -> None:
    early, middle, late = sorted(new_id() for _ in range(3))
    start = filled.clock.turn()
    filled.send(["b"], packet_id=late)
    filled.send(["b"], packet_id=early)
    end = filled.clock.turn()
    filled.send(["b"], packet_id=middle)
    assert close(filled, start, end).total(Book.DOCUMENTS).accepted == 2
    assert close(filled, end, EVER).total(Book.DOCUMENTS).accepted == 1


def test_a_packet_without_events_is_met_once_among_others(filled: FilledStore) -> None:
    silent = filled.send(["b"], packet_id=f"00000000-0000-7{new_id()[15:]}")
    filled.send(["b"])
    filled.send(["b"])
    with filled.store.write() as connection:
        allow_altering(connection)
        connection.execute(delete(schema.events).where(schema.events.c.packet_id == silent.packet_id))
    account = close(filled)
    assert account.packets == 3
    assert kinds(account) == [GapKind.PACKET_UNRECORDED, GapKind.DELIVERY_UNRECORDED]


def test_a_row_that_says_delivered_without_an_event_is_found(filled: FilledStore) -> None:
    sent = filled.send(["b"])
    tamper(filled, "UPDATE deliveries SET state = 'delivered'", "UPDATE rollups SET state = 'delivered'")
    account = close(filled)
    assert kinds(account) == [GapKind.STATE_DIFFERS]
    gap = account.gaps[0]
    assert (gap.packet_id, gap.delivery_id, gap.agency_id) == (sent.packet_id, sent.delivery_ids[0], "b")
    assert (gap.expected, gap.found) == (S.AVAILABLE, S.DELIVERED)


def test_an_event_without_a_row_is_found(filled: FilledStore) -> None:
    sent = filled.send(["b"])
    lost = Event(
        kind=EventKind.DELIVERY_PLANNED, at=1, actor="t", book=Book.DOCUMENTS, packet_id=sent.packet_id,
        delivery_id="ghost", agency_id="b", state_after=S.READY,
    )  # fmt: skip
    with filled.store.write() as connection:
        events.append(connection, [lost], filled.clock.turn())
    account = close(filled)
    assert kinds(account) == [GapKind.DELIVERY_LOST]
    assert account.gaps[0].delivery_id == "ghost"
    assert not account.books[0].balances


def test_a_row_without_an_event_is_found(filled: FilledStore) -> None:
    filled.send(["b"])
    with filled.store.write() as connection:
        row = connection.execute(select(schema.deliveries)).one()._mapping
        connection.execute(insert(schema.deliveries), [{**row, "id": "ghost", "position": 9}])
    account = close(filled)
    assert set(kinds(account)) == {
        GapKind.DELIVERY_UNRECORDED,
        GapKind.RECIPIENT_TOO_MANY,
        GapKind.ROLLUP_DIFFERS,
    }


def test_a_packet_and_delivery_that_no_event_knows_are_found(filled: FilledStore) -> None:
    sent = filled.send(["b"])
    tamper(filled, "DELETE FROM events")
    account = close(filled)
    assert set(kinds(account)) == {GapKind.PACKET_UNRECORDED, GapKind.DELIVERY_UNRECORDED}
    assert {gap.packet_id for gap in account.gaps} == {sent.packet_id}
    assert not account.books[0].balances
    tamper(filled, "DELETE FROM packets")
    assert set(kinds(close(filled))) == {GapKind.PACKET_LOST, GapKind.DELIVERY_UNRECORDED}


def test_a_rollup_off_by_one_is_found(filled: FilledStore) -> None:
    filled.send(["b"])
    tamper(filled, "UPDATE rollups SET count = count + 1")
    account = close(filled)
    assert kinds(account) == [GapKind.ROLLUP_DIFFERS]
    assert (account.gaps[0].expected, account.gaps[0].found) == ("documents available 1", "documents available 2")


def test_an_accepted_packet_with_a_recipient_missing_is_found(filled: FilledStore) -> None:
    sent = filled.send(["b"], named=["organ-b", "organ-lost"])
    account = close(filled)
    assert kinds(account) == [GapKind.RECIPIENT_MISSING]
    assert (account.gaps[0].packet_id, account.gaps[0].agency_id) == (sent.packet_id, "organ-lost")
    assert account.total(Book.DOCUMENTS).accepted == 2
    assert not all(line.balances for line in account.books)


def test_an_accepted_packet_whose_row_is_gone_is_found(filled: FilledStore) -> None:
    filled.send(["b"])
    with filled.store.write() as connection:
        connection.execute(delete(schema.packets))
    account = close(filled)
    assert kinds(account) == [GapKind.PACKET_LOST]
    assert not account.closes


@pytest.mark.parametrize(
    ("column", "value"), [("agency_id", "'x'"), ("kind", "'no.kind'"), ("at", "5"), ("rule_version", "2")]
)
def test_an_altered_event_is_found(filled: FilledStore, column: str, value: str) -> None:
    filled.send(["b"])
    tamper(
        filled,
        f"UPDATE events SET {column} = {value} WHERE kind = 'delivery.planned'",
    )
    assert GapKind.EVENT_ALTERED in kinds(close(filled))


def test_an_altered_event_of_no_packet_is_found(filled: FilledStore) -> None:
    started = Event(kind=EventKind.NODE_STARTED, at=1, actor="t")
    with filled.store.write() as connection:
        events.append(connection, [started], filled.clock.turn())
    assert close(filled).closes
    tamper(filled, "UPDATE events SET actor = 'nobody'")
    assert kinds(close(filled)) == [GapKind.EVENT_ALTERED]


def test_a_delivery_booked_elsewhere_is_found(filled: FilledStore) -> None:
    filled.send(["b"])
    with filled.store.write() as connection:
        connection.execute(update(schema.deliveries).values(book=Book.STATUSES))
        connection.execute(update(schema.rollups).values(book=Book.STATUSES))
    assert kinds(close(filled)) == [GapKind.BOOKED_ELSEWHERE]


def test_a_refused_packet_is_no_gap(filled: FilledStore) -> None:
    refused = Event(kind=EventKind.PACKET_REFUSED, at=1, actor="t", packet_id=new_id())
    with filled.store.write() as connection:
        events.append(connection, [refused], filled.clock.turn())
    account = close(filled)
    assert account.closes
    assert (account.packets, account.books) == (1, ())


def test_pages_end_anywhere_and_miss_nothing(filled: FilledStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        filled.send(["b", "c"])
    whole = close(filled)
    monkeypatch.setattr(books, "_PAGE_EVENTS", 4)
    assert close(filled) == whole
    assert whole.total(Book.DOCUMENTS).accepted == 14


def test_the_books_are_read_by_index(filled: FilledStore) -> None:
    filled.send(["b"])
    plans: list[tuple[str, str]] = []

    @event.listens_for(filled.store.engine, "before_cursor_execute")
    def explain(conn: object, cursor: object, statement: str, given: object, *_: object) -> None:
        if statement.startswith("SELECT") and "GROUP BY deliveries.agency_id" not in statement:
            with filled.store.engine.raw_connection().driver_connection as raw:  # type: ignore[union-attr]
                plans.extend((statement, row[3]) for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", given))

    close(filled, START, EVER)
    small = ("rollups", "carried")  # a row per agency, book and state; and month that went
    scans = [plan for plan in plans if plan[1].startswith("SCAN") and plan[1].split()[1] not in small]
    assert plans
    assert not scans


def test_a_store_with_nothing_in_it_closes(filled: FilledStore) -> None:
    assert close(filled).closes
    with filled.store.write() as connection:
        connection.execute(insert(schema.rollups), [{"agency_id": "b", "book": "documents", "state": "x", "count": 0}])
    assert close(filled).closes
