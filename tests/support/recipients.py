"""Recipients in memory: channels whose other side is scripted, step by step, in the test's own process.

    house.recipient("check").next(Does.TAKE_SILENTLY, Does.LOSE)
    house.recipient("blind").during = lambda item: house.sweep()     what happens while the bytes go out
    house.recipient("check").after = lambda item: house.sweep()      what happens before they are answered

What lands is kept in `arrivals`, whatever was answered; `copies(key)` counts what the recipient saw as new.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto

from adapters.contract import (
    AdapterError,
    Done,
    HandOver,
    Outcome,
    Park,
    Probe,
    Retry,
    Scope,
    SinkKind,
    Unknown,
)

__all__ = ["Does", "Landed", "MemoryRecipient", "WorkerDied", "memory_kind"]


class WorkerDied(BaseException):
    """A worker's process ends here: nothing after this line of it runs."""


class Does(Enum):
    """What a recipient (or the road to it) does with one hand-over."""

    TAKE = auto()  #: arrives, and says so
    TAKE_SILENTLY = auto()  #: arrives, but the answer is lost
    LOSE = auto()  #: does not arrive, and nobody is told
    REFUSE = auto()  #: the channel is down: surely not arrived
    REFUSE_DOCUMENT = auto()  #: this document's own fault: surely not arrived
    PARK = auto()  #: surely not arrived, and a person must look
    DIE_BEFORE = auto()  #: the worker dies before the first byte
    DIE_AFTER = auto()  #: it arrives, and the worker dies before it can write that down


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """One packet that arrived. `is_copy`: the recipient saw it as a new one."""

    key: str
    packet_id: str
    kind: str
    is_copy: bool
    recipients: tuple[str, ...] = ()  #: organ codes that it was handed over for


def _nothing(*_item: HandOver) -> None:
    """Nothing else happens meanwhile."""


@dataclass(slots=True, eq=False)
class MemoryRecipient:
    """The other side of one channel. `default` is what it does once its script has run out."""

    channel_id: str
    kind: SinkKind
    default: Does = Does.TAKE
    arrivals: list[Landed] = field(default_factory=list)
    during_stage: Callable[[HandOver], object] = _nothing
    during: Callable[[HandOver], object] = _nothing
    after: Callable[[HandOver], object] = _nothing
    after_no: Callable[[], object] = _nothing  #: between a no of `find` and its asker's hearing it
    during_tidy: Callable[[], object] = _nothing  #: what happens while its old records are forgotten
    forgets: bool = False  #: `find` cannot tell: it raises
    sending_limit: timedelta = timedelta(seconds=20)
    until: float = 0.0  #: by which the last hand-over had to end, on the boot-time clock
    _script: deque[Does] = field(default_factory=deque)

    def next(self, *steps: Does) -> None:
        """What it does with the next hand-overs, in order."""
        self._script.extend(steps)

    def copies(self, key: str) -> int:
        """How often the recipient saw this key as a new packet."""
        return sum(landed.key == key and landed.is_copy for landed in self.arrivals)

    def seen(self, packet_id: str) -> int:
        """How often it saw this packet as new, under whatever key."""
        return sum(landed.packet_id == packet_id and landed.is_copy for landed in self.arrivals)

    def kinds(self) -> list[str]:
        """The business kinds that arrived, in order."""
        return [landed.kind for landed in self.arrivals if landed.is_copy]

    def landed(self) -> list[str]:
        """The packets in the order in which they landed, repeats and all."""
        return [landed.packet_id for landed in self.arrivals]

    def land(self, item: HandOver) -> None:
        """The bytes are there."""
        known = any(landed.key == item.key for landed in self.arrivals)
        is_copy = not (known and self.kind is SinkKind.IDEMPOTENT)
        self.arrivals.append(
            Landed(
                key=item.key,
                packet_id=item.packet_id,
                kind=item.business_kind,
                is_copy=is_copy,
                recipients=item.recipients,
            )
        )

    def take(self, item: HandOver) -> Outcome:
        """One hand-over as the script says."""
        self.during(item)
        does = self._script.popleft() if self._script else self.default
        if does is Does.DIE_BEFORE:
            raise WorkerDied(item.key)
        if does in (Does.TAKE, Does.TAKE_SILENTLY, Does.DIE_AFTER):
            self.land(item)
        self.after(item)
        if does is Does.DIE_AFTER:
            raise WorkerDied(item.key)
        return _ANSWERS[does]


_ANSWERS: Mapping[Does, Outcome] = {
    Does.TAKE: Done(evidence="memory"),
    Does.TAKE_SILENTLY: Unknown(reason="channel.unanswered"),
    Does.LOSE: Unknown(reason="channel.unanswered"),
    Does.REFUSE: Retry(reason="channel.io"),
    Does.REFUSE_DOCUMENT: Retry(reason="channel.error", scope=Scope.DOCUMENT),
    Does.PARK: Park(reason="channel.error"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sink:
    recipient: MemoryRecipient
    settle_time: timedelta = timedelta(seconds=10)

    @property
    def sending_limit(self) -> timedelta:
        return self.recipient.sending_limit

    @property
    def kind(self) -> SinkKind:
        return self.recipient.kind

    def stage(self, item: HandOver) -> _Staged | Retry | Park:
        self.recipient.during_stage(item)
        with item.open() as body:
            if hashlib.sha256(body.read()).hexdigest() != item.digest:
                return Park(reason="blob_damaged")
        return _Staged(recipient=self.recipient, item=item)

    def find(self, key: str) -> Done | None:
        if self.recipient.forgets:
            raise AdapterError(channel=self.recipient.channel_id, setting="memory", why="cannot tell")
        known = any(landed.key == key for landed in self.recipient.arrivals)
        if not known:
            self.recipient.after_no()
        return Done(evidence="found") if known else None

    def probe(self) -> Probe:
        return Probe(usable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    recipient: MemoryRecipient
    item: HandOver

    def hand_over(self, until: float) -> Outcome:
        self.recipient.until = until
        return self.recipient.take(self.item)

    def discard(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channel:
    sink: _Sink
    source: None = None

    def tidy(self) -> int:
        self.sink.recipient.during_tidy()
        return 0


def memory_kind(recipients: dict[str, MemoryRecipient]) -> Callable[[Mapping[str, object], str], _Channel]:
    """The opener of channels whose other side is a `MemoryRecipient` in `recipients` (setting `sink`: its kind)."""

    def open_memory(settings: Mapping[str, object], channel_id: str) -> _Channel:
        kind = SinkKind(str(settings["sink"]))
        recipient = recipients.setdefault(channel_id, MemoryRecipient(channel_id, kind))
        return _Channel(sink=_Sink(recipient=recipient))

    return open_memory
