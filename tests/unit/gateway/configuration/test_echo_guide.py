"""The file printed in the echo guide is applied as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.channels import Channels, EchoSink
from gateway.configuration import apply, init_rows, parse
from tests.support.stores import fresh_store

GUIDE = Path(__file__).parents[4] / "docs" / "guides" / "echo.md"


def test_the_guides_file_makes_four_echo_agencies(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    store = fresh_store(tmp_path)
    init_rows(store)
    assert len(apply(store, parse(text))) == 8
    known = Channels(store)
    sinks = {channel_id: known.sink(channel_id) for channel_id in known.snapshot().by_id}
    assert len(sinks) == 4
    assert all(isinstance(sink, EchoSink) for sink in sinks.values())
    assert not sinks["echo-mat-lien-lac"].probe().usable
