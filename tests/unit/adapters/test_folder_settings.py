"""A folder channel's settings are checked one by one, and every message exists in both languages."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from string import Formatter

import pytest

import adapters
from adapters.contract import AdapterError, Sink, Source
from adapters.folder import open_folder
from edxml.messages import Language, catalogue


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({}, "root"),
        ({"root": "relative"}, "root"),
        ({"root": 3}, "root"),
        ({"root": "/x", "setle": 2}, "setle"),
        ({"root": "/x", "settle": -1}, "settle"),
        ({"root": "/x", "settle": True}, "settle"),
        ({"root": "/x", "unpack": "yes"}, "unpack"),
        ({"root": "/x", "file_mode": 660}, "file_mode"),
        ({"root": "/x", "file_mode": "0999"}, "file_mode"),
        ({"root": "/x", "remember_days": 30}, "remember_days"),
        ({"root": "/x", "sending_limit": 0}, "sending_limit"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], setting: str) -> None:
    with pytest.raises(AdapterError) as caught:
        open_folder(settings, "kenh-16")
    assert caught.value.params["setting"] == setting
    assert caught.value.params["channel"] == "kenh-16"
    for language in Language:
        assert setting in caught.value.text(language)


def test_settings_reach_sink_and_source() -> None:
    channel = open_folder({"root": "/x", "settle": 5, "sending_limit": 7, "settle_time": 9, "unpack": True}, "kenh")
    source: Source = channel.source
    sink: Sink = channel.sink
    assert (source, sink) == (channel.source, channel.sink)
    assert channel.source.settle == 5
    assert (channel.sink.sending_limit, channel.sink.settle_time) == (timedelta(seconds=7), timedelta(seconds=9))
    assert channel.sink.unpacks


def test_every_code_has_a_text_in_both_languages() -> None:
    sources = "".join(path.read_text("utf-8") for path in Path(adapters.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'"((?:folder|blob|channel)\.[a-z_]+)"', sources))
    points = set(re.findall(r'(?:declare|crash_point)\("([a-z_.]+)"', sources))
    vietnamese, english = (catalogue("adapters", language) for language in Language)
    assert codes - points <= vietnamese.keys()
    assert vietnamese.keys() == english.keys()
    for code, text in vietnamese.items():
        assert _placeholders(text) == _placeholders(english[code]), code


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}
