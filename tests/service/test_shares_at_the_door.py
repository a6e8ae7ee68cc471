"""One system's crowd at the door of a real process: it has its share, and another system is served all the while."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from tests.service.test_processes import INBOX, SENDER, _configure, _organ
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until
from tests.support.processes import NodeProcesses

pytestmark = pytest.mark.timeout(400)
CROWD, SHARE = 400, 64  # a quarter of the 256 places that there are by default
POLLS, CROWD_OF_POLLS = 10, 30
DRIP = 4.0  # seconds between two bytes
PATHS = ("/v1/packets", "/v1/packets/check")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcesses, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("phan")
    settings = {"today": "2025-10-01", "disk_reserve_mib": "1", "polls": str(4 * POLLS), "coming_mib": "40"}
    with NodeProcesses(folder / "nut", settings) as processes:
        assert processes.run("init").returncode == 0
        tokens = _configure(processes, folder / "thu-muc")
        processes.start("api")
        yield processes, tokens


def _ask(processes: NodeProcesses, request: str, token: str, *lines: str) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", processes.port), timeout=PATIENCE)
    head = (f"{request} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *lines, "", "")
    opened.sendall("\r\n".join(head).encode())
    return opened


def _upload(processes: NodeProcesses, path: str, token: str, length: str) -> socket.socket:
    return _ask(processes, f"POST {path}", token, "Content-Type: application/xml", length)


def _answered(crowd: list[socket.socket]) -> list[socket.socket]:
    """Those who were answered already, or cut off."""
    poll = select.poll()
    by_number = {one.fileno(): one for one in crowd}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(0)]


def _told(opened: socket.socket) -> str:
    """All of an answer."""
    with opened.makefile("rb") as answer:
        head = b"".join(iter(answer.readline, b"\r\n"))
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return (head + answer.read(size)).decode()


def _assert_own(told: str, code: str, share: str) -> None:
    assert told.startswith("HTTP/1.1 429"), told
    assert "application/problem+json" in told
    assert "retry-after: " in told
    assert f'"code":"{code}"' in told
    assert told.count(share) >= 2, "both languages name the share"


@contextmanager
def _dripping(crowd: list[socket.socket]) -> Iterator[None]:
    """A byte of each, every few seconds, while the block lasts."""
    is_over = threading.Event()

    def drip() -> None:
        while True:
            for one in crowd:
                one.send(b" ")
            if is_over.wait(DRIP):
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        yield
    finally:
        is_over.set()
        dripping.join()


@pytest.mark.parametrize("path", PATHS)
def test_four_hundred_slow_uploads_of_one_system_keep_no_other_one_waiting(
    node: tuple[NodeProcesses, dict[str, str]], path: str
) -> None:
    """What is too many is told so while its body has hardly begun, and a check counts as a submission does."""
    processes, tokens = node
    with ExitStack() as closing:
        crowd = [
            closing.enter_context(_upload(processes, path, tokens[INBOX], "Content-Length: 20000\r\n\r\n<"))
            for _ in range(CROWD)
        ]
        until(lambda: len(_answered(crowd)) >= CROWD - SHARE, lambda: f"{len(_answered(crowd))} are refused")
        refused = _answered(crowd)
        slow = [one for one in crowd if one not in refused]
        with _dripping(slow):
            _assert_accepted(processes, tokens[SENDER], "0")
            for either in PATHS:
                with _upload(processes, either, tokens[INBOX], "Content-Length: 20000") as more:
                    _assert_own(_told(more), "api.share_held", f" {SHARE} ")
            assert len(slow) == SHARE
            assert not _answered(slow), "all of them are still under way"
            for number in range(1, 10):
                _assert_accepted(processes, tokens[SENDER], str(number))
        for one in refused:
            _assert_own(_told(one), "api.share_held", f" {SHARE} ")
    until(lambda: _is_taken(processes, tokens[INBOX]), "places come back when their connections end")


def _assert_accepted(processes: NodeProcesses, token: str, number: str) -> None:
    body = build_packet(sender=_organ(SENDER), recipients=[_organ(INBOX)], number=number)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/xml"}
    got = httpx2.post(f"{processes.url}/v1/packets", content=body, headers=headers, timeout=PATIENCE)
    assert got.status_code == 202, got.text


def _is_taken(processes: NodeProcesses, token: str) -> bool:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/xml"}
    got = httpx2.post(f"{processes.url}/v1/packets/check", content=b"<a/>", headers=headers, timeout=PATIENCE)
    return got.status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_the_bytes_of_one_system_have_a_share_whether_it_tells_their_number_or_not(
    node: tuple[NodeProcesses, dict[str, str]], path: str
) -> None:
    """Ten MiB are a quarter of what may come here. One large packet may always come."""
    processes, tokens = node
    piece = b"Transfer-Encoding: chunked\r\n\r\n100000\r\n".decode() + " " * (1 << 20)
    with _upload(processes, path, tokens[INBOX], f"Content-Length: {12 << 20}") as large:
        with _upload(processes, path, tokens[INBOX], f"Content-Length: {1 << 20}") as told:
            _assert_own(_told(told), "api.share_of_bytes_held", "10 MiB")
        with _upload(processes, path, tokens[INBOX], piece) as untold:
            _assert_own(_told(untold), "api.share_of_bytes_held", "10 MiB")
        with _upload(processes, path, tokens[SENDER], "Content-Length: 4\r\n\r\n<a/>") as other:
            assert _told(other).startswith("HTTP/1.1 422" if path == PATHS[0] else "HTTP/1.1 200")
        assert not _answered([large])


def test_long_polls_of_one_system_have_a_share_and_another_one_waits_as_ever(
    node: tuple[NodeProcesses, dict[str, str]],
) -> None:
    processes, tokens = node
    with ExitStack() as closing, ThreadPoolExecutor(1) as pollers:
        crowd = [
            closing.enter_context(_ask(processes, "GET /v1/inbox?wait=60", tokens[SENDER]))
            for _ in range(CROWD_OF_POLLS)
        ]
        until(lambda: len(_answered(crowd)) >= CROWD_OF_POLLS - POLLS)
        refused = _answered(crowd)
        headers = {"authorization": f"Bearer {tokens[INBOX]}"}
        url = f"{processes.url}/v1/inbox?wait=1&after=7fffffff-ffff-7fff-bfff-ffffffffffff"
        got = pollers.submit(httpx2.get, url, headers=headers, timeout=PATIENCE).result()
        assert (got.status_code, got.json()["items"]) == (200, [])
        assert len(refused) == CROWD_OF_POLLS - POLLS
        for one in refused:
            _assert_own(_told(one), "api.share_of_polls_held", "10 ")
        assert not _answered([one for one in crowd if one not in refused])
