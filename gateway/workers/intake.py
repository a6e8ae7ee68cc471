"""Intake (lấy văn bản) from channels that bring packets: spool, accept by groups, then tell the source (rule 13).

A source acknowledges only after our commit: a crash before it means that the same things are found again, and get the
first answer.  A thing whose intake kills its worker three times, or meets a defect, is set aside instead of being tried
for ever (rule 8): what was in a group that died goes one by one afterwards, so that only the culprit's count grows.
"""

from __future__ import annotations

import errno
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol, runtime_checkable

from adapters.contract import Incoming, IncomingKind, Source
from edxml.errors import TrucError
from edxml.messages import Language, text
from gateway.channels import name_fault
from gateway.channels.kinds import Strewn
from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare_group
from gateway.exchange.report import refuse_for
from gateway.exchange.submission import Outcome, Prepared, Submission
from gateway.identity import Caller
from gateway.model.errors import GatewayError, StoreError, StoreUnsure, TooLarge
from gateway.model.states import LinkKind
from gateway.node import Node
from gateway.store import begun as noted
from gateway.store import reports
from gateway.store.channels import ChannelRow
from gateway.workers.intake_words import verdict_of
from gateway.workers.loop import Loop
from gateway.workers.watching import FolderWatches
from monitoring import log

__all__ = ["Troubles", "intake_once", "show_ignored", "start_intake"]

_log = log.get("intake")
_PIECE = 1 << 20
_SMALL = 256 * 1024
"""Bytes up to which a body stays in memory until its group is written: at most 16 MiB for a whole look."""
_BATCH = 64
_MOST_FAULTS = 3
_COUNT_AGAIN = 60.0  # seconds
_TELL_AGAIN = 3600.0  # seconds


@runtime_checkable
class _Settling(Protocol):
    """A source that takes a thing only when it has seen it unchanged for a while."""

    def settles_in(self) -> float:
        """Seconds until something seen may be taken; infinite where nothing is awaited."""


@dataclass(slots=True)
class Troubles:
    """What each channel's look met last. A folder that is away is looked for every few seconds: that is logged when it
    begins, when its reason changes, once an hour, and when it is over."""

    _told: dict[str, tuple[str, float]] = field(default_factory=dict)

    def meets(self, channel_id: str, why: TrucError | OSError) -> None:
        """Something keeps this look from the channel."""
        reason, now = name_fault(why), time.monotonic()
        before, at = self._told.get(channel_id, ("", 0.0))
        if reason != before or now - at >= _TELL_AGAIN:
            self._told[channel_id] = (reason, now)
            _log.warning("intake.failed", channel=channel_id, reason=reason)

    def ends(self, channel_id: str) -> None:
        """A look went well."""
        if self._told.pop(channel_id, None) is not None:
            _log.info("intake.mended", channel=channel_id)


def intake_once(node: Node, owed: set[str] | None = None, troubles: Troubles | None = None) -> int:
    """Look through every channel with a source; how many things were taken in or answered.

    `owed`: what this process still has to write down as ended, because the store went away before: it was nobody's
    death (rule 8).  `troubles`: what was said of channels.  Both kept between looks.  Raises StoreBusy where it still
    cannot write down what it owes.
    """
    owed, troubles, done = set() if owed is None else owed, troubles or Troubles(), 0
    if owed:
        with node.store.write() as connection:
            noted.end(connection, owed)
        owed.clear()
    for channel, source in _sources(node, troubles):
        try:
            done += _take_from(node, channel, source, owed)
            troubles.ends(channel.id)
        except (TrucError, OSError) as why:  # one channel's trouble is not the others'
            troubles.meets(channel.id, why)
        except Exception:  # noqa: BLE001 - nor is a defect that one of its things meets
            _log.exception("intake.failed", channel=channel.id)
    return done


