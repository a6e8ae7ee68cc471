"""Rounds of intake (lấy văn bản): every channel with a source is looked through in a thread of its own.

A channel whose folder hangs, or whose look takes long, is left to its thread and passed over until that ends: it keeps
no other channel waiting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from adapters.contract import Source
from adapters.folder_slot import HANGS
from adapters.slot import Late, Slot
from edxml.errors import TrucError
from gateway.channels import name_fault
from gateway.channels.kinds import Strewn
from gateway.node import Node
from gateway.store.channels import ChannelRow
from gateway.workers.intake import Kept, take_from
from gateway.workers.loop import Loop
from gateway.workers.watching import FolderWatches
from monitoring import log

__all__ = ["Rounds", "intake_once", "show_ignored", "start_intake"]

_log = log.get("intake")
_PATIENCE: Final = 5.0  # seconds that others wait for one channel's look
_HANGS_AFTER: Final = 60.0  # seconds after which a look that goes on is told
_COUNT_AGAIN: Final = 60.0  # seconds
_TELL_AGAIN: Final = 3600.0  # seconds


@runtime_checkable
class _Settling(Protocol):
    """A source that takes a thing only when it has seen it unchanged for a while."""

    def settles_in(self) -> float:
        """Seconds until something seen may be taken; infinite where nothing is awaited."""


@dataclass(slots=True)
class Rounds:
    """What this process keeps in mind between two rounds.

    A folder that is away is looked for every few seconds: that is logged when it begins, when its reason changes, once
    an hour, and when it is over.
    """

    _kept: dict[str, Kept] = field(default_factory=dict)
    _looks: dict[str, Slot] = field(default_factory=dict)
    _told: dict[str, tuple[str, float]] = field(default_factory=dict)

    def look(self, node: Node, channel: ChannelRow) -> int:
        """Look through one channel: how many things were taken in or answered, as far as it ended in time."""
        look = self._looks.setdefault(channel.id, Slot(f"intake {channel.id}"))
        try:
            return look.run(lambda: self._take(node, channel), _PATIENCE)
        except Late as late:
            if late.seconds > _HANGS_AFTER:
                self._meets(channel.id, HANGS)
            return 0

    def _take(self, node: Node, channel: ChannelRow) -> int:
        """In the channel's own thread. Never raises: one channel's trouble is not the others'."""
        try:
            source = node.channels.source(channel.id)
            done = 0 if source is None else take_from(node, channel, source, self._kept.setdefault(channel.id, Kept()))
            self._ends(channel.id)
        except (TrucError, OSError) as why:
            self._meets(channel.id, name_fault(why))
            return 0
        except Exception:  # noqa: BLE001 - nor is a defect that one of its things meets
            _log.exception("intake.failed", channel=channel.id)
            return 0
        return done

    def _meets(self, channel_id: str, reason: str) -> None:
        before, at = self._told.get(channel_id, ("", 0.0))
        if reason != before or time.monotonic() - at >= _TELL_AGAIN:
            self._told[channel_id] = (reason, time.monotonic())
            _log.warning("intake.failed", channel=channel_id, reason=reason)

    def _ends(self, channel_id: str) -> None:
        if self._told.pop(channel_id, None) is not None:
            _log.info("intake.mended", channel=channel_id)


def intake_once(node: Node, rounds: Rounds | None = None) -> int:
    """Look through every channel with a source; how many things were taken in or answered.

    `rounds`: kept between looks.
    """
    rounds = rounds or Rounds()
    return sum(rounds.look(node, channel) for channel in _channels(node))


def _channels(node: Node) -> Iterator[ChannelRow]:
    """Those that packets may come by."""
    for channel in node.channels.snapshot().by_id.values():
        if not channel.is_paused and not channel.is_polled:
            yield channel


def _sources(node: Node) -> Iterator[tuple[ChannelRow, Source]]:
    """Those that can be opened; what cannot is told by the look."""
    for channel in _channels(node):
        try:
            source = node.channels.source(channel.id)
        except TrucError:
            continue
        if source is not None:
            yield channel, source


def show_ignored(node: Node) -> None:
    """Show in this process's metrics what lies in each channel's folder and is never taken. Never raises for one."""
    node.metrics.know_channels(node.channels.snapshot().by_id)
    for channel, _ in _sources(node):
        try:
            opened = node.channels.opened(channel.id)
            if opened is not None and isinstance(opened, Strewn):
                node.metrics.show_ignored(channel.id, opened.ignored(0).count)
        except (TrucError, OSError) as why:  # the look says the same of it
            _log.debug("intake.uncounted", channel=channel.id, reason=name_fault(why))


def start_intake(node: Node, pause: float) -> tuple[Loop, FolderWatches]:
    """The intake loop, woken by the topic `intake` (a folder changed) and by time; and the watches that wake it.

    `pause`: seconds from look to look where nothing wakes it and nothing seen is still settling.
    """
    watches = FolderWatches(node)
    rounds, renewal = Rounds(), Slot("intake watches")
    counted = -math.inf

    def once() -> float:
        nonlocal counted
        done = intake_once(node, rounds)
        with suppress(Late):
            renewal.run(watches.renew, _PATIENCE)  # after the look, which makes the folders that are missing
        if time.monotonic() - counted >= _COUNT_AGAIN:
            counted = time.monotonic()
            show_ignored(node)
        return 0.0 if done else min(pause, _soonest(node))

    return Loop("intake", once, node.transport, ["intake"], beat=pause), watches


def _soonest(node: Node) -> float:
    """Seconds until something that was seen may be taken."""
    settling = (source for _, source in _sources(node) if isinstance(source, _Settling))
    return min((source.settles_in() for source in settling), default=math.inf)
