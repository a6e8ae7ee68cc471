"""Dialects: how a server is asked for the four things that a document's whole way needs, and how it answers.

The load generator knows nothing else about a server, so the limit and the product are driven by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

__all__ = ["DIALECTS", "LIMIT", "V1", "Dialect", "Waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One document waiting in an inbox."""

    delivery_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Requests as bytes ready to send, and the answer to `list` as values. Every success is `2xx`."""

    name: str
    submit: Callable[[str, bytes], bytes]
    """(token, packet) → request; the answer comes when the document is accepted."""
    read_submitted: Callable[[bytes], str]
    """Answer to submit → the packet's id."""
    list_waiting: Callable[[str, str, int], bytes]
    """(token, agency, at most) → request."""
    read_waiting: Callable[[bytes], tuple[Waiting, ...]]
    fetch: Callable[[str, str], bytes]
    """(token, delivery id) → request; the answer is the packet's bytes."""
    confirm: Callable[[str, str], bytes]
    """(token, delivery id) → request."""


def _request(method: str, path: str, token: str, body: bytes | None = None, kind: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    return f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class _Item(msgspec.Struct):
    delivery_id: str
    size: int


class _Items(msgspec.Struct):
    items: list[_Item]


class _Submitted(msgspec.Struct):
    packet_id: str


_items = msgspec.json.Decoder(_Items)
_submitted = msgspec.json.Decoder(_Submitted)


def _read_waiting(body: bytes) -> tuple[Waiting, ...]:
    return tuple(Waiting(delivery_id=item.delivery_id, size=item.size) for item in _items.decode(body).items)


def _read_submitted(body: bytes) -> str:
    return _submitted.decode(body).packet_id


LIMIT = Dialect(
    name="limit",
    submit=lambda token, packet: _request("POST", "/p", token, packet, "application/xml"),
    read_submitted=_read_submitted,
    list_waiting=lambda token, agency, most: _request("GET", f"/l/{agency}?{most}", token),
    read_waiting=_read_waiting,
    fetch=lambda token, delivery: _request("GET", f"/g/{delivery}", token),
    confirm=lambda token, delivery: _request("POST", f"/c/{delivery}", token, b""),
)
"""The embedded limit's own server."""

V1 = Dialect(
    name="v1",
    submit=lambda token, packet: _request("POST", "/v1/packets", token, packet, "application/xml"),
    read_submitted=_read_submitted,
    list_waiting=lambda token, agency, most: _request("GET", f"/v1/inbox?agency={agency}&limit={most}", token),
    read_waiting=_read_waiting,
    fetch=lambda token, delivery: _request("GET", f"/v1/inbox/{delivery}/packet", token),
    confirm=lambda token, delivery: _request("POST", f"/v1/inbox/{delivery}/confirm", token, b"{}", "application/json"),
)
"""The product's REST interface."""

DIALECTS = {dialect.name: dialect for dialect in (LIMIT, V1)}