def _sources(node: Node, troubles: Troubles | None = None) -> Iterator[tuple[ChannelRow, Source]]:
    for channel in node.channels.snapshot().by_id.values():
        if channel.is_paused or channel.is_polled:
            continue
        try:
            source = node.channels.source(channel.id)
        except TrucError as why:
            if troubles is not None:  # else the look says it
                troubles.meets(channel.id, why)
            continue
        if source is not None:
            yield channel, source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One thing that a look found: `key` is its name in the store, `begun` how often its intake killed its worker."""

    item: Incoming
    key: str
    begun: int


def _take_from(node: Node, channel: ChannelRow, source: Source, owed: set[str]) -> int:
    caller = Caller(
        system_id=channel.system_id or f"channel:{channel.id}", name=f"channel:{channel.id}",
        agency_ids=channel.agency_ids, is_operator=False,
    )  # fmt: skip
    items = list(source.look(_BATCH))
    if not items:
        return 0
    keys = [f"{channel.id}|{hashlib.sha256(item.token.encode()).hexdigest()}" for item in items]
    with node.store.read() as connection:
        begun = noted.begun(connection, keys)
    found = [_Found(item=item, key=key, begun=begun.get(key, 0)) for item, key in zip(items, keys, strict=True)]
    return sum(_take_run(node, caller, source, run, owed) for run in _runs(found))


def _runs(found: Sequence[_Found]) -> Iterator[Sequence[_Found]]:
    """In the order found: packets without a past together, everything else alone."""
    for is_plain, members in groupby(found, lambda one: one.item.kind is IncomingKind.PACKET and not one.begun):
        run = list(members)
        yield from [run] if is_plain else [[one] for one in run]


def _take_run(node: Node, caller: Caller, source: Source, run: Sequence[_Found], owed: set[str]) -> int:
    """Take in some things as one group, tell the source of each in turn; how many were told.

    They reported, whatever they said: only a dead worker leaves its counts, or a defect, which is raised.  Where the
    store is away that is owed.
    """
    keys, is_defect = [one.key for one in run], False
    try:
        with node.store.write() as connection:
            noted.begin(connection, keys)
    except StoreUnsure:
        owed.update(keys)
        raise
    owed.update(keys)
    done = 0
    try:
        for one, outcome in zip(run, _outcomes(node, caller, run), strict=True):
            if isinstance(outcome, _Left):
                _log.warning("intake.left", channel=caller.name, reason=name_fault(outcome.why))
                continue
            source.acknowledge(one.item, verdict_of(outcome))
            done += 1
    except Exception as why:
        is_defect = not isinstance(why, (TrucError, OSError))
        raise
    finally:
        if not is_defect:
            with node.store.write() as connection:
                noted.end(connection, keys)
        owed.difference_update(keys)
    return done


@dataclass(frozen=True, slots=True)
class _Left:
    """A thing that stays where it is until the next look, and what it met: a full disk, a change while it was read."""

    why: TrucError | OSError


def _outcomes(node: Node, caller: Caller, run: Sequence[_Found]) -> Sequence[Outcome | _Left]:
    one = run[0]
    if one.begun >= _MOST_FAULTS:
        return [KillsWorker()]
    if one.item.kind is IncomingKind.PACKET:
        return _packets(node, caller, [each.item for each in run])
    try:
        if one.item.kind is IncomingKind.REFUSAL:
            return [_refusal(node, caller, one.item)]
        return [Damaged(one.item.reason)]
    except GatewayError as why:
        return [_Left(why) if why.retryable else why]


def _packets(node: Node, caller: Caller, items: Sequence[Incoming]) -> list[Outcome | _Left]:
    """Packets as one group: spooled, prepared with one journal of the file system, accepted with one commit.

    Statuses and documents keep their order: a taking back is not heard before what it takes back.
    """
    spooled = [_spooled(node, caller, item) for item in items]
    fresh = [one for one in spooled if isinstance(one, Submission)]
    prepared = dict(zip(map(id, fresh), prepare_group(node, fresh), strict=True)) if fresh else {}
    ready = [prepared.get(id(one), one) for one in spooled]
    good = [one for one in ready if isinstance(one, Prepared)]
    accepted: list[Outcome] = []
    for _, members in groupby(good, lambda one: one.kind is LinkKind.STATUS):
        accepted += accept(node, list(members))
    answers = iter(accepted)
    return [_kept(next(answers)) if isinstance(one, Prepared) else _ended(one) for one in ready]


def _kept(outcome: Outcome) -> Outcome | _Left:
    """What came of accepting; where the store went away before its turn came it stays."""
    return _Left(outcome) if isinstance(outcome, StoreError) else outcome


def _ended(one: object) -> Outcome | _Left:
    """What did not come as far as accept: an outcome, or a thing that stays. What nobody foresaw is raised."""
    if isinstance(one, _Left):
        return one
    if isinstance(one, OSError) or (isinstance(one, GatewayError) and one.retryable):
        return _Left(one)
    if isinstance(one, TrucError):
        return one
    assert isinstance(one, Exception), "every packet was accepted, refused or left"
    raise one


class Damaged(GatewayError):
    """A thing that can never be read, or a refusal of something that was never delivered; parameter `reason`.

    It speaks with the words of its reason: they say what to mend, and the report is all that the clerk sees.
    """

    code = "intake.damaged"

    def __init__(self, reason: str) -> None:
        self.reason = reason or self.code
        super().__init__(reason=reason)

    def text(self, language: Language) -> str:
        """The sentence of the reason."""
        return text(self.reason, language, self.params)


class KillsWorker(GatewayError):
    """Taking in one thing ended its worker, or met a defect, three times: it is set aside for a person."""

    code = "intake.kills_worker"


def _refusal(node: Node, caller: Caller, item: Incoming) -> Outcome:
    """A refusal file names the delivery key, which is the transfer's id."""
    with node.store.read() as connection:
        handed_over = reports.of_key(connection, item.key)
    outcome: Outcome = Damaged("folder.unknown_refusal")
    words = item.reason or text("intake_told.no_words", Language.VI, {})
    for owed in handed_over:
        if owed.agency_id in caller.agency_ids:
            outcome = refuse_for(node, owed.delivery_id, caller.agency_ids, words)
    return outcome


