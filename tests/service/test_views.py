"""The read models over a real store: what each shows, to whom, and that none reads a whole table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import pytest
from sqlalchemy import Connection, event, insert, select

from edxml.ids import DocumentId
from gateway.model.chain import Reason
from gateway.model.instants import new_id
from gateway.model.states import Book, DeliveryState, LinkKind
from gateway.store import claims, schema, views
from gateway.store.notices import Notice, tell
from tests.support.stored import START, FilledStore, Sent, fill_store
from tests.support.stores import Database
from tests.support.stores import tell as say

S = DeliveryState
Asked = ParamSpec("Asked")
Seen = TypeVar("Seen")


@pytest.fixture
def filled(tmp_path: Path, database: Database) -> Iterator[FilledStore]:
    filled = fill_store(tmp_path, database)
    yield filled
    filled.store.close()


def look(
    filled: FilledStore, view: Callable[Concatenate[Connection, Asked], Seen], *args: Asked.args, **more: Asked.kwargs
) -> Seen:
    """Ask one view, in a transaction of its own."""
    with filled.store.read() as connection:
        return view(connection, *args, **more)


def attempt(filled: FilledStore, delivery_id: str, outcome: str | None, turn: int = 0) -> None:
    row = {
        "id": new_id(), "delivery_id": delivery_id, "transfer_id": "t", "turn": turn, "worker": "w",
        "began_at": filled.clock.now(), "over_by": filled.clock.now(), "outcome": outcome,
    }  # fmt: skip
    with filled.store.write() as connection:
        connection.execute(insert(schema.attempts), [row])


def status(filled: FilledStore, sent: Sent, reporter: str, code: str) -> None:
    with filled.store.write() as connection:
        found = say(connection, "SELECT document_key FROM packets WHERE id = ?", sent.packet_id)
        row = {
            "id": new_id(), "packet_id": new_id(), "document_packet_id": sent.packet_id,
            "document_key": found.scalar_one(), "reporter_id": reporter, "code": code, "description": "Đã đến",
            "recorded_at": filled.clock.turn(),
        }  # fmt: skip
        connection.execute(insert(schema.statuses), [row])


# --- one document --------------------------------------------------------------------------------------------


def test_a_sender_sees_every_recipient_a_recipient_only_itself(filled: FilledStore) -> None:
    sent = filled.send(["b", "c"], sender="a")
    filled.move(sent.delivery_ids[1], S.FETCHED, reason=Reason.FETCHED)
    filled.move(sent.delivery_ids[1], S.DELIVERED)
    status(filled, sent, "b", "01")
    status(filled, sent, "c", "03")

    whole = look(filled, views.document, sent.packet_id, seen_by=frozenset({"a"}))
    own = look(filled, views.document, sent.packet_id, seen_by=frozenset({"c", "x"}))

    assert whole is not None
    assert own is not None
    assert whole == look(filled, views.document, sent.packet_id, seen_by=None)
    assert [line.delivery_id for line in whole.recipients] == sorted(sent.delivery_ids)
    assert whole.packet.states == ((S.AVAILABLE, 1), (S.DELIVERED, 1))
    assert [line.code for line in whole.statuses] == ["01", "03"]
    assert [line.agency_id for line in own.recipients] == ["c"]
    assert own.packet.states == ((S.DELIVERED, 1),)
    assert own.packet.subject == whole.packet.subject
    assert [line.reporter_id for line in own.statuses] == ["c"]
    assert {line.agency_id for line in own.timeline} == {"a", "c"}
    assert [line.kind for line in own.timeline] == [
        "packet.accepted", "delivery.planned", "delivery.fetched", "delivery.delivered",
    ]  # fmt: skip
    assert len(whole.timeline) == len(own.timeline) + 1


def test_strangers_and_absent_ids_get_the_same_answer(filled: FilledStore) -> None:
    sent = filled.send(["b"], sender="a")
    assert look(filled, views.document, sent.packet_id, seen_by=frozenset({"x"})) is None
    assert look(filled, views.document, sent.packet_id, seen_by=frozenset()) is None
    assert look(filled, views.document, "absent", seen_by=None) is None


@pytest.mark.parametrize(("outcome", "is_seen"), [("surely_not", False), (None, True), ("unknown", True)])
def test_a_recipient_never_learns_of_what_was_withdrawn_before_it_could_arrive(
    filled: FilledStore, outcome: str | None, is_seen: bool
) -> None:
    sent = filled.send(["b"], sender="a")
    attempt(filled, sent.delivery_ids[0], outcome)
    filled.move(sent.delivery_ids[0], S.WITHDRAWN)
    seen = look(filled, views.document, sent.packet_id, seen_by=frozenset({"b"}))
    assert (seen is not None) is is_seen
    assert look(filled, views.document, sent.packet_id, seen_by=frozenset({"a"})) is not None


def test_a_line_says_where_it_is_why_and_since_when(filled: FilledStore) -> None:
    sent = filled.send(["b"])
    filled.move(sent.delivery_ids[0], S.PARKED, reason=Reason.SINK_PARKED, detail="folder.full")
    view = look(filled, views.document, sent.packet_id, seen_by=None)
    assert view is not None
    (line,) = view.recipients
    assert (line.state, line.was, line.reason, line.detail) == ("parked", "available", "sink_parked", "folder.full")
    assert (line.holder, line.since, line.leg, line.tries) == ("operator", filled.clock.now(), "direct", 0)
    assert line.key
    assert not line.may_have_arrived
    attempt(filled, sent.delivery_ids[0], "surely_not", turn=1)
    attempt(filled, sent.delivery_ids[0], None, turn=2)
    view = look(filled, views.document, sent.packet_id, seen_by=None)
    assert view is not None
    assert view.recipients[0].may_have_arrived


def test_all_packets_of_a_document_are_listed_each_to_those_who_may(filled: FilledStore) -> None:
    first = filled.send(["b", "c"], sender="a", root="r")
    recall = filled.send(["b"], sender="a", root="r", kind=LinkKind.RECALL)
    filled.send(["b"], sender="a", root="other")
    filled.send(["a"], sender="b", root="r", book=Book.STATUSES)
    whole = look(filled, views.document, first.packet_id, seen_by=frozenset({"a"}))
    assert whole is not None
    assert [(line.packet_id, line.kind) for line in whole.family] == [
        (first.packet_id, "new"),
        (recall.packet_id, "recall"),
    ]
    assert {line.packet_id for line in whole.timeline} == {first.packet_id, recall.packet_id}
    own = look(filled, views.document, first.packet_id, seen_by=frozenset({"c"}))
    assert own is not None
    assert [line.packet_id for line in own.family] == [first.packet_id]
    assert {line.packet_id for line in own.timeline} == {first.packet_id}


def _keys_of(connection: Connection, packet_id: str) -> list[str]:
    """What the recipients of a packet know their delivery by."""
    return list(connection.scalars(select(schema.transfers.c.id).where(schema.transfers.c.packet_id == packet_id)))


def test_packets_are_found_by_their_id_a_deliverys_or_the_documents(filled: FilledStore) -> None:
    text = "H99.1,2025-10-01,12/TB-UBND"
    key = f"so-1|{DocumentId(text).folded}"
    sent, again = filled.send(["b"], root=key), filled.send(["c"], root=key)
    assert look(filled, views.find_packets, sent.packet_id) == (sent.packet_id,)
    assert look(filled, views.find_packets, sent.delivery_ids[0]) == (sent.packet_id,)
    [key_of_delivery] = look(filled, _keys_of, sent.packet_id)
    assert look(filled, views.find_packets, key_of_delivery) == (sent.packet_id,)
    newest_first = tuple(sorted((sent.packet_id, again.packet_id), reverse=True))
    filled.send(["so-1"], sender="b", root=f"status|{key}|b", book=Book.STATUSES, document_key=key)
    assert look(filled, views.find_packets, "h99.1,2025-10-01,12/tb-ubnd", issuers=["so-1", "b"]) == newest_first
    assert look(filled, views.find_packets, text, issuers=["so-1"], limit=1) == newest_first[:1]
    assert look(filled, views.find_packets, text, issuers=["so-2"]) == ()
    bare = filled.send(["b"], root=f"so-1|{DocumentId('77').folded}")
    assert look(filled, views.find_packets, "77") == ()
    assert look(filled, views.find_packets, "77", issuers=["so-1"]) == (bare.packet_id,)
    assert look(filled, views.find_packets, "") == ()


# --- lists ---------------------------------------------------------------------------------------------------


def test_sent_pages_through_everything_once_newest_first(filled: FilledStore) -> None:
    ids = [filled.send(["b", "c"], sender="a" if odd else "d").packet_id for odd in (1, 0, 1, 0, 1)]
    filled.send(["b"], sender="stranger")
    seen: list[str] = []
    after = "g"
    while page := look(filled, views.sent, ["a", "d"], after=after, limit=2):
        seen += [line.packet_id for line in page]
        after = page[-1].packet_id
    assert seen == sorted(ids, reverse=True)
    assert look(filled, views.sent, ["a"], limit=1)[0].states == ((S.AVAILABLE, 2),)
    assert look(filled, views.sent, []) == ()


def test_parked_pages_through_everything_once(filled: FilledStore) -> None:
    sent = [filled.send(["b", "c"]) for _ in range(3)]
    wanted: list[str] = []
    for each in sent:
        for delivery_id in each.delivery_ids:
            filled.move(delivery_id, S.PARKED, reason=Reason.DOCUMENT_FAULT)
        wanted += each.delivery_ids
    seen: list[str] = []
    after = ""
    while page := look(filled, views.parked, limit=2, after=after):
        seen += [line.delivery_id for line in page]
        after = page[-1].delivery_id
    assert seen == sorted(wanted)
    assert look(filled, views.parked, limit=1)[0].reason == "document_fault"


def test_the_oldest_open_are_of_any_open_state(filled: FilledStore) -> None:
    first, second, third, fourth = (filled.send(["b"]).delivery_ids[0] for _ in range(4))
    filled.move(third, S.FETCHED)
    filled.move(second, S.WITHDRAWN)
    filled.move(fourth, S.PARKED)
    assert [line.delivery_id for line in look(filled, views.oldest_open)] == [first, third, fourth]
    assert [line.delivery_id for line in look(filled, views.oldest_open, limit=1)] == [first]


def test_the_slowest_delivered_come_first_with_their_seconds(filled: FilledStore) -> None:
    quick, slow = filled.send(["b"]).delivery_ids[0], filled.send(["b"]).delivery_ids[0]
    for delivery_id in (quick, slow):
        filled.move(delivery_id, S.FETCHED)
        filled.clock.turn(60_000_000 if delivery_id == slow else 0)
        filled.move(delivery_id, S.DELIVERED)
    found = look(filled, views.slowest, start=START)
    assert [line.line.delivery_id for line in found] == [slow, quick]
    assert [line.seconds for line in found] == [64.0, 3.0]
    assert look(filled, views.slowest, start=filled.clock.now()) == ()


def test_notices_are_the_agencys_own_newest_first(filled: FilledStore) -> None:
    mine, other = filled.send(["b"], sender="a"), filled.send(["b"], sender="d")
    ids = [new_id() for _ in range(3)]
    with filled.store.write() as writer:
        tell(
            writer,
            [
                Notice(
                    id=each, packet_id=sent.packet_id, delivery_id=sent.delivery_ids[0], code="delivery.expired", at=1
                )
                for each, sent in zip(ids, (mine, other, mine), strict=True)
            ],
        )
    own = sorted((ids[0], ids[2]), reverse=True)
    assert [line.notice_id for line in look(filled, views.notices, ["a"])] == own
    assert [line.notice_id for line in look(filled, views.notices, ["a"], after=own[0])] == own[1:]
    assert {line.agency_id for line in look(filled, views.notices, ["a", "d"])} == {"a", "d"}
    assert [line.notice_id for line in look(filled, views.notices, ["a", "d"], limit=1)] == [max(ids)]


# --- figures -------------------------------------------------------------------------------------------------


def test_backlog_and_inboxes_come_from_the_rollups(filled: FilledStore) -> None:
    sent = filled.send(["b", "c", "c2"])
    filled.send(["b"], book=Book.STATUSES)
    filled.move(sent.delivery_ids[0], S.FETCHED)
    filled.move(sent.delivery_ids[2], S.WITHDRAWN)
    assert [(line.book, line.state, line.count) for line in look(filled, views.backlog)] == [
        ("documents", "available", 1),
        ("documents", "fetched", 1),
        ("documents", "withdrawn", 1),
        ("statuses", "available", 1),
    ]
    inboxes = look(filled, views.inbox_counts, ["b", "c2", "x"])
    assert [(i.agency_id, i.book, i.available, i.fetched) for i in inboxes] == [
        ("b", "documents", 0, 1),
        ("b", "statuses", 1, 0),
    ]


def test_a_snapshot_tells_what_alerts_need(filled: FilledStore) -> None:
    empty = look(filled, views.snapshot, filled.clock.now())
    assert (empty.oldest_ready, empty.dead_leases, empty.parked) == (None, 0, ())
    assert [(one.agency_id, one.ordinary) for one in empty.inboxes if one.ordinary is not None] == []
    filled.send(["b", "c"])
    ready = filled.send(["b"], first=S.READY)
    stuck = filled.send(["b"]).delivery_ids[0]
    filled.move(stuck, S.PARKED, reason=Reason.BLOB_MISSING)
    claimed = filled.send(["c"], first=S.READY)
    with filled.store.write() as writer:
        row = say(writer, "SELECT transfer_id FROM deliveries WHERE id = ?", *claimed.delivery_ids)
        claims.claim(writer, [(row.scalar_one(), 0)], worker="w", lease=0, now=filled.clock.now())
        say(writer, "UPDATE channels SET state = 'paused', open_until = ?", filled.clock.now() + 100_000_000)
    now = filled.clock.turn()
    found = look(filled, views.snapshot, now)
    assert ready.packet_id
    assert found.oldest_ready == 4_000_000
    waits = {one.agency_id: one.ordinary for one in found.inboxes if one.ordinary is not None}
    assert {agency: (one.count, now - one.since) for agency, one in waits.items()} == {
        "b": (1, 5_000_000), "c": (1, 5_000_000)
    }  # fmt: skip
    assert [(line.reason, line.count) for line in found.parked] == [("blob_missing", 1)]
    assert found.dead_leases == 1
    assert found.paused_channels == found.broken_channels == ("channel-inbox",)
    assert found.backlog == look(filled, views.backlog)
    assert look(filled, views.snapshot, now + 100_000_000).broken_channels == ()
    assert look(filled, views.snapshot, START).oldest_ready is None


# --- plans ---------------------------------------------------------------------------------------------------

GROWING = ("deliveries", "packets", "events", "attempts", "transfers", "statuses", "notices")
OPEN_ONLY = (
    "SCAN deliveries USING INDEX deliveries_open",
    "SCAN deliveries USING INDEX deliveries_parked",
    "SCAN deliveries USING COVERING INDEX deliveries_inbox",
)
"""Indexes that hold only what is open: walking one whole costs the backlog, not what is stored."""
SORTED_BY_HAND = ("since -", "document_key IN", "FROM recoveries")
"""What sorts a few rows: spans of one delivery, packets of one document, restores of this node."""


def test_no_view_reads_a_growing_table_from_end_to_end(filled: FilledStore) -> None:
    for _ in range(3):
        sent = filled.send(["b", "c"], sender="a", root="r")
    plans: list[str] = []
    asked: list[tuple[str, tuple[object, ...]]] = []

    @event.listens_for(filled.store.engine, "before_cursor_execute")
    def note(conn: object, cursor: object, statement: str, given: tuple[object, ...], *_: object) -> None:
        asked.append((statement, given))

    look(filled, views.document, sent.packet_id, seen_by=frozenset({"a"}))
    look(filled, views.find_packets, "H99.1,2025-10-01,12/TB-UBND", issuers=["so-1"])
    look(filled, views.sent, ["a", "b"])
    look(filled, views.notices, ["a", "b"])
    look(filled, views.parked)
    look(filled, views.parked, after=sent.delivery_ids[0])
    look(filled, views.oldest_open)
    look(filled, views.slowest, start=START)
    look(filled, views.inbox_counts, ["b"])
    look(filled, views.backlog)
    look(filled, views.snapshot, START)

    with filled.store.read() as connection:
        for statement, given in [each for each in asked if each[0].startswith("SELECT")]:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            plans += [f"{row[3]} <- {statement}" for row in rows]
    assert len(plans) > 25
    scans = [plan for plan in plans if plan.startswith(tuple(f"SCAN {table}" for table in GROWING))]
    assert not [plan for plan in scans if not plan.startswith(OPEN_ONLY)]
    for statement, _ in asked:
        if "LIMIT" in statement and not any(words in statement for words in SORTED_BY_HAND):
            assert f"USE TEMP B-TREE FOR ORDER BY <- {statement}" not in plans


# --- finding by what is remembered -----------------------------------------------------------------------------------


def test_a_search_ends_at_its_count_and_says_so(filled: FilledStore) -> None:
    old = filled.send(["a"], subject="Kế hoạch trồng rừng")
    for _ in range(4):
        filled.send(["a"])
    wanted = views.Wanted(subject="trong rung")
    short = look(filled, views.search, wanted, look=4)
    assert (short.lines, short.looked, short.is_all) == ((), 4, False)
    whole = look(filled, views.search, wanted)
    assert [line.packet_id for line in whole.lines] == [old.packet_id]
    assert (whole.looked, whole.is_all) == (5, True)


def test_a_search_leaves_statuses_out(filled: FilledStore) -> None:
    filled.send(["a"], book=Book.STATUSES, subject="Kế hoạch")
    assert look(filled, views.search, views.Wanted(subject="ke hoach")).lines == ()
