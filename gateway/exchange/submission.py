"""What comes in and what is answered: values of the first two hops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from edxml.errors import TrucError
from edxml.findings import Finding, Severity
from edxml.ids import bounded
from edxml.packet import StatusPacket
from edxml.read import ReadResult
from edxml.values import hasten
from gateway.identity import Caller
from gateway.model.errors import GatewayError, Refusal
from gateway.model.states import Book, LinkKind
from routing.plan import RecipientsMode, RoutePlan

__all__ = [
    "Answer", "Docket", "Examined", "Outcome", "PacketRefusal", "Prepared", "Submission", "Unentered", "found_of",
    "with_found",
]  # fmt: skip


@hasten
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
    item: str = ""  #: the delivery that a status is about, where its reporter named it


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A packet looked at without keeping anything: what `check` answers and `prepare` builds on."""

    result: ReadResult
    findings: tuple[Finding, ...]
    plan: RoutePlan | None
    sender_id: str = ""
    fingerprint: str = ""
    unsigned: frozenset[int] = frozenset()  #: positions of the PDFs that plainly bear no signature

    @property
    def is_refused(self) -> bool:
        """Whether it may not be accepted."""
        return self.plan is None or self.plan.is_refused or any(f.severity == "error" for f in self.findings)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Docket:
    """What is entered of a packet (phần vào sổ): all that accept and what follows it need of what it says.

    The packet itself, some thirty values, ends with its examination.
    """

    book: Book
    sender_organ: str
    document_id: str  #: as written; "" where a status names none
    notation: str
    subject: str = ""
    is_urgent: bool = False
    attachments: str = "[]"  #: JSON (gateway.exchange.attached)
    status: StatusPacket | None = None  #: of a status, which is short, everything


@hasten
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A submission whose blob is durable and whose seal is made: all that is left is one transaction."""

    submission: Submission
    packet_id: str
    digest: str  #: SHA-256 of the bytes, whether the submission had told it or not
    docket: Docket
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
    replaces: tuple[str, ...] = ()  #: keys of the documents that it replaces
    seal: bytes = b""
    repairs: tuple[str, ...] = ()

    @property
    def is_urgent(self) -> bool:
        """Whether it goes ahead of others; statuses do not."""
        return self.docket.is_urgent

    @property
    def submission_key(self) -> str:
        """Same system, wire digest and recipients → the first answer (protocol §12)."""
        if self.submission.key:
            return self.submission.key
        only = bounded(",".join(sorted(self.submission.only)))
        return f"{self.submission.caller.system_id}|{self.wire_digest}|{only}"

    @property
    def idempotency_key(self) -> str:
        """The caller's own Idempotency-Key, apart from other callers' keys; "" where it gave none."""
        key = self.submission.idempotency_key
        return f"{self.submission.caller.system_id}|{key}" if key else ""


_FOUND = tuple(field.name for field in fields(Prepared) if field.name != "submission")
_take_found = attrgetter(*_FOUND)


def found_of(prepared: Prepared) -> tuple[Any, ...]:
    """What its examination added to a submission, for `with_found` to make the same of."""
    values: tuple[Any, ...] = _take_found(prepared)
    return values


def with_found(submission: Submission, found: tuple[Any, ...]) -> Prepared:
    """The submission as it was prepared elsewhere, by what `found_of` told. Raises ValueError for no sense."""
    return Prepared(submission=submission, **dict(zip(_FOUND, found, strict=True)))


class PacketRefusal(Refusal):
    """A packet is refused with everything that was found in it; nothing is kept but an event."""

    def __init__(self, findings: tuple[Finding, ...], *, is_secret: bool = False) -> None:
        self.findings = findings
        self.is_secret = is_secret
        errors = sum(finding.severity is Severity.ERROR for finding in findings)
        super().__init__("packet.secret" if is_secret else "packet.refused", count=errors)


class Unentered(GatewayError):
    """One packet of a group met a defect of ours while it was entered: nothing of it was kept, and the log has more."""

    code = "packet.not_entered"


@hasten
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
