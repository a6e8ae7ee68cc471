"""Intake (lấy văn bản) from channels that bring packets: spool, accept by groups, then tell the source (rule 13).

A source acknowledges only after our commit: a crash before it means that the same things are found again, and get the
first answer.  A thing whose intake kills its worker three times, or meets a defect, is set aside instead of being tried
for ever (rule 8): what was in a group that died goes one by one afterwards, so that only the culprit's count grows.
"""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

from adapters.contract import Incoming, IncomingKind, Source
from edxml.errors import TrucError
from edxml.messages import Language, text
from gateway.channels import name_fault
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
from monitoring import log

__all__ = ["Kept", "take_from"]

_log = log.get("intake")
_PIECE = 1 << 20
_SMALL = 256 * 1024
"""Bytes up to which a body stays in memory until its group is written: at most 16 MiB for a whole look."""
_BATCH = 64
_MOST_FAULTS = 3
_LEFT_FOR = 30.0
"""Seconds in which a thing that could not be taken, or set aside, is passed over: so that it keeps no other waiting."""
_MOST_LEFT = 1_000


@dataclass(slots=True)
class Kept:
    """What the looks through one channel keep in mind, in this process."""

    owed: set[str] = field(default_factory=set)
    """What is still to be written down as ended, because the store went away before: it was nobody's death (rule 8)."""
    left: dict[str, float] = field(default_factory=dict)
    """Tokens of things that stay where they are for now, and when they may be tried again, on the monotonic clock."""

    def leave(self, token: str) -> None:
        """Pass this thing over for a while."""
        if len(self.left) < _MOST_LEFT:
            self.left[token] = time.monotonic() + _LEFT_FOR

    def untried(self, found: Sequence[Incoming]) -> Iterator[Incoming]:
        """What may be tried now; of what is gone nothing is kept."""
        now, tokens = time.monotonic(), {item.token for item in found}
        self.left = {token: until for token, until in self.left.items() if token in tokens and now < until}
        return (item for item in found if item.token not in self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One thing that a look found: `key` is its name in the store, `begun` how often its intake killed its worker."""

    item: Incoming
    key: str
    begun: int


def take_from(node: Node, channel: ChannelRow, source: Source, kept: Kept) -> int:
    """One look through a channel: how many things were taken in or answered, and set aside.

    One that cannot be taken or set aside now keeps no other waiting.  Raises what the source and the store raise, and
    where nothing could be set aside why not.
    """
    if kept.owed:
        with node.store.write() as connection:
            noted.end(connection, kept.owed)
        kept.owed.clear()
    caller = Caller(
        system_id=channel.system_id or f"channel:{channel.id}", name=f"channel:{channel.id}",
        agency_ids=channel.agency_ids, is_operator=False,
    )  # fmt: skip
    items = list(islice(kept.untried(list(source.look(_BATCH + len(kept.left)))), _BATCH))
    if not items:
        return 0
    keys = [f"{channel.id}|{hashlib.sha256(item.token.encode()).hexdigest()}" for item in items]
    with node.store.read() as connection:
        begun = noted.begun(connection, keys)
    found = [_Found(item=item, key=key, begun=begun.get(key, 0)) for item, key in zip(items, keys, strict=True)]
    done, refused = 0, None
    for run in _runs(found):
        told, why = _take_run(node, caller, source, run, kept)
        done, refused = done + told, refused or why
    if refused is not None and not done:
        raise refused
    return done


def _runs(found: Sequence[_Found]) -> Iterator[Sequence[_Found]]:
    """In the order found: packets without a past together, everything else alone."""
    for is_plain, members in groupby(found, lambda one: one.item.kind is IncomingKind.PACKET and not one.begun):
        run = list(members)
        yield from [run] if is_plain else [[one] for one in run]


def _take_run(
    node: Node, caller: Caller, source: Source, run: Sequence[_Found], kept: Kept
) -> tuple[int, TrucError | OSError | None]:
    """Take in some things as one group, tell the source of each in turn; how many were told, and why one was not.

    They reported, whatever they said: only a dead worker leaves its counts, or a defect, which is raised.  Where the
    store is away that is owed.
    """
    keys, is_defect = [one.key for one in run], False
    try:
        with node.store.write() as connection:
            noted.begin(connection, keys)
    except StoreUnsure:
        kept.owed.update(keys)
        raise
    kept.owed.update(keys)
    done, refused = 0, None
    try:
        for one, outcome in zip(run, _outcomes(node, caller, run), strict=True):
            if isinstance(outcome, _Left):
                kept.leave(one.item.token)
                _log.warning("intake.left", channel=caller.name, reason=name_fault(outcome.why))
                continue
            try:
                source.acknowledge(one.item, verdict_of(outcome))
                done += 1
            except (TrucError, OSError) as why:  # it is found again, and gets the same answer
                kept.leave(one.item.token)
                _log.warning("intake.not_set_aside", channel=caller.name, reason=name_fault(why))
                refused = refused or why
    except Exception as why:
        is_defect = not isinstance(why, (TrucError, OSError))
        raise
    finally:
        if not is_defect:
            with node.store.write() as connection:
                noted.end(connection, keys)
        kept.owed.difference_update(keys)
    return done, refused


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
        if item.size > node.limits.packet:
            raise TooLarge("submission.too_large", limit=node.limits.packet)
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
