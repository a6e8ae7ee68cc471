"""What comes in and what is answered: values of the first two hops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edxml.errors import TrucError
from edxml.findings import Finding
from edxml.packet import Packet, StatusPacket
from edxml.read import ReadResult
from gateway.identity import Caller
from gateway.model.errors import Refusal
from gateway.model.states import LinkKind
from routing.plan import RecipientsMode, RoutePlan

__all__ = ["Answer", "Examined", "Outcome", "PacketRefusal", "Prepared", "Submission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A body that was taken in (văn bản trình gửi): spooled whole on the blobs' file system, or still in memory;
    nothing else done yet."""

    caller: Caller
    spooled: Path
    digest: str  #: SHA-256 of the bytes; empty where they are in memory and not hashed yet
    size: int
    received_at: int
    body: bytes | None = None  #: the bytes, where they are few: `spooled` is not written then before they are good
    mode: RecipientsMode = RecipientsMode.ALL
    only: tuple[str, ...] = ()  #: organ ids out of the packet's To; empty: all of them
    idempotency_key: str = ""
    key: str = ""  #: what a repeat is known by, where the bytes may differ (statuses that this node builds)
    by_node: bool = False  #: made by this node for an agency whose software cannot speak statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A packet looked at without keeping anything: what `check` answers and `prepare` builds on."""

    result: ReadResult
    findings: tuple[Finding, ...]
    plan: RoutePlan | None
    sender_id: str = ""
    fingerprint: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether it may not be accepted."""
        return self.plan is None or self.plan.is_refused or any(f.severity == "error" for f in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A submission whose blob is durable and whose seal is made: all that is left is one transaction."""

    submission: Submission
    packet_id: str
    packet: Packet | StatusPacket
    plan: RoutePlan
    findings: tuple[Finding, ...]
    sender_id: str
    kind: LinkKind
    fingerprint: str
    wire_digest: str
    document_key: str
    root: str
    notation: str
    removed: frozenset[str] = frozenset()  #: agency ids that an update removes: a recall for them
    added: frozenset[str] = frozenset()  #: agency ids that an update adds
    seal: bytes = b""
    repairs: tuple[str, ...] = ()

    @property
    def is_urgent(self) -> bool:
        """Whether it goes ahead of others; statuses do not."""
        return isinstance(self.packet, Packet) and self.packet.is_urgent

    @property
    def submission_key(self) -> str:
        """Same system, wire digest and recipients → the first answer (protocol §12)."""
        if self.submission.key:
            return self.submission.key
        only = ",".join(sorted(self.submission.only))
        return f"{self.submission.caller.system_id}|{self.wire_digest}|{only}"

    @property
    def idempotency_key(self) -> str:
        """The caller's own Idempotency-Key, apart from other callers' keys; "" where it gave none."""
        key = self.submission.idempotency_key
        return f"{self.submission.caller.system_id}|{key}" if key else ""


class PacketRefusal(Refusal):
    """A packet is refused with everything that was found in it; nothing is kept but an event."""

    def __init__(self, findings: tuple[Finding, ...], *, is_secret: bool = False) -> None:
        self.findings = findings
        self.is_secret = is_secret
        super().__init__("packet.secret" if is_secret else "packet.refused", count=len(findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a sender is told: the first answer, also on a repeat (then with today's states)."""

    packet_id: str
    document_id: str
    is_repeat: bool
    accepted_at: int
    recipients: tuple[Mapping[str, Any], ...] = ()
    findings: tuple[Finding, ...] = ()
    repairs: tuple[str, ...] = field(default=())


Outcome = Answer | TrucError
"""Per member of a group: an answer, or why not."""
