"""A process that ends before it could answer says so; what it answers is no fault of the program."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from gateway.api.asked import Message
from gateway.api.front import Front
from tests.support.edge import SENDER, RunningApi, running_api
from tests.support.patience import PATIENCE


async def _cut_off(front: Front, token: str) -> list[Message]:
    """What is sent to a request that is cut off while its body is waited for."""
    said: list[Message] = []
    is_read = asyncio.Event()

    async def receive() -> Message:
        is_read.set()
        await asyncio.Event().wait()  # its sender says nothing more
        return {}

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/statuses", "query_string": b"", "root_path": "",
        "headers": [
            (b"authorization", f"Bearer {token}".encode()), (b"content-length", b"9"), (b"expect", b"100-continue"),
            (b"content-type", b"application/json"),
        ],
    }  # fmt: skip
    asked = asyncio.ensure_future(front(scope, receive, send))
    await is_read.wait()
    asked.cancel()
    await asyncio.wait([asked])
    return said


def test_whoever_is_cut_off_by_the_end_is_told_to_ask_again(tmp_path: Path) -> None:
    async def inner(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()

    with running_api(tmp_path) as api:
        said = asyncio.run(asyncio.wait_for(_cut_off(Front(api.front.edge, inner), api.tokens[SENDER]), PATIENCE))
    assert said[0]["status"] == HTTPStatus.SERVICE_UNAVAILABLE
    assert (b"retry-after", b"2") in said[0]["headers"]
    assert b'"code":"api.ending"' in b"".join(message.get("body", b"") for message in said)


def _begin(api: RunningApi) -> socket.socket:
    """A submission whose body does not come."""
    line = api.raw()
    head = ("POST /v1/packets HTTP/1.1", "host: x", f"authorization: Bearer {api.tokens[SENDER]}", "content-length: 9")
    line.sendall("\r\n".join((*head, "expect: 100-continue", "", "")).encode())
    return line


def test_requests_that_the_end_cuts_off_are_one_line_of_the_log(tmp_path: Path, lines: io.StringIO) -> None:
    with running_api(tmp_path) as api:
        cut = [_begin(api) for _ in range(3)]
        tasks = api.server.server_state.tasks
        Retrying(retry=retry_if_result(lambda n: n != 3), wait=wait_fixed(0.02), stop=stop_after_delay(PATIENCE))(
            lambda: len(tasks)
        )
        api.server.grace = 0.05
        api.server.stop()
        answers = [b"".join(iter(lambda line=line: line.recv(4096), b"")) for line in cut]
        for line in cut:
            line.close()
    assert all(b" 503 " in answer for answer in answers)
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["level"], line["count"]) for line in told if line["event"] == "api.cut_off"] == [("info", 3)]
    assert not [line for line in told if line["event"] == "library.logged"]
