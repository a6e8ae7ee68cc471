"""Health: is the process running, and could it take a document now? Each thing looked at is named in the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edxml.errors import TrucError
from edxml.messages import Language, text
from gateway.model.errors import GatewayError
from gateway.model.instants import as_datetime
from gateway.node import Node

__all__ = ["Check", "KeyExpired", "TransportClosed", "look_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be right before documents are taken in; `code` and texts say why it is not."""

    name: str
    is_ok: bool
    code: str = ""
    vi: str = ""
    en: str = ""


class TransportClosed(GatewayError):
    """Tickets and wake-ups go nowhere: the process is ending, or its sockets are gone."""

    code = "health.transport_closed"


class KeyExpired(GatewayError):
    """The seal key's certificate is not valid today; parameter `day`."""

    code = "health.key_expired"


def look_at(node: Node) -> tuple[Check, ...]:
    """Look at everything that accepting a document needs. Changes nothing; waits for the database as accepting does."""
    return tuple(_check(name, look, node) for name, look in _LOOKS)


def _check(name: str, look: Callable[[Node], None], node: Node) -> Check:
    try:
        look(node)
    except TrucError as why:
        return Check(name=name, is_ok=False, code=why.reason, vi=why.text(Language.VI), en=why.text(Language.EN))
    except Exception:  # noqa: BLE001 - a check that cannot be made has failed; what it met is not for callers
        code = "health.failed"
        return Check(name=name, is_ok=False, code=code, vi=text(code, Language.VI, {}), en=text(code, Language.EN, {}))
    return Check(name=name, is_ok=True)


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
    ends = node.seal_key.certificate.not_valid_after_utc
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
