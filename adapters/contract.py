"""What every channel adapter promises.

A packet leaves to an agency by a Sink (nơi giao) and comes from one by a Source (nguồn lấy).

An adapter moves bytes and tells the truth about what happened.  It never retries, never counts, never talks
to the store: the machine decides (see docs/guarantees.md).  Hand-over has two steps so that a committed attempt
can stand between them:

    staged = sink.stage(item)          nothing that the other side can see has happened
    … the attempt is committed …
    outcome = staged.hand_over(until)  from the first byte on, the packet may have arrived

Outcomes are closed: `Done`, `Retry` (surely not arrived), `Park` (surely not arrived, a person must look) and
`Unknown` (may have arrived).  Whoever returns `Retry` or `Park` vouches that nothing arrived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import BinaryIO, ClassVar, Protocol, runtime_checkable

from edxml.errors import TrucError

__all__ = [
    "AdapterError",
    "Bounded",
    "Done",
    "HandOver",
    "Incoming",
    "IncomingKind",
    "Outcome",
    "Park",
    "Probe",
    "Retry",
    "Scope",
    "Sink",
    "SinkKind",
    "Source",
    "Staged",
    "Unknown",
    "Verdict",
    "boot_now",
]


def boot_now() -> float:
    """Seconds on the clock by which hand-overs are limited: CLOCK_BOOTTIME, which nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class AdapterError(TrucError):
    """A channel cannot be opened as it is configured; parameters `channel`, `setting`, `why`.

    `also`: what else is wrong with the same settings, so that all of it can be told at once.
    """

    code: ClassVar[str] = "adapters.misconfigured"
    also: tuple[AdapterError, ...] = ()


class SinkKind(StrEnum):
    """How sure a repeat is on the other side (protocol.md §5)."""

    IDEMPOTENT = "idempotent"  #: the other side drops a repeat of the same key: send again at once
    CHECKABLE = "checkable"  #: `find(key)` tells whether it arrived: look, then send again
    BLIND = "blind"  #: nobody can tell: a person decides


class Scope(StrEnum):
    """Whose fault a failure is (protocol.md §8)."""

    CHANNEL = "channel"  #: down, refusing or slow for everybody: breaker, not counted against the document
    DOCUMENT = "document"  #: this packet only: counted, parked in the end


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """One transfer as a sink sees it. `key` is the same over all attempts and is the name on the other side."""

    key: str
    packet_id: str
    document_id: str
    business_kind: str  #: "new", "recall", "update", "replacement" or "status"
    sender: str  #: organ id of the sender as written
    recipients: tuple[str, ...]  #: organ ids as written by the sender
    urgent: bool
    size: int  #: bytes of the packet
    digest: str  #: SHA-256 of the packet's bytes, lower-case hex
    accepted_at: datetime
    open: Callable[[], BinaryIO]  #: the packet's bytes, as received
    seal: bytes = b""
    stage_until: float = float("inf")  #: CLOCK_BOOTTIME after which the claim may be another's: stage nothing then
    note: Mapping[str, str] = field(default_factory=dict)  #: travels beside the packet, e.g. why it was re-addressed


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Arrived. `evidence` is what the other side said (a file name, an id); never document content."""

    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Surely not arrived; try again. `after` None leaves the wait to the machine. `reason` is a message code."""

    reason: str
    scope: Scope = Scope.CHANNEL
    after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Surely not arrived, and trying again will not help: a person must look. `reason` is a message code.

    `said`: the other side's own words for that person, one short printable line; "" where it gave none.
    """

    reason: str
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """May have arrived. `reason` is a message code."""

    reason: str
    scope: Scope = Scope.CHANNEL


Outcome = Done | Retry | Park | Unknown


class Staged(Protocol):
    """A packet that is ready to be handed over in one short step."""

    def hand_over(self, until: float) -> Outcome:
        """Let the other side see it. Stops writing when `boot_now()` passes `until`."""

    def discard(self) -> None:
        """Throw away what was staged, where no attempt was committed. Safe to repeat."""


@runtime_checkable
class Bounded(Protocol):
    """A staged packet with a limit of its own, never longer than its sink's: a small one must not be open for hours."""

    @property
    def sending_limit(self) -> timedelta:
        """Longest time that its hand-over may write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whether a channel could be used now. `reason` is a message code when not; `detail` is for the operator."""

    usable: bool
    reason: str = ""
    detail: str = ""


class Sink(Protocol):
    """Where an agency's packets are handed over."""

    @property
    def kind(self) -> SinkKind:
        """How sure a repeat is on the other side."""

    @property
    def sending_limit(self) -> timedelta:
        """Longest time that one hand-over may write."""

    @property
    def settle_time(self) -> timedelta:
        """After which bytes already sent can no longer land."""

    def stage(self, item: HandOver) -> Staged | Retry | Park:
        """Prepare one packet, not visible yet. Repeatable.

        Checks the bytes against `item.digest`, else `Park("blob.damaged")`. Of a key that a checkable sink knows
        as arrived nothing is staged again: its hand-over answers `Done`.
        """

    def find(self, key: str) -> Done | None:
        """On a checkable sink: the receipt when `key` arrived, None when it surely did not (yet).

        Raises AdapterError or OSError when it cannot tell: that is neither a yes nor a no.
        """

    def probe(self) -> Probe:
        """Look whether the channel is usable, without sending anything."""


class IncomingKind(StrEnum):
    """What a source found."""

    PACKET = "packet"  #: an edXML packet to send on: a document or a status
    REFUSAL = "refusal"  #: the agency refuses what was delivered under `key`, with `reason`
    DAMAGED = "damaged"  #: something is there that can never be read (name, permission): say so, set it aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One thing a source found. `token` names it to the source; it stays there until `acknowledge` is called."""

    kind: IncomingKind
    token: str
    size: int = 0
    open: Callable[[], BinaryIO] | None = None
    key: str = ""  #: of a REFUSAL: the delivery key that was refused
    reason: str = ""  #: of a REFUSAL: the agency's own words, "" where it gave none; of a DAMAGED: a message code


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of something a source found, told after our commit.

    `report` is a text for the clerk, Vietnamese first.
    """

    accepted: bool
    reference: str = ""
    report: str = ""


class Source(Protocol):
    """Where an agency's own packets and refusals are taken from."""

    def look(self, limit: int) -> Iterator[Incoming]:
        """Up to `limit` complete things, oldest first; the same ones again until they are acknowledged.

        What is still being written is left alone. Raises AdapterError when the other side cannot be reached. The
        stream of `Incoming.open` raises OSError when the thing changed meanwhile: it is found again later.
        """

    def acknowledge(self, item: Incoming, verdict: Verdict) -> None:
        """Called after our commit: set the thing aside. Safe to repeat.

        A crash before or within means that it is found again. Raises AdapterError when it cannot be set aside now.
        """
