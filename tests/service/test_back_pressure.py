"""More submissions than fit: each is accepted or told when to come again, and what was accepted is there."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.support.edge import FOREIGN, SENDER, RunningApi, running_api

PATIENCE = 60.0
MOST = 3


def _send(api: RunningApi, body: bytes) -> httpx2.Response:
    headers = {"authorization": f"Bearer {api.tokens[SENDER]}", "content-type": "application/xml"}
    url = f"http://127.0.0.1:{api.server.port}/v1/packets"
    return httpx2.post(url, content=body, headers=headers, timeout=PATIENCE)


def _waiting(api: RunningApi) -> list[str]:
    return sorted(item["packet_id"] for item in api.waiting())


def test_who_finds_no_place_is_told_to_come_again_before_anything_breaks(tmp_path: Path, lines: io.StringIO) -> None:
    """The writer's place is held, so that nothing can be accepted: as many as fit wait, the others are told at once."""
    with running_api(tmp_path, submissions=str(MOST), share="100") as api, ThreadPoolExecutor(8) as submitters:
        bodies = [api.packet() for _ in range(8)]
        refused: list[httpx2.Response] = []
        told = threading.Semaphore(0)

        def submit(body: bytes) -> httpx2.Response:
            got = _send(api, body)
            if got.status_code != 202:
                refused.append(got)
                told.release()
            return got

        with api.node.store.write():
            begun = [submitters.submit(submit, body) for body in bodies]
            for _ in range(8 - MOST):
                assert told.acquire(timeout=PATIENCE)
            assert api.front.edge.uploads.taken == MOST
        answers = [one.result(PATIENCE) for one in begun]
        assert Counter(got.status_code for got in answers) == {202: MOST, 429: 8 - MOST}
        for got in refused:
            assert int(got.headers["retry-after"]) > 0
            assert got.json()["code"] == "api.share_held"
        assert _waiting(api) == sorted(got.json()["packet_id"] for got in answers if got.status_code == 202)
        assert api.front.edge.uploads.taken == 0
        assert not api.spooled()
        put_off = [json.loads(line) for line in lines.getvalue().splitlines() if "request.put_off" in line]
        (whom,) = {one["system"] for one in put_off}
        assert whom == SENDER, "the operator sees whose software sends too much"
        assert len(put_off) == 1, "once a minute, not for each"


def _begin(api: RunningApi, body: bytes, sent: int, agency: str = SENDER) -> socket.socket:
    """A submission of which so many bytes of the body are sent."""
    head = (
        f"POST /v1/packets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.tokens[agency]}\r\n"
        f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    opened = socket.create_connection(("127.0.0.1", api.server.port), timeout=PATIENCE)
    opened.sendall(head.encode() + body[:sent])
    return opened


def test_who_finds_no_place_is_told_so_before_the_body_is_read(tmp_path: Path) -> None:
    """The only place is held by a body that came by half; of another system's no byte has come when it is refused."""
    with running_api(tmp_path, submissions="1", share="100") as api:
        body, next_body = api.packet(), api.packet()
        with _begin(api, body, len(body) // 2) as held:
            deadline = time.monotonic() + PATIENCE
            while not api.front.edge.uploads.taken:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with _begin(api, next_body, 0, FOREIGN) as refused:
                told = refused.recv(4096)
                assert told.startswith(b"HTTP/1.1 503")
                assert b"retry-after:" in told.split(b"\r\n\r\n")[0].lower()
                assert b'"code":"api.overloaded"' in told
            held.sendall(body[len(body) // 2 :])
            assert held.recv(64).startswith(b"HTTP/1.1 202"), "whoever has a place keeps it"
        assert len(_waiting(api)) == 1


def test_a_crowd_that_comes_again_gets_everything_in_once(tmp_path: Path) -> None:
    with running_api(tmp_path, submissions=str(MOST), share="100") as api, ThreadPoolExecutor(12) as submitters:
        most_taken: list[int] = []

        def submit(body: bytes) -> str:
            deadline = time.monotonic() + PATIENCE
            while True:
                got = _send(api, body)
                most_taken.append(api.front.edge.uploads.taken)
                if got.status_code == 202:
                    return str(got.json()["packet_id"])
                assert got.status_code == 429, got.text
                assert int(got.headers["retry-after"]) > 0
                assert time.monotonic() < deadline
                time.sleep(0.02)

        packets = list(submitters.map(submit, [api.packet() for _ in range(48)]))
        assert max(most_taken) <= MOST
        assert _waiting(api) == sorted(packets)
