"""Who watches a node: figures and full reasons name systems, servers and folders, and are not for whoever calls."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.model.errors import Forbidden
from gateway.settings import Settings

__all__ = ["admit_watcher", "is_watcher"]

_OF_PROXIES = ("forwarded", "x-forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "via")
"""How the names of headers begin that proxies put in."""


def is_watcher(settings: Settings, peer: str, headers: Iterable[str]) -> bool:
    """Whether the other end of the connection, `peer`, is a machine that watches.

    Whom a proxy brings is none: its address would be the proxy's. What `headers` (their names) say is never believed
    in the caller's favour.
    """
    return settings.is_watched_from(peer) and not any(name.lower().startswith(_OF_PROXIES) for name in headers)


def admit_watcher(settings: Settings, peer: str, headers: Iterable[str]) -> None:
    """Raises Forbidden for everybody else."""
    if not is_watcher(settings, peer, headers):
        raise Forbidden("api.watchers_only")
