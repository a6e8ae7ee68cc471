"""A process that ends before it could answer says so; what it answers is no fault of the program."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from gateway.api.app import create_app
from gateway.api.asked import Message
from gateway.api.front import Front
from gateway.settings import read_settings
from tests.support.nodes import House


async def _cut_off(front: Front) -> list[Message]:
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
        "headers": [(b"content-length", b"9"), (b"expect", b"100-continue"), (b"content-type", b"application/json")],
    }  # fmt: skip
    asked = asyncio.ensure_future(front(scope, receive, send))
    await is_read.wait()
    asked.cancel()
    await asyncio.wait([asked])
    return said


def test_whoever_is_cut_off_by_the_end_is_told_to_ask_again(house: House) -> None:
    async def inner(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()

    edge = create_app(house.node, read_settings({"TRUC_DATA": str(house.root), "TRUC_NODE": "thu"})).edge
    said = asyncio.run(_cut_off(Front(edge, inner)))
    edge.close()
    assert said[0]["status"] == HTTPStatus.SERVICE_UNAVAILABLE
    assert (b"retry-after", b"2") in said[0]["headers"]
    assert b'"code":"api.ending"' in b"".join(message.get("body", b"") for message in said)
