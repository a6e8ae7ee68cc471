"""Channels as rows: what apply writes, what operators say, what the breaker remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from gateway.model.instants import SECOND
from gateway.model.states import ChannelState, TransferState
from gateway.store import channels, claims, picking, transfers, versions
from gateway.store.statements import select_rows
from gateway.store.versions import VersionWatch
from tests.support.stored import write_transfers
from tests.support.stores import HandClock, fresh_store, inbox_row, kinds_of_events


def test_a_channel_is_written_changed_and_read_back(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row(settings={"tên": "Hộp thư"}, system_id="s1"))
        assert channels.serve_agencies(connection, "hop-thu", ["a", "b"]) == frozenset()
        assert channels.list_channels(connection) == (
            inbox_row(settings={"tên": "Hộp thư"}, system_id="s1", agency_ids=frozenset({"a", "b"})),
        )
        channels.put_channel(connection, inbox_row(in_flight=9))
        (row,) = channels.list_channels(connection)
        assert (row.in_flight, row.settings, row.agency_ids) == (9, {}, {"a", "b"})


def test_an_agency_is_reached_by_one_channel_at_a_time(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row("k1"))
        channels.put_channel(connection, inbox_row("k2"))
        channels.serve_agencies(connection, "k1", ["a", "b"])
        assert channels.serve_agencies(connection, "k2", ["b", "c"]) == {"b"}
        assert channels.channels_of(connection, ["a", "b", "c", "d"]) == {"a": "k1", "b": "k1", "c": "k2"}
        channels.release_agencies(connection, "k1", ["b"])
        assert channels.serve_agencies(connection, "k2", ["b"]) == frozenset()


def test_pausing_and_resuming_leave_one_event_each(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row())
        for state, is_change in (
            (ChannelState.PAUSED, True), (ChannelState.PAUSED, False), (ChannelState.OPEN, True),
        ):  # fmt: skip
            assert channels.set_state(connection, "hop-thu", state, now=1, actor="an") is is_change
        assert not channels.set_state(connection, "khong-co", ChannelState.PAUSED, now=1, actor="an")
    assert kinds_of_events(store) == [
        ("channel.paused", "an", "channel:hop-thu"),
        ("channel.resumed", "an", "channel:hop-thu"),
    ]


def test_an_outage_is_one_event_and_so_is_its_end(tmp_path: Path) -> None:
    clock = HandClock()
    store = fresh_store(tmp_path, clock)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row())
        opened = [_fault(connection, "hop-thu", clock, "folder.unreachable") for _ in range(5)]
        assert opened == [False, False, True, False, False]
        clock.turn(31 * SECOND)
        assert not _fault(connection, "hop-thu", clock, "folder.full")
        health = channels.list_health(connection)["hop-thu"]
        assert health.breaker.open_until == clock.now() + 60 * SECOND
        assert health.reason == "folder.full"
        clock.turn(61 * SECOND)
        closed = [_arrival(connection, "hop-thu", clock) for _ in range(3)]
        assert closed == [True, False, False]
        assert channels.list_health(connection)["hop-thu"].breaker.is_healthy
    assert kinds_of_events(store) == [
        ("channel.broken", "channel:hop-thu", "folder.unreachable"),
        ("channel.recovered", "channel:hop-thu", "folder.full"),
    ]


def test_a_success_on_a_healthy_channel_writes_nothing(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row())
    said: list[str] = []
    with store.write() as connection:
        event.listen(
            store.engine, "before_cursor_execute", lambda _c, _k, statement, *_: said.append(statement.split()[0])
        )
        _arrival(connection, "hop-thu", HandClock())
    assert said == ["SELECT"]


def test_from_two_seconds_on_a_channel_is_slow_until_it_is_quick_again(tmp_path: Path) -> None:
    clock = HandClock()
    store = fresh_store(tmp_path, clock)
    seen = []
    with store.write() as connection:
        channels.put_channel(connection, inbox_row())
        for seconds in (1.9, 2.0, 1.9, 0.5, 0.49, 0.5):
            _arrival(connection, "hop-thu", clock, seconds)
            seen.append(channels.list_health(connection)["hop-thu"].is_slow)
        ended = channels.HandedOver(channel_id="hop-thu", seconds=3, has_arrived=False)
        channels.note_hand_overs(connection, [ended], now=clock.now())
        known = channels.list_health(connection)["hop-thu"]
    assert seen == [False, True, True, True, False, False]
    assert known.is_slow, "a document's own failure tells how long it took"
    assert known.breaker.is_healthy, "and says nothing of the channel"


def test_putting_a_channel_again_keeps_what_the_breaker_knows(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row())
        _fault(connection, "hop-thu", HandClock(), "x")
        channels.put_channel(connection, inbox_row(in_flight=8))
        assert channels.list_health(connection)["hop-thu"].breaker.faults == 1


def test_a_version_is_looked_at_once_a_second(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    hand = [0.0]
    watch = VersionWatch(store, clock=lambda: hand[0])
    first = watch.look()
    with store.write() as connection:
        versions.raise_configuration(connection)
    hand[0] = 0.99
    assert watch.look() == first
    assert watch.look(force=True).configuration == first.configuration + 1
    with store.write() as connection:
        versions.raise_directory(connection)
    hand[0] = 2.1
    assert watch.look().directory == first.directory + 1


def test_who_asks_for_the_version_beside_what_he_needs_spares_a_look(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    hand = [0.0]
    watch = VersionWatch(store, clock=lambda: hand[0])
    first = watch.look()

    def ask() -> tuple[Any, Any]:
        asked, tell = watch.beside()
        with store.read() as connection:
            return tell, select_rows(connection, *asked)

    early = ask()
    with store.write() as connection:
        versions.raise_configuration(connection)
    hand[0] = 5.0
    tell, rows = ask()
    tell(rows)
    with store.write() as connection:
        versions.raise_configuration(connection)
    hand[0] = 5.9
    assert watch.look().configuration == first.configuration + 1
    early[0](early[1])
    assert watch.look().configuration == first.configuration + 1, "what was asked for earlier and is told late is old"
    hand[0] = 6.0
    assert watch.look().configuration == first.configuration + 2


def test_the_relay_obeys_the_breaker_none_then_one_two_four(tmp_path: Path) -> None:
    clock = HandClock()
    store = fresh_store(tmp_path, clock)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row("k", kind="folder", is_polled=False, in_flight=4))
        write_transfers(connection, [_due(f"t{number}") for number in range(8)])

        def picked() -> int:
            return len(picking.pick_due(connection, now=clock.now(), since=clock.now(), most=32))

        seen = [picked()]
        for _ in range(3):
            _fault(connection, "k", clock, "folder.full")
        seen.append(picked())
        clock.turn(30 * SECOND)
        seen.append(picked())
        for _ in range(2):
            _arrival(connection, "k", clock)
            seen.append(picked())
    assert seen == [4, 0, 1, 2, 4]


def test_ordinary_tickets_wait_unpicked_while_many_lie_unclaimed_and_urgent_ones_go(tmp_path: Path) -> None:
    """Announced at once they would fill their channel's slots, and an urgent document would wait for all of them."""
    clock = HandClock()
    store = fresh_store(tmp_path, clock)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row("k", kind="folder", is_polled=False, in_flight=9))
        channels.put_channel(connection, inbox_row("khac", kind="folder", is_polled=False, in_flight=9))
        write_transfers(connection, [_due(f"t{number}") for number in range(8)])

        def picked() -> list[str]:
            found = picking.pick_due(connection, now=clock.now(), since=clock.now() - SECOND, most=2)
            transfers.mark_announced(connection, [(due.transfer_id, due.turn) for due in found], clock.now())
            return [due.transfer_id for due in found]

        assert [picked(), picked(), picked()] == [["t0", "t1"], ["t2", "t3"], []]
        write_transfers(connection, [replace(_due("gap"), is_urgent=True), replace(_due("u"), channel_id="khac")])
        assert [picked(), picked()] == [["gap"], []], "the urgent one alone, though another channel has room"
        claims.claim(connection, [("t0", 0), ("t1", 0)], worker="w", lease=SECOND, now=clock.now())
        assert picked() == ["t4", "t5"]
        _arrival(connection, "k", clock, 5)
        assert picked() == ["t6", "t7"], "what lies in the slow channels' queue keeps nobody waiting"


def _fault(connection: Connection, channel_id: str, clock: HandClock, code: str) -> bool:
    ended = channels.HandedOver(channel_id=channel_id, seconds=0.1, has_arrived=False, fault=code)
    return channels.note_hand_overs(connection, [ended], now=clock.now()) == 1


def _arrival(connection: Connection, channel_id: str, clock: HandClock, seconds: float = 0.1) -> bool:
    ended = channels.HandedOver(channel_id=channel_id, seconds=seconds, has_arrived=True)
    return channels.note_hand_overs(connection, [ended], now=clock.now()) == 1


def _due(transfer_id: str) -> transfers.NewTransfer:
    return transfers.NewTransfer(
        id=transfer_id,
        packet_id="p",
        channel_id="k",
        state=TransferState.READY,
        members=1,
        due_at=0,
        is_urgent=False,
        size=1,
    )
