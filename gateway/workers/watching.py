"""Watching: folders that tell of a change wake the intake, so that a file is seen at once and not at the next look.

Only a hint beside the look by time: network file systems tell nothing, and a machine allows only so many watches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from edxml.errors import TrucError
from gateway.channels import name_fault
from gateway.node import Node
from monitoring import log

__all__ = ["FolderWatches"]

_log = log.get("intake")
_TRY_AGAIN = 30.0


class _Watch(Protocol):
    @property
    def is_running(self) -> bool: ...
    def close(self) -> None: ...


@runtime_checkable
class _Watchable(Protocol):
    """A channel whose packets come from a place that can be watched."""

    def watch(self, on_change: Callable[[], None]) -> _Watch: ...


class FolderWatches:
    """One watch for each opened channel that can be watched; each change wakes the topic `intake`."""

    def __init__(self, node: Node, *, again: float = _TRY_AGAIN) -> None:
        """`again`: seconds from a watch's beginning after which one that tells no more is begun anew."""
        self._node = node
        self._again = again
        self._running: dict[str, tuple[_Watchable, _Watch, float]] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def renew(self) -> None:
        """Follow the channels as they are now: begin what is missing, end what is gone. Never raises for a channel."""
        with self._lock:
            if self._is_closed:
                return
            wanted = self._wanted()
            for channel_id, (opened, watch, began) in list(self._running.items()):
                is_worn = not watch.is_running and time.monotonic() - began >= self._again
                if wanted.get(channel_id) is not opened or is_worn:
                    watch.close()
                    del self._running[channel_id]
            for channel_id, opened in wanted.items():
                if channel_id not in self._running:
                    watch = opened.watch(lambda: self._node.transport.wake("intake"))
                    self._running[channel_id] = (opened, watch, time.monotonic())

    def _wanted(self) -> dict[str, _Watchable]:
        found: dict[str, _Watchable] = {}
        for channel in self._node.channels.snapshot().by_id.values():
            if channel.is_paused or channel.is_polled:
                continue
            try:
                opened = self._node.channels.opened(channel.id)
            except TrucError as why:  # the look by time says the same of it, and goes on
                _log.debug("intake.unwatched", channel=channel.id, reason=name_fault(why))
                continue
            if opened is not None and isinstance(opened, _Watchable):
                found[channel.id] = opened
        return found

    def close(self) -> None:
        """End every watch. Safe to repeat."""
        with self._lock:
            self._is_closed = True
            for _, watch, _ in self._running.values():
                watch.close()
            self._running.clear()
