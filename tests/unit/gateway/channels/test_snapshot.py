"""From rows to sinks and sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import AdapterError
from gateway.channels import KINDS, Channels
from gateway.model.errors import NotFound
from gateway.store import Store, channels
from routing.plan import Reach
from tests.support.stores import fresh_store, inbox_row


@dataclass
class Opened:
    sink: Any
    source: Any = None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = fresh_store(tmp_path)
    with store.write() as connection:
        channels.put_channel(connection, inbox_row())
        channels.put_channel(connection, inbox_row("thu-muc", kind="folder", is_polled=False, settings={"root": "/t"}))
        channels.serve_agencies(connection, "hop-thu", ["a"])
        channels.serve_agencies(connection, "thu-muc", ["b"])
    return store


def test_a_snapshot_says_who_is_reached_how(store: Store) -> None:
    snapshot = Channels(store).snapshot()
    assert snapshot.reach == {
        "a": Reach(channel_id="hop-thu", kind="inbox"),
        "b": Reach(channel_id="thu-muc", kind="folder"),
    }
    assert snapshot.by_id["hop-thu"].is_polled


def test_it_is_made_again_only_when_rows_change(store: Store) -> None:
    known = Channels(store)
    first = known.snapshot()
    assert known.refresh() is first
    with store.write() as connection:
        channels.serve_agencies(connection, "hop-thu", ["c"])
    second = known.refresh()
    assert "c" in second.reach
    assert second.directory is first.directory
    assert known.snapshot() is second


def test_an_adapter_is_opened_once_until_its_own_settings_change(store: Store) -> None:
    made: list[Opened] = []

    def open_counted(settings: Any, channel_id: str) -> Any:
        made.append(Opened(sink=(channel_id, dict(settings))))
        return made[-1]

    known = Channels(store, {**KINDS, "folder": open_counted})
    first = known.sink("thu-muc")
    assert known.sink("thu-muc") is first
    assert known.source("thu-muc") is None
    with store.write() as connection:
        channels.serve_agencies(connection, "hop-thu", ["c"])
    known.refresh()
    assert known.sink("thu-muc") is first
    with store.write() as connection:
        channels.put_channel(
            connection, inbox_row("thu-muc", kind="folder", is_polled=False, settings={"root": "/khac"})
        )
    known.refresh()
    assert known.sink("thu-muc") == ("thu-muc", {"root": "/khac"})
    assert len(made) == 2


def test_what_cannot_be_opened_says_why(store: Store) -> None:
    with store.write() as connection:
        channels.put_channel(connection, inbox_row("la", kind="fax"))
        channels.put_channel(connection, inbox_row("sai", kind="folder", settings={"rot": "/t"}))
    known = Channels(store)
    reasons = []
    for channel_id in ("hop-thu", "khong-co"):
        with pytest.raises(NotFound) as why:
            known.sink(channel_id)
        reasons.append(why.value.reason)
    assert reasons == ["channel.polled", "channel.unknown"]
    with pytest.raises(AdapterError) as unknown:
        known.sink("la")
    assert unknown.value.reason == "channel.kind_unknown"
    assert known.source("hop-thu") is None
    with pytest.raises(AdapterError):
        known.sink("sai")
