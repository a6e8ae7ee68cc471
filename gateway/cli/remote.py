"""A node over the network: what `send`, `inbox` and `document show --url` ask, by REST `/v1` with a token."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from json import JSONDecodeError
from typing import Any, BinaryIO, TypeVar

import httpx2

from adapters.settings import without_passwords
from edxml.messages import SystemWords, Term, system_words
from gateway.cli.exits import RemoteRefused, RemoteUnreachable
from gateway.cli.moments import INSTANTS
from gateway.cli.names import Names
from gateway.cli.output import Voice
from gateway.model.errors import SettingsError
from gateway.model.inspection import PdfSignature
from gateway.model.instants import as_instant
from gateway.store.views import DocumentView, PacketLine, RecipientLine, StatusLine, TimelineLine, VerdictLine

__all__ = ["Remote", "address_and_token", "open_remote", "reaching"]

DEFAULT_URL = "http://127.0.0.1:8080"
_PIECE = 1 << 18
_ANSWER_WAIT = 120.0
"""Seconds that an answer may take: a packet of 1 GiB is read through twice before it is accepted."""


@contextmanager
def open_remote(voice: Voice, url: str = "") -> Iterator[Remote]:
    """The node at `url`, else TRUC_URL, else this machine's, with the token of TRUC_TOKEN.

    Raises as `address_and_token`, and as `reaching` from within.
    """
    base, token = address_and_token(voice, url)
    headers = {"authorization": f"Bearer {token}", "accept-language": str(voice.language)}
    timeout = httpx2.Timeout(_ANSWER_WAIT, connect=10.0)
    with httpx2.Client(base_url=base, headers=headers, timeout=timeout, trust_env=False) as client, reaching(base):
        yield Remote(client)


def address_and_token(voice: Voice, url: str = "") -> tuple[str, str]:
    """The node at `url`, else TRUC_URL, else this machine's, and the token of TRUC_TOKEN.

    Raises SettingsError without a token or with one that no header can carry, RemoteUnreachable for an address that
    leads to no machine.
    """
    token = os.environ.get("TRUC_TOKEN", "")
    if not token:
        raise SettingsError(where="TRUC_TOKEN", why=voice.say("remote.no_token"))
    if not (token.isascii() and token.isprintable()):
        raise SettingsError(where="TRUC_TOKEN", why=voice.say("remote.odd_token"))
    base = (url or os.environ.get("TRUC_URL") or DEFAULT_URL).rstrip("/")
    if not _is_address(base):
        raise _unreachable(base, Term("remote.odd_url"))
    return base, token


def _is_address(url: str) -> bool:
    try:
        parts = httpx2.URL(url)
        return parts.scheme in ("http", "https") and bool(parts.host.encode("idna"))
    except (httpx2.InvalidURL, UnicodeError):
        return False


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """What keeps from asking the node at `url`, or answers there and is no node, as errors of ours.

    Raises RemoteUnreachable, RemoteRefused where it said no.
    """
    try:
        yield
    except httpx2.HTTPStatusError as why:
        _refuse(why.response)
        raise _unreachable(url, f"HTTP {why.response.status_code}") from why
    except (httpx2.HTTPError, httpx2.InvalidURL) as why:
        raise _unreachable(url, _words(why)) from why
    except JSONDecodeError as why:
        raise _unreachable(url, Term("remote.not_a_node")) from why


def _words(why: BaseException) -> str:
    """What the system said below the library's error, where it did; else the library's own words."""
    below: BaseException | None = why
    while below is not None and not isinstance(below, OSError):
        below = below.__cause__ or below.__context__
    return str(why) or type(why).__name__ if below is None else system_words(below)


class Remote:
    """Requests to one node. Every method raises RemoteRefused with the node's own reason."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def submit(
        self,
        packet: BinaryIO,
        size: int,
        *,
        only: Sequence[str],
        mode: str,
        is_check: bool,
        on_sent: Callable[[int], None],
    ) -> dict[str, Any]:
        """Send a packet, or have it checked only; `on_sent` hears how many bytes more have gone out.

        A repeat is harmless: the node gives its first answer again.
        """
        path = "/v1/packets/check" if is_check else "/v1/packets"
        params = [("to", organ) for organ in only] + ([("recipients", mode)] if mode else [])
        headers = {"content-type": "application/xml", "content-length": str(size)}
        return self._json("POST", path, params=params, headers=headers, content=_pieces(packet, on_sent))

    def list_inbox(self, agency: str, limit: int, wait: float) -> list[dict[str, Any]]:
        """What waits for an agency; with `wait` seconds, as soon as there is something."""
        params = {"limit": str(limit), "wait": f"{wait:g}"} | ({"agency": agency} if agency else {})
        answer = self._json("GET", "/v1/inbox", params=params, timeout=wait + _ANSWER_WAIT)
        items = answer["items"]
        assert isinstance(items, list), "the node lists items"
        return items

    def walk_inbox(self, agency: str, page: int = 500) -> Iterator[dict[str, Any]]:
        """All that waits for an agency, the oldest first, asked for page by page; each once."""
        params = {"limit": str(page), "after": ""} | ({"agency": agency} if agency else {})
        while True:
            answer = self._json("GET", "/v1/inbox", params=params)
            yield from answer["items"]
            if not answer["next"]:
                return
            params["after"] = answer["next"]

    def fetch(self, delivery_id: str, into: BinaryIO, on_size: Callable[[int, int], None]) -> Mapping[str, str]:
        """Copy an item's packet; gives the headers. `on_size` hears (bytes so far, all bytes)."""
        with self._client.stream("GET", f"/v1/inbox/{delivery_id}/packet") as response:
            if response.status_code >= 400:
                response.read()
            _refuse(response)
            total, done = int(response.headers.get("content-length", 0)), 0
            for piece in response.iter_bytes(_PIECE):
                into.write(piece)
                done += len(piece)
                on_size(done, total)
        return response.headers

    def confirm(self, delivery_id: str) -> str:
        """Say that an item arrived; its state afterwards."""
        return str(self._json("POST", f"/v1/inbox/{delivery_id}/confirm", json={})["state"])

    def refuse(self, delivery_id: str, reason: str) -> str:
        """Refuse an item with a reason for its sender; the id of the status packet (02) that tells it."""
        return str(self._json("POST", f"/v1/inbox/{delivery_id}/refuse", json={"reason": reason})["packet_id"])

    def document(self, wanted: str) -> tuple[DocumentView, Names]:
        """One document as the token's agencies may see it, with the names of its sender and its recipients."""
        told = self._json("GET", "/v1/documents", params={"id": wanted})
        names = {line["agency_id"]: line["agency_name"] for line in told["recipients"]}
        sender = told["packet"]["sender_id"]
        if sender not in names:
            names[sender] = self._json("GET", f"/v1/agencies/{sender}")["name"]
        return _view(told), Names.of_table(names)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._client.request(method, path, **options)
        _refuse(response)
        found = _object(response)
        if found is None:
            raise _unreachable(str(response.url), Term("remote.not_a_node"))
        return found


