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
