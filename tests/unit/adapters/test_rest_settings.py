"""A rest channel's settings are checked one by one, each fault said in both languages; opening touches nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import adapters
from adapters.contract import AdapterError, SinkKind
from adapters.rest import rest_kind
from adapters.settings import without_passwords
from edxml.messages import Language, catalogue

URL = {"url": "https://qlvb.h99.vn/truc/den"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "url"),
    ({"url": 3}, "url"),
    ({"url": "ftp://h/x"}, "url"),
    ({"url": "qlvb.h99.vn/den"}, "url"),
    ({"url": "https:///den"}, "url"),
    ({"url": "https://h:0/den"}, "url"),
    ({"url": "https://h:99999/den"}, "url"),
    ({"url": "https://user:secret@h/den"}, "url"),
    ({"url": "https://h/den?x=1"}, "url"),
    ({"url": "https://h/den#x"}, "url"),
    ({"url": "https://h/đến"}, "url"),
    ({"url": "https://h/a b"}, "url"),
    ({"url": "https://h/a\r\nX: y"}, "url"),
    ({"url": "http://h/den"}, "url"),
    ({**URL, "ulr": "x"}, "ulr"),
    ({**URL, "sureness": "sure"}, "sureness"),
    ({**URL, "networks": "10.0.0.0/8"}, "networks"),
    ({**URL, "networks": ["10.0.0.1/8"]}, "networks"),
    ({**URL, "plain_http": "yes"}, "plain_http"),
    ({**URL, "token_file": "token"}, "token_file"),
    ({**URL, "ca_file": 3}, "ca_file"),
    ({**URL, "cert_file": "/c.pem"}, "key_file"),
    ({**URL, "key_file": "/k.pem"}, "cert_file"),
    ({**URL, "idle_wait": 0}, "idle_wait"),
    ({**URL, "least_rate": True}, "least_rate"),
    ({**URL, "sending_limit": 100_000}, "sending_limit"),
]


@pytest.mark.parametrize(("settings", "setting"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_setting_is_named_in_both_languages(settings: dict[str, Any], setting: str) -> None:
    if setting == "plain_http":
        settings = {**settings, "url": "http://h/den"}
    with pytest.raises(AdapterError) as caught:
        rest_kind()(settings, "kenh-16")
    assert (caught.value.params["channel"], caught.value.params["setting"]) == ("kenh-16", setting)
    said = [caught.value.text(language) for language in Language]
    assert all(setting in text and "{" not in text.replace(str(caught.value.params["given"]), "") for text in said)
    assert said[0] != said[1]


@pytest.mark.parametrize(
    ("given", "url", "target"),
    [
        ("https://H.vn/den/", "https://h.vn/den", "https://h.vn/den"),
        ("https://h.vn:443", "https://h.vn", "https://h.vn/"),
        ("https://h.vn:8443/a/b", "https://h.vn:8443/a/b", "https://h.vn:8443/a/b"),
        ("https://[2001:db8::1]:8443/den", "https://[2001:db8::1]:8443/den", "https://[2001:db8::1]:8443/den"),
    ],
)
def test_the_address_is_what_is_signed(given: str, url: str, target: str) -> None:
    endpoint = rest_kind()({"url": given}, "k").sink.endpoint
    assert (endpoint.url, endpoint.target) == (url, target)


def test_settings_reach_the_sink() -> None:
    channel = rest_kind()({**URL, "sureness": "blind", "least_rate": 1, "sending_limit": 100, "settle_time": 7}, "k")
    sink = channel.sink
    assert channel.source is None
    assert (sink.kind, sink.settle_time) == (SinkKind.BLIND, timedelta(seconds=7))
    assert sink.limit_of(0) == timedelta(seconds=35)
    assert sink.limit_of(10 * 1024) == timedelta(seconds=45)
    assert sink.limit_of(1 << 30) == sink.sending_limit == timedelta(seconds=100)


def test_every_code_of_the_rest_channel_has_a_text() -> None:
    sources = "".join(path.read_text("utf-8") for path in Path(adapters.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'"((?:rest|setting)\.[a-z_]+)"', sources))
    points = set(re.findall(r'(?:declare|crash_point)\("([a-z_.]+)"', sources))
    assert len(codes) > 20
    assert codes - points <= catalogue("adapters", Language.VI).keys()


@pytest.mark.parametrize(
    "url",
    [
        "https://nut:mat-khau@qlvb.h99.vn/den",
        "https://nut:mat/khau@mat@qlvb.h99.vn/den",
        "https://qlvb.h99.vn/den?x=1&token=mat-khau",
        "qlvb://nut:mat-khau@qlvb.h99.vn/den",
    ],
)
def test_a_password_within_an_address_is_refused_and_not_said_again(url: str) -> None:
    with pytest.raises(AdapterError) as caught:
        rest_kind()({"url": url, "urls": [url]}, "kenh-16")
    for fault in (caught.value, *caught.value.also):
        said = [*(fault.text(language) for language in Language), str(fault.params)]
        assert all("qlvb.h99.vn/den" in text and "mat" not in text and "khau" not in text for text in said)


def test_other_addresses_are_shown_as_they_are() -> None:
    given = {"url": "https://h.vn/a@b", "networks": ["10.0.0.0/8"], "in": 3, "who": "//h/a:b"}
    assert without_passwords(given) == given
