"""What all routes share: the node, the lanes, and one grouper for each thing that many callers do at once."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.api.bell import Bell
from gateway.api.examining import Examining
from gateway.api.gate import Gate
from gateway.api.health import Readiness
from gateway.api.lanes import Lane
from gateway.api.problems import (
    Overloaded,
    ShareHeld,
    ShareOfBytesHeld,
    ShareOfPollsHeld,
    TooManyBytes,
    TooManyPolls,
)
from gateway.api.shares import Refusing, Shares
from gateway.api.v1.words import encode_items
from gateway.exchange import collect
from gateway.exchange.collect import Confirm, Fetch, Known, Listing, Served, Shown
from gateway.exchange.group import Grouper
from gateway.exchange.submission import Outcome, Prepared, Submission
from gateway.exchange.take_in import Unprepared, take_in
from gateway.model.errors import GatewayError, Refusal, StoreError
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.settings import Settings
from gateway.store.blobs import BlobFolder
from gateway.store.inbox import Item
from monitoring import log

__all__ = ["Edge", "Listed", "Opened", "Patience", "open_edge"]

_log = log.get("api.edge")

INLINE = 256 * 1024
"""Bytes up to which a packet is read whole in one go, checked against its digest, and sent as one piece."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A fetch that may go on; `body` are the packet's bytes where they are few and match their digest."""

    served: Served
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Listed:
    """What waits in one inbox: how many items, and their JSON."""

    count: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How slowly a body may come, in seconds and bytes a second: a slow line is served, a dripping one is not."""

    between_chunks: float = 30.0
    at_first: float = 60.0
    least_rate: float = 16 * 1024.0

    def ends_at(self, began: float, now: float, size: int) -> float:
        """When the next piece must be there, after `size` bytes came: `at_first`, and more for what came already."""
        return min(now + self.between_chunks, began + self.at_first + size / self.least_rate)


class Reserve:
    """The disk reserve as it was a moment ago: the kernel is asked five times a second, not for every body."""

    _EVERY = 0.2

    def __init__(self, blobs: BlobFolder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._blobs = blobs
        self._clock = clock
        self._look_at = 0.0
        self._free = 0

    def check(self, coming: int) -> None:
        """Raises DiskReserve where `coming` more bytes would eat into it; that answer is never an old one."""
        if self._clock() >= self._look_at:
            self._free = self._blobs.free()
            self._look_at = self._clock() + self._EVERY
        if self._free - coming < self._blobs.reserve:
            self._blobs.check_reserve(coming)


class Endings:
    """Responses that have ended and must be written down: gathered for a second, because a confirmation that comes
    first makes it unnecessary (its receipt ends the attempt). Used on the event loop only."""

    _WAIT = 1.0

    def __init__(self, node: Node, lane: Lane) -> None:
        self._node = node
        self._lane = lane
        self._ended: dict[str, list[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Future[None]] = set()

    def add(self, served: Served) -> None:
        """This response has ended, whole or broken off."""
        if not served.attempt_id:
            return
        self._ended.setdefault(served.item.delivery_id, []).append(served.attempt_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._WAIT, self._flush)

    def forget(self, delivery_id: str) -> None:
        """A confirmation came."""
        self._ended.pop(delivery_id, None)

    def take(self) -> list[str]:
        """All attempts to end, which are forgotten here."""
        ended, self._ended = self._ended, {}
        return [attempt_id for attempts in ended.values() for attempt_id in attempts]

    def _flush(self) -> None:
        self._timer = None
        ended = self.take()
        if ended:
            writing = self._lane.run(self.write, ended)
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)

    def write(self, ended: list[str]) -> None:
        """Write them down, in any thread. Where the store is busy they stay open until their time is over."""
        try:
            collect.end_responses(self._node, ended)
        except StoreError as why:
            _log.warning("responses.not_ended", reason=why.code, count=len(ended))


@dataclass(frozen=True, slots=True)
class Edge:
    """Handles of one API process. Made by `open_edge`, ended by `close`.

    Each submission and check under way holds a place of `uploads`, up to a piece of its body in memory, and its bytes
    of `coming`; each long poll that waits holds one of `polls`.  Who finds none is told to come again, before his body
    is read: so memory, disk and waiting times have an end, however many come, and no system has all of it.
    """

    node: Node
    settings: Settings
    patience: Patience
    gate: Gate
    bell: Bell
    endings: Endings
    submitting: Lane
    looking: Lane
    serving: Lane
    minding: Lane
    readiness: Readiness
    reserve: Reserve
    uploads: Shares
    coming: Shares
    polls: Shares
    accepting: Grouper[Submission | Prepared, Outcome | Unprepared]
    examining: Examining
    listing: Grouper[Listing, Listed]
    fetching: Grouper[Fetch, Opened | Refusal]
    confirming: Grouper[Confirm, DeliveryState | Refusal]

    def close(self) -> None:
        """Finish what was begun: groups, lanes, endings. Not on the event loop. Safe to repeat."""
        self.bell.close()
        self.submitting.close()
        self.examining.close()
        for grouper in (self.accepting, self.listing, self.fetching, self.confirming):
            grouper.close()
        ended = self.endings.take()
        if ended:
            self.endings.write(ended)
        for lane in (self.looking, self.serving, self.minding):
            lane.close()
        self.readiness.close()


def open_edge(node: Node, settings: Settings, patience: Patience) -> Edge:
    """Everything that one API process needs beside its node; threads start with the first use."""
    minding = Lane("minding", 3)
    turn = threading.Lock()  # there is one writer: whoever would only wait for the others gathers meanwhile
    shown, known = Shown(), Known()
    accepting: Grouper[Submission | Prepared, Outcome | Unprepared] = Grouper(
        lambda group: take_in(node, group), most=node.group, name="accept", turn=turn
    )
    return Edge(
        node=node,
        settings=settings,
        patience=patience,
        gate=Gate(node, minding),
        bell=Bell(node.transport),
        endings=Endings(node, minding),
        submitting=Lane("submitting", 4),
        looking=Lane("looking", 2),
        serving=Lane("serving", 6),
        minding=minding,
        readiness=Readiness(node),
        reserve=Reserve(node.store.blobs),
        uploads=_shares(settings, settings.submissions, Overloaded, ShareHeld),
        coming=_shares(settings, settings.coming_mib, TooManyBytes, ShareOfBytesHeld, unit=1 << 20),
        polls=_shares(settings, settings.polls, TooManyPolls, ShareOfPollsHeld),
        accepting=accepting,
        examining=Examining(node, settings, accepting),
        listing=Grouper(lambda group: _list(node, group, shown), most=node.group, name="list"),
        fetching=Grouper(lambda group: _fetch(node, group, known), most=node.group, name="fetch", turn=turn),
        confirming=Grouper(
            lambda group: collect.confirm(node, group, known), most=node.group, name="confirm", turn=turn
        ),
    )


def _shares(settings: Settings, most: int, full: type[Overloaded], own: type[ShareHeld], *, unit: int = 1) -> Shares:
    """Room for `most` of these units; refusals tell it in units."""

    def refusing(kind: type[GatewayError]) -> Refusing:
        return lambda least: kind(most=max(1, least // unit))

    return Shares(most * unit, settings.share, full=refusing(full), own=refusing(own))


def _list(node: Node, group: Sequence[Listing], shown: Shown) -> list[Listed]:
    """Lists and their JSON, off the loop."""
    lists = collect.list_items(node, group, shown)
    return [Listed(len(items), encode_items(items, wish)) for wish, items in zip(group, lists, strict=True)]


def _fetch(node: Node, group: Sequence[Fetch], known: Known) -> list[Opened | Refusal]:
    """Begin responses, and read what is small: the commit comes before the first byte (protocol §10).

    Recipients of one document come for it at the same time: what several of a group fetch is read and checked once.
    """
    opened: list[Opened | Refusal] = []
    bodies: dict[str, bytes | None] = {}
    for outcome in collect.fetch(node, group, known):
        if isinstance(outcome, Refusal):
            opened.append(outcome)
            continue
        item = outcome.item
        if item.digest not in bodies:
            bodies[item.digest] = _small_body(node, item)
        opened.append(Opened(outcome, bodies[item.digest]))
    return opened


def _small_body(node: Node, item: Item) -> bytes | None:
    """The bytes, or None where they are many, missing or not what they were: then the route looks closer."""
    body = node.store.blobs.read_small(item.digest, item.size) if item.size <= INLINE else None
    return body if body is not None and hashlib.sha256(body).hexdigest() == item.digest else None
