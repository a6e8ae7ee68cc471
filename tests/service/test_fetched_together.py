"""Recipients of one document who come for it together: its blob is read and checked once for all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import httpx2

from tests.support.edge import FOREIGN, RECIPIENT, RunningApi
from tests.support.patience import until

_One: TypeAlias = tuple[str, str, str]
"""A delivery: its agency, its id and its packet's."""
_opened: list[str] = []
_watched = ""


def _hear(what: str, arguments: tuple[object, ...]) -> None:
    if what == "open" and _watched and str(arguments[0]) == _watched:
        _opened.append(_watched)


sys.addaudithook(_hear)


@contextmanager
def _openings(path: Path) -> Iterator[list[str]]:
    """How often this process opens the file."""
    global _watched  # noqa: PLW0603 - a hook of the interpreter stays for ever, and there is one
    _opened.clear()
    _watched = str(path)
    try:
        yield _opened
    finally:
        _watched = ""


def _sent_to_both(api: RunningApi) -> tuple[bytes, str, list[_One]]:
    """A document's bytes, its digest, and its deliveries."""
    body = api.packet(recipients=[api.organ(RECIPIENT), api.organ(FOREIGN)])
    sent = api.send(body)
    found = []
    for agency in (RECIPIENT, FOREIGN):
        items = api.client(agency).get("/v1/inbox", params={"agency": agency, "limit": 500}).json()["items"]
        (item,) = [item for item in items if item["packet_id"] == sent["packet_id"]]
        found.append((agency, item["delivery_id"], sent["packet_id"]))
    return body, str(item["digest"]), found


def _fetch_together(api: RunningApi, found: list[_One]) -> list[httpx2.Response]:
    """Answers to fetches that go to the database as one group."""
    fetching = api.front.edge.fetching

    def fetch(one: _One) -> httpx2.Response:
        return api.client(one[0]).get(f"/v1/inbox/{one[1]}/packet")

    with ThreadPoolExecutor(len(found)) as threads:
        with fetching._turn:
            asked = [threads.submit(fetch, one) for one in found]
            until(lambda: fetching._queue.qsize() == len(found) - 1)  # the first one has been taken, and waits
        return [each.result() for each in asked]


def test_the_blob_is_read_once(api: RunningApi) -> None:
    body, digest, found = _sent_to_both(api)
    with _openings(api.node.store.blobs.path(digest)) as opened:
        got = _fetch_together(api, found)
        assert len(opened) == 1
    assert [(each.status_code, each.content) for each in got] == [(200, body)] * 2


def test_what_is_damaged_is_served_to_none_of_them(api: RunningApi) -> None:
    body, digest, found = _sent_to_both(api)
    path = api.node.store.blobs.path(digest)
    path.chmod(0o600)
    path.write_bytes(body[:-1] + b"\0")
    got = _fetch_together(api, found)
    assert [each.status_code for each in got] == [503] * 2
    packet_id = found[0][2]
    shown = api.sender.get(f"/v1/packets/{packet_id}").json()["recipients"]
    assert [(line["state"], line["reason"]) for line in shown] == [("parked", "blob_damaged")] * 2
