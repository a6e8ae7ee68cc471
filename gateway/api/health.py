"""Health: does the process run, could it take a document, or hand one out, now? The answer names what was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from edxml.errors import TrucError
from edxml.messages import Language, text
from gateway.api.lanes import Lane
from gateway.model.errors import GatewayError, StoreBusy
from gateway.model.instants import as_datetime
from gateway.node import Node
from monitoring import log

__all__ = ["Check", "KeyExpired", "Purpose", "Readiness", "TransportClosed"]

_log = log.get("api.health")

_PATIENCE = 2.0
"""Seconds for all looks together: whoever asks gives up soon, and a locked database is not ready."""


_PROBE = b"Is the seal key there?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be right before documents are taken in; `code` and texts say why it is not."""

    name: str
    is_ok: bool
    code: str = ""
    vi: str = ""
    en: str = ""

    def for_strangers(self) -> Check:
        """The same without what its sentences say of servers, folders and variables."""
        if self.is_ok:
            return self
        told = _TOLD_AS[self.name]
        return replace(self, vi=text(told, Language.VI, {}), en=text(told, Language.EN, {}))


_TOLD_AS: Final = {
    "store": "health.store",
    "transport": "health.transport",
    "disk": "health.disk",
    "keys": "health.keys",
    "directory": "health.directory",
}


class TransportClosed(GatewayError):
    """Tickets and wake-ups go nowhere: the process is ending, or its sockets are gone."""

    code = "health.transport_closed"


class KeyExpired(GatewayError):
    """The seal key's certificate is not valid today; parameter `day`."""

    code = "health.key_expired"


def _check(name: str, look: Callable[[Node], None], node: Node) -> Check:
    try:
        look(node)
    except TrucError as why:
        return _failed(name, why)
    except Exception:  # noqa: BLE001 - a check that cannot be made has failed; what it met is not for callers
        code = "health.failed"
        return Check(name=name, is_ok=False, code=code, vi=text(code, Language.VI, {}), en=text(code, Language.EN, {}))
    return Check(name=name, is_ok=True)


def _failed(name: str, why: TrucError) -> Check:
    return Check(name=name, is_ok=False, code=why.reason, vi=why.text(Language.VI), en=why.text(Language.EN))


def _store(node: Node) -> None:
    with node.store.write():
        pass  # the writer's place was to be had


def _transport(node: Node) -> None:
    try:
        node.transport.on_wake(["health"], lambda _topic: None).close()
    except RuntimeError:
        raise TransportClosed from None


def _disk(node: Node) -> None:
    node.store.blobs.check_reserve()


def _keys(node: Node) -> None:
    key = node.seal_key
    key.signer.sign(_PROBE)  # a token may be away; no seal is ever over these bytes
    ends = key.certificate.not_valid_after_utc
    if as_datetime(node.now()) > ends:
        raise KeyExpired(day=f"{ends:%d/%m/%Y}")


def _directory(node: Node) -> None:
    node.channels.snapshot()


_LOOKS: tuple[tuple[str, Callable[[Node], None]], ...] = (
    ("store", _store),
    ("transport", _transport),
    ("disk", _disk),
    ("keys", _keys),
    ("directory", _directory),
)


_FETCHING: Final = frozenset({"store", "transport", "directory"})
"""What lists, fetches and confirmations need: they take no room for packets, and seal nothing."""


class Purpose(StrEnum):
    """What whoever asks wants to know (`for=`): documents can be taken in, or handed out to those who poll."""

    SUBMIT = "submit"
    FETCH = "fetch"

    def needs(self, name: str) -> bool:
        """Whether a check of that name counts."""
        return self is Purpose.SUBMIT or name in _FETCHING


class Readiness:
    """Looks at everything that a purpose needs, and answers in time. Used on the event loop.

    Looks have threads of their own and each runs once at a time, however many ask: one that waits for a locked database
    (which takes as long there as accepting does) keeps no other and nobody else waiting.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lane = Lane("readiness", len(_LOOKS))
        self._running: dict[str, asyncio.Future[Check]] = {}
        self._logged: dict[str, str] = {}

    async def look(self, purpose: Purpose = Purpose.SUBMIT) -> tuple[Check, ...]:
        """The checks of a purpose after two seconds at the latest; what is not known by then has failed. Changes
        nothing."""
        asked = [(name, self._begin(name, look)) for name, look in _LOOKS if purpose.needs(name)]
        await asyncio.wait([running for _, running in asked], timeout=_PATIENCE)
        overdue = StoreBusy(why=f"> {_PATIENCE:g} s")
        found = tuple(running.result() if running.done() else _failed(name, overdue) for name, running in asked)
        for check in found:
            if self._logged.get(check.name, "") != check.code:
                self._logged[check.name] = check.code
                if check.code:
                    _log.warning("health.not_ready", state=check.name, reason=check.code)
        return found

    def _begin(self, name: str, look: Callable[[Node], None]) -> asyncio.Future[Check]:
        running = self._running.get(name)
        if running is None or running.done():
            running = self._running[name] = self._lane.run(_check, name, look, self._node)
        return running

    def close(self) -> None:
        """End the threads. Safe to repeat."""
        self._lane.close()