def _unreachable(url: str, why: str) -> RemoteUnreachable:
    told = why if isinstance(why, (SystemWords, Term)) else without_passwords(why)
    return RemoteUnreachable(url=without_passwords(url), why=told)


def _refuse(response: httpx2.Response) -> None:
    if response.status_code >= 400:
        problem = _object(response)
        if problem is None or "code" not in problem:
            raise _unreachable(str(response.url), f"HTTP {response.status_code}")
        raise RemoteRefused(problem)


def _object(response: httpx2.Response) -> dict[str, Any] | None:
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _pieces(stream: BinaryIO, on_sent: Callable[[int], None]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece
        on_sent(len(piece))


# --- a document, out of the node's words -----------------------------------------------------------------------


def _view(told: Mapping[str, Any]) -> DocumentView:
    return DocumentView(
        packet=_packet(told["packet"]),
        recipients=tuple(_line(RecipientLine, line, organ=line["organ_id"]) for line in told["recipients"]),
        statuses=tuple(_line(StatusLine, line, status_id="", document_packet_id="") for line in told["statuses"]),
        verdicts=tuple(_verdict(line) for line in told["verdicts"]),
        timeline=tuple(_line(TimelineLine, line) for line in told["timeline"]),
        family=tuple(_packet(line) for line in told["family"]),
    )


def _packet(line: Mapping[str, Any]) -> PacketLine:
    states = tuple(sorted(line["states"].items()))
    more = {"document_key": "", "sender_organ": line["sender"], "wire_digest": line["digest"], "states": states}
    return _line(PacketLine, line, **more)


def _verdict(told: Mapping[str, Any]) -> VerdictLine:
    seen = told["evidence"]
    if seen is None:
        return _line(VerdictLine, told)
    common = {name: told[name] for name in ("verdict", "detail", "signer", "certificate")}
    evidence = _line(PdfSignature, seen, **common, weaknesses=tuple(seen["weaknesses"]))
    return _line(VerdictLine, told, evidence=evidence)


L = TypeVar("L", PacketLine, RecipientLine, StatusLine, TimelineLine, VerdictLine, PdfSignature)


def _line(kind: type[L], told: Mapping[str, Any], **more: Any) -> L:
    """A read model's line from its JSON object: times become instants, words that it has no place for are left."""
    values = {**told, **more}
    fields = {field.name: values[field.name] for field in dataclasses.fields(kind)}
    for name in INSTANTS:
        if isinstance(fields.get(name), str):
            fields[name] = as_instant(datetime.fromisoformat(fields[name]))
    return kind(**fields)
