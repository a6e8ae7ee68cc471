"""More connections than an API has room for, and more bytes than it may hold: it answers or refuses, and keeps what it
accepted."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.service.test_processes import INBOX, SENDER, _configure, _organ
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until
from tests.support.processes import NodeProcesses

pytestmark = pytest.mark.timeout(400)
DESCRIPTORS = 100
MOST = DESCRIPTORS // 2
CROWD = 90
LARGE, PIECES = 32, 6  # submissions at once, and MiB that come of each
MOST_MIB = 96  # a node that held them in memory would grow by twice that


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcesses, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("day")
    with NodeProcesses(folder / "nut", {"today": "2025-10-01", "disk_reserve_mib": "1"}) as processes:
        assert processes.run("init").returncode == 0
        tokens = _configure(processes, folder / "thu-muc")
        processes.start("api")
        yield processes, tokens


def _connect(processes: NodeProcesses) -> socket.socket:
    return socket.create_connection(("127.0.0.1", processes.port), timeout=PATIENCE)


def _head(token: str, size: int) -> bytes:
    return (
        f"POST /v1/packets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/xml\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def _submit(opened: socket.socket, token: str, number: int) -> str:
    """The id of an accepted packet; "" where the connection is refused."""
    body = build_packet(sender=_organ(SENDER), recipients=[_organ(INBOX)], number=str(number))
    try:
        opened.sendall(_head(token, len(body)) + body)
        answer = opened.recv(65536)
    except ConnectionError:  # closed while we were speaking
        return ""
    if not answer or answer.startswith(b"HTTP/1.1 503"):
        return ""
    assert answer.startswith(b"HTTP/1.1 202"), answer
    return answer.split(b'"packet_id":"')[1].split(b'"')[0].decode()


def _waiting(processes: NodeProcesses, token: str) -> set[str]:
    headers = {"authorization": f"Bearer {token}"}
    got = httpx2.get(f"{processes.url}/v1/inbox?limit=500", headers=headers, timeout=PATIENCE)
    assert got.status_code == 200, got.text
    return {item["packet_id"] for item in got.json()["items"]}


def test_whoever_is_one_too_many_is_told_so_and_those_who_are_there_are_served(
    node: tuple[NodeProcesses, dict[str, str]],
) -> None:
    """Connections take half of the descriptors: the other half is left for what those who are there ask for."""
    processes, tokens = node
    pid = processes.process("api").pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert before[0] > 1024 or before[0] == before[1], "an API takes what it may have"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, before[1]))
    with ExitStack() as closing:
        crowd = [closing.enter_context(_connect(processes)) for _ in range(CROWD)]
        told = crowd.pop().recv(4096)
        assert told.startswith(b"HTTP/1.1 503"), "before it has said a word"
        assert b"retry-after:" in told
        assert b'"code":"api.crowded"' in told
        accepted = [_submit(one, tokens[SENDER], number) for number, one in enumerate(crowd)]
    found = {packet for packet in accepted if packet}
    assert 0 < len(found) <= MOST
    until(lambda: _is_served(processes))
    assert _waiting(processes, tokens[INBOX]) == found
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def _is_served(processes: NodeProcesses) -> bool:
    with _connect(processes) as opened:
        try:
            opened.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return opened.recv(64).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False


@pytest.mark.long
def test_a_crowd_of_large_packets_lies_on_disk_and_not_in_memory(
    node: tuple[NodeProcesses, dict[str, str]],
) -> None:
    processes, tokens = node
    status = Path(f"/proc/{processes.process('api').pid}/status")
    spool = processes.data / "blobs/spool"

    def resident() -> int:
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) >> 10

    def spooled() -> int:
        return sum(path.stat().st_size for path in spool.rglob("*") if path.is_file()) >> 20

    before = resident()
    with ExitStack() as closing:
        for _ in range(LARGE):
            opened = closing.enter_context(_connect(processes))
            opened.sendall(_head(tokens[SENDER], (PIECES + 2) << 20))
            for _ in range(PIECES):
                opened.sendall(b" " * (1 << 20))
        until(lambda: spooled() >= LARGE * (PIECES - 1))
        assert resident() - before < MOST_MIB
    until(lambda: not spooled())
