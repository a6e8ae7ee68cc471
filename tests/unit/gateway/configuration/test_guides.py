"""The files printed in the guides are applied as they stand."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from edxml import REPAIRS
from gateway.channels import Channels, EchoSink
from gateway.configuration import apply, export, init_rows, parse
from gateway.store import Store
from tests.support.stores import fresh_store

GUIDES = Path(__file__).parents[4] / "docs" / "guides"


def applied(folder: Path, guide: str) -> Store:
    (text,) = re.findall(r"```toml\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)
    store = fresh_store(folder)
    init_rows(store)
    assert apply(store, parse(text))
    assert apply(store, parse(text)) == ()
    assert apply(store, parse(export(store))) == ()
    return store


@pytest.mark.parametrize("guide", ["echo.md", "echo.vi.md"])
def test_the_echo_guide_makes_four_echo_agencies(tmp_path: Path, guide: str) -> None:
    known = Channels(applied(tmp_path, guide))
    sinks = {channel_id: known.sink(channel_id) for channel_id in known.snapshot().by_id}
    assert len(sinks) == 4
    assert all(isinstance(sink, EchoSink) for sink in sinks.values())
    assert not sinks["echo-mat-lien-lac"].probe().usable


def test_the_guide_of_repairs_ends_one_on_its_day(tmp_path: Path) -> None:
    snapshot = Channels(applied(tmp_path, "repairs.md")).snapshot()
    system_id = next(key for key, name in snapshot.system_names.items() if name == "qlvb-stc")
    profile = snapshot.profile_of(system_id)
    assert profile.last_day("bom") == date(2026, 12, 31)
    assert {profile.last_day(name) for name in REPAIRS - {"bom"}} == {date.max}


def test_the_configuration_guide_makes_what_it_says(tmp_path: Path) -> None:
    snapshot = Channels(applied(tmp_path, "configuration.md")).snapshot()
    assert {agency_id: reach.kind for agency_id, reach in snapshot.reach.items()} == {
        "na-so-snv": "inbox",
        "na-ttdl": "inbox",
        "na-xa-16681-2025": "folder",
    }
