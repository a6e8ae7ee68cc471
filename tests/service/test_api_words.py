"""Bodies of a few words: who may not come in, sends too much or stops in their midst is refused, memory flat."""

from __future__ import annotations

import json
import resource
import socket

import pytest

from gateway.api import asked
from tests.support.edge import RunningApi

ABSENT = "0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f"
MIB = 1 << 20
PATHS = ["/v1/statuses", f"/v1/inbox/{ABSENT}/refuse", f"/v1/inbox/{ABSENT}/confirm"]

pytestmark = pytest.mark.parametrize("path", PATHS)


def _begin(api: RunningApi, path: str, *lines: str) -> socket.socket:
    opened = api.raw()
    head = (f"POST {path} HTTP/1.1", "Host: t", "Content-Type: application/json", *lines, "", "")
    opened.sendall("\r\n".join(head).encode())
    return opened


def _token(api: RunningApi) -> str:
    return f"Authorization: {api.recipient.headers['authorization']}"


def _answer(opened: socket.socket) -> tuple[int, str]:
    """Status and code of the one answer that comes."""
    with opened, opened.makefile("rb") as stream:
        status, length = int(stream.readline().split()[1]), 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name == b"content-length" else length
        return status, str(json.loads(stream.read(length))["code"])


@pytest.mark.parametrize("lines", [[f"Content-Length: {1 << 40}"], ["Transfer-Encoding: chunked"]])
def test_whoever_may_not_come_in_is_told_before_his_body_is_there(api: RunningApi, path: str, lines: list[str]) -> None:
    assert _answer(_begin(api, path, *lines)) == (401, "identity.no_token")


@pytest.mark.parametrize("size", [200 * MIB, 65 * 1024])
def test_more_than_a_few_words_are_refused_and_not_kept(api: RunningApi, path: str, size: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened, sent = _begin(api, path, _token(api), f"Content-Length: {size}"), 0
    try:
        while sent < size:
            sent += opened.send(b" " * min(MIB, size - sent))
    except OSError:
        assert size > 64 * MIB, "cut off while it still sent: as good as any refusal"
        opened.close()
    else:
        assert _answer(opened) == (413, "submission.too_large")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20 * 1024, f"{grown} KiB more"


@pytest.mark.parametrize("begun", [b"", b'{"reason":'])
def test_a_body_that_stops_is_given_up(
    api: RunningApi, path: str, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "_SMALL_WAIT", 0.2)
    opened = _begin(api, path, _token(api), "Content-Length: 100")
    opened.sendall(begun)
    assert _answer(opened) == (408, "api.too_slow")


def test_a_refusal_of_a_whole_body_leaves_the_connection_open(api: RunningApi, path: str) -> None:
    with _begin(api, path, _token(api), "Content-Length: 5") as opened:
        opened.sendall(b"{bad}")
        said = opened.recv(65_536)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" not in said
