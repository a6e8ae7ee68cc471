"""Who may watch a node: figures name its systems and agencies, and are shown to the machines that watch over it."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from gateway.api import start_scrape
from gateway.model.errors import SettingsWrong
from gateway.settings import read_settings
from tests.support.edge import RunningApi, running_api

ELSEWHERE = "192.0.2.0/24"


def _assert_refused(got: httpx2.Response) -> None:
    assert (got.status_code, got.headers["content-type"]) == (403, "application/problem+json"), got.text
    told = got.json()
    assert told["code"] == "api.watchers_only"
    assert told["vi"] != told["en"]
    assert "truc_" not in got.text.lower(), "neither a figure nor a variable"


def test_figures_are_shown_on_the_machine_itself(api: RunningApi) -> None:
    assert httpx2.get(f"{api.url}/metrics").text.startswith("# HELP")


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "Via"]
)
def test_who_comes_through_a_proxy_is_no_watcher_whatever_it_says(api: RunningApi, header: str) -> None:
    _assert_refused(httpx2.get(f"{api.url}/metrics", headers={header: "127.0.0.1"}))


def test_a_token_of_a_system_opens_no_figures(tmp_path: Path) -> None:
    with running_api(tmp_path, watch_from=ELSEWHERE) as api:
        for got in (httpx2.get(f"{api.url}/metrics"), api.sender.get("/metrics")):
            _assert_refused(got)
        claimed = httpx2.get(f"{api.url}/metrics", headers={"X-Forwarded-For": "192.0.2.7"})
        _assert_refused(claimed)


def test_a_network_is_named_to_the_address(tmp_path: Path) -> None:
    with running_api(tmp_path, watch_from="127.0.0.2, 2001:db8::/32") as api:
        for own, status in (("127.0.0.2", 200), ("127.0.0.3", 403)):
            with httpx2.Client(transport=httpx2.HTTPTransport(local_address=own)) as client:
                assert client.get(f"{api.url}/metrics").status_code == status, own


@pytest.mark.parametrize(("watch_from", "status"), [("", 403), (ELSEWHERE, 403), ("127.0.0.0/8", 200)])
def test_a_part_without_an_api_shows_them_to_the_same(api: RunningApi, watch_from: str, status: int) -> None:
    scrape = start_scrape(api.node, read_settings({"TRUC_WATCH_FROM": watch_from}))
    try:
        got = httpx2.get(f"http://127.0.0.1:{scrape.port}/metrics")
        assert got.status_code == status
        if status == 403:
            _assert_refused(got)
        else:
            _assert_refused(httpx2.get(f"http://127.0.0.1:{scrape.port}/metrics", headers={"x-forwarded-for": "::1"}))
        assert httpx2.get(f"http://127.0.0.1:{scrape.port}/health/live").status_code == 200
    finally:
        scrape.close()


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "giám sát", "10.0.0.5/8", "10.0.0.1;10.0.0.2", "::1/129"])
def test_what_is_no_network_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(SettingsWrong) as why:
        read_settings({"TRUC_WATCH_FROM": wrong})
    assert [fault.code for fault in why.value.faults] == ["settings.networks"]


def test_addresses_of_both_families() -> None:
    watched = read_settings({"TRUC_WATCH_FROM": "10.1.0.0/16,fd00::/8"})
    for address, expected in (
        ("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("fd00::7", True),
        ("10.2.0.1", False), ("::ffff:10.2.0.1", False), ("127.0.0.1", False), ("fe80::1%eth0", False), ("", False),
    ):  # fmt: skip
        assert watched.is_watched_from(address) is expected, address
    by_default = read_settings({})
    for address, expected in (("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False)):
        assert by_default.is_watched_from(address) is expected, address
