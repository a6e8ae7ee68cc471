"""What makes a channel slow, and what makes it quick again."""

from __future__ import annotations

from pathlib import Path

from gateway.store import channels
from tests.support.stores import fresh_store, inbox_row


def test_a_quick_look_makes_no_channel_quick_and_a_slow_one_makes_it_slow(tmp_path: Path) -> None:
    """Looks come between hand-overs to one that crawls: each would have given it the slots of the others again."""
    store = fresh_store(tmp_path)
    seen = []
    for seconds, was_sent in ((3.0, True), (0.01, False), (0.01, True), (3.0, False), (1.0, True)):
        with store.write() as connection:
            if not seen:
                channels.put_channel(
                    connection, inbox_row("k", kind="folder", is_polled=False, settings={"root": "/t"})
                )
            now = store.now(connection)
            ended = channels.HandedOver(channel_id="k", seconds=seconds, has_arrived=True, was_sent=was_sent)
            channels.note_hand_overs(connection, [ended], now=now)
            seen.append(channels.list_health(connection)["k"].is_slow)
    store.close()
    assert seen == [True, True, False, True, True]


def test_a_channel_that_is_known_to_be_slow_is_not_written_again(tmp_path: Path) -> None:
    """Each late hand-over says so, and would wait for whoever holds the channel's row."""
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row("k", kind="folder", is_polled=False, settings={"root": "/t"}))
    changes = []
    with store.write() as connection:
        for _ in range(3):
            channels.note_slow(connection, "k")
            changes.append(connection.exec_driver_sql("SELECT changes()").scalar_one())
            connection.exec_driver_sql("UPDATE channels SET id = id WHERE 1 = 0")  # what is told is of the last one
        assert channels.list_health(connection)["k"].is_slow
    store.close()
    assert changes == [1, 0, 0]