def _spooled(node: Node, caller: Caller, item: Incoming) -> Submission | TrucError | _Left:
    """One body taken in, or why not; nothing is left on disk then. A small one stays in memory."""
    path = node.store.blobs.spool()
    try:
        node.store.blobs.check_reserve(item.size)
        assert item.open is not None, "a packet can be opened"
        with item.open() as body:
            is_small = item.size <= _SMALL
            taken = _keep(body.read, item.size) if is_small else _copy(body.read, path, node.limits.packet)
    except (GatewayError, OSError) as why:
        path.unlink(missing_ok=True)
        return why if isinstance(why, GatewayError) and not why.retryable else _Left(why)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Submission(
        caller=caller, spooled=path, digest=taken.digest, size=taken.size, received_at=node.now(), body=taken.body
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    digest: str
    size: int
    body: bytes | None


def _keep(read: Callable[[int], bytes], size: int) -> _Taken:
    """The bytes in memory, hashed. Raises OSError where there are more than the look saw, and what `read` raises."""
    body = read(size + 1)
    if len(body) > size:
        raise OSError(errno.ESTALE, "changed while it was being read")
    return _Taken(digest=hashlib.sha256(body).hexdigest(), size=len(body), body=body)


def _copy(read: Callable[[int], bytes], path: Path, limit: int) -> _Taken:
    """The bytes spooled to `path`, hashed. Raises TooLarge, and what `read` raises."""
    hasher, size = hashlib.sha256(), 0
    with path.open("wb") as spool:
        while piece := read(_PIECE):
            size += len(piece)
            if size > limit:
                raise TooLarge("submission.too_large", limit=limit)
            hasher.update(piece)
            spool.write(piece)
    return _Taken(digest=hasher.hexdigest(), size=size, body=None)


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
    counted, owed, troubles = -math.inf, set[str](), Troubles()

    def once() -> float:
        nonlocal counted
        done = intake_once(node, owed, troubles)
        watches.renew()  # after the look, which makes the folders that are missing
        if time.monotonic() - counted >= _COUNT_AGAIN:
            counted = time.monotonic()
            show_ignored(node)
        return 0.0 if done else min(pause, _soonest(node))

    return Loop("intake", once, node.transport, ["intake"], beat=pause), watches


def _soonest(node: Node) -> float:
    """Seconds until something that was seen may be taken."""
    settling = (source for _, source in _sources(node) if isinstance(source, _Settling))
    return min((source.settles_in() for source in settling), default=math.inf)
