"""What an operator (quản trị viên) must be told: rules over a snapshot of the node. Pure: a snapshot in, alerts out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from edxml.messages import Language, Term, text
from monitoring.registry import Urgency

__all__ = [
    "CERTIFICATE_DAYS", "Alert", "AlertCode", "AlertSeverity", "InboxFigures", "Snapshot", "Thresholds", "find_alerts",
]  # fmt: skip


CERTIFICATE_DAYS: Final = 30
"""Days before the end of the last seal certificate from which an operator is told."""


class AlertSeverity(StrEnum):
    """How soon somebody must look; the order is that of urgency."""

    CRITICAL = "critical"  #: now: documents are at risk or nothing moves
    WARNING = "warning"  #: today


class AlertCode(StrEnum):
    """Every kind of alert; each is the code of its text and the name of its runbook."""

    BLOB_DAMAGED = "alert.blob_damaged"
    BLOB_MISSING = "alert.blob_missing"
    ACCOUNT_GAP = "alert.account_gap"
    DISK_RESERVE = "alert.disk_reserve"
    DISK_LOW = "alert.disk_low"
    BACKLOG_STUCK = "alert.backlog_stuck"
    BACKLOG_OLD = "alert.backlog_old"
    CHANNEL_DOWN = "alert.channel_down"
    PARKED = "alert.parked"
    SEAL_CERTIFICATE = "alert.seal_certificate"
    PROFILE_UNREADABLE = "alert.profile_unreadable"
    CHANNEL_UNREADABLE = "alert.channel_unreadable"
    DIRECTORY_UNREADABLE = "alert.directory_unreadable"
    NODE_RECOVERING = "alert.node_recovering"
    BACKUP_OLD = "alert.backup_old"
    FOLLOWER_STUCK = "alert.follower_stuck"
    BLOB_UNREAD = "alert.blob_unread"
    MONTH_MISSING = "alert.month_missing"
    INBOX_UNFETCHED = "alert.inbox_unfetched"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxFigures:
    """One agency's inbox (hộp đến) at the moment `at`. None: never, as far as is remembered."""

    agency_id: str
    agency: str  #: its name
    system: str  #: name of the system that speaks for it; "" where none does
    at: datetime
    count: int = 0  #: items that wait to be fetched
    oldest: Mapping[Urgency, float] = field(default_factory=dict)  #: seconds that the oldest has waited; none: left out
    polled_at: datetime | None = None  #: when its items were last listed or fetched
    seen_at: datetime | None = None  #: when that system last called, whatever it wanted

    @property
    def polled_age(self) -> float | None:
        """Seconds since its items were last listed or fetched."""
        return None if self.polled_at is None else (self.at - self.polled_at).total_seconds()

    @property
    def seen_age(self) -> float | None:
        """Seconds since that system last called."""
        return None if self.seen_at is None else (self.at - self.seen_at).total_seconds()

    def late(self, limits: Mapping[Urgency, float]) -> Urgency | None:
        """Whether anything has waited too long: the most urgent that has."""
        return next((each for each in Urgency if each in self.oldest and self.oldest[each] >= limits[each]), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The node at one moment. Seconds and bytes; None is "not known", which raises no alert."""

    parked: Mapping[str, int] = field(default_factory=dict)  #: parked deliveries by reason code
    oldest_ready_seconds: float | None = None  #: age of the oldest delivery that is due and not claimed
    oldest_channel: str = ""  #: that this delivery waits for
    waiting: int = 0  #: deliveries to be handed over, due or not
    open_breakers: tuple[str, ...] = ()  #: ids of channels that nothing is sent to
    disk_free_bytes: int | None = None
    disk_reserve_bytes: int = 0  #: below this nothing is accepted (507)
    damaged_blobs: int = 0
    missing_blobs: int = 0
    unread_blobs: int = 0  #: the disk does not give them; nothing is known against their bytes
    account_gaps: int = 0  #: what does not add up in the books
    first_gap: str = ""  #: the oldest packet with one; "": they are of no packet
    inboxes: tuple[InboxFigures, ...] = ()
    unreadable_rows: tuple[tuple[str, str, str], ...] = ()  #: (profile, channel or directory; whose; why)
    still_followers: Mapping[str, float] = field(default_factory=dict)  #: seconds without a step though something waits
    recovering_seconds: float | None = None  #: since the node was restored that pushes nothing yet
    unsaved_seconds: float | None = None  #: since the last backup's moment, or since the node was made
    packets_without_month: int = 0  #: for want of a table of their own (PostgreSQL)
    seal_days_left: int | None = None  #: whole days until no certificate to seal with is valid; negative: since then


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a figure becomes an alert."""

    ready_warning_seconds: float = 300.0
    ready_critical_seconds: float = 1800.0
    disk_warning_factor: float = 2.0  #: warn below this many times the reserve
    seal_warning_days: int = CERTIFICATE_DAYS
    seal_critical_days: int = 7
    unfetched_seconds: Mapping[Urgency, float] = field(
        default_factory=lambda: {Urgency.URGENT: 900.0, Urgency.ORDINARY: 14_400.0}
    )
    follower_seconds: float = 1800.0
    recovering_critical_seconds: float = 3600.0
    backup_warning_seconds: float = 26 * 3600.0
    backup_critical_seconds: float = 48 * 3600.0
    """After which bytes that a day's backup would have copied may be gone for good: a blob that nothing needs any more
    lies there for a day, and one more in the trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing an operator must be told, with the parameters of its text."""

    code: AlertCode
    severity: AlertSeverity
    params: Mapping[str, Any] = field(default_factory=dict)

    def text(self, language: Language) -> str:
        """What it is and what to do, in `language`."""
        return text(str(self.code), language, self.params)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: code, severity, params, vi, en."""
        return {
            "code": str(self.code),
            "severity": str(self.severity),
            "params": dict(self.params),
            "vi": self.text(Language.VI),
            "en": self.text(Language.EN),
        }


def find_alerts(snapshot: Snapshot, thresholds: Thresholds | None = None) -> tuple[Alert, ...]:
    """All alerts of `snapshot`, the most urgent first, in a stable order: one per channel that is down (whatever
    the number of documents that wait for it) and one per reason of parking."""
    limits = thresholds or Thresholds()
    found = [
        *_of_the_blobs(snapshot),
        *_of_the_books(snapshot),
        *_of_the_rows(snapshot),
        *_of_the_disk(snapshot, limits),
        *_of_the_seal(snapshot, limits),
        *_of_the_backups(snapshot, limits),
        *_of_the_work(snapshot, limits),
        *_of_the_inboxes(snapshot, limits),
    ]
    urgency = {severity: place for place, severity in enumerate(AlertSeverity)}
    return tuple(sorted(found, key=lambda alert: urgency[alert.severity]))


def _of_the_blobs(snapshot: Snapshot) -> Iterator[Alert]:
    if snapshot.damaged_blobs:
        yield _critical(AlertCode.BLOB_DAMAGED, count=snapshot.damaged_blobs)
    if snapshot.missing_blobs:
        yield _critical(AlertCode.BLOB_MISSING, count=snapshot.missing_blobs)
    if snapshot.unread_blobs:
        yield _critical(AlertCode.BLOB_UNREAD, count=snapshot.unread_blobs)


def _of_the_books(snapshot: Snapshot) -> Iterator[Alert]:
    if snapshot.account_gaps:
        yield _critical(AlertCode.ACCOUNT_GAP, count=snapshot.account_gaps, packet=snapshot.first_gap or "-")


_UNREADABLE = {
    "profile": AlertCode.PROFILE_UNREADABLE,
    "channel": AlertCode.CHANNEL_UNREADABLE,
    "directory": AlertCode.DIRECTORY_UNREADABLE,
}


def _of_the_rows(snapshot: Snapshot) -> Iterator[Alert]:
    for kind, name, why in snapshot.unreadable_rows:
        yield _critical(_UNREADABLE[kind], name=name, why=why)


def _of_the_disk(snapshot: Snapshot, limits: Thresholds) -> Iterator[Alert]:
    free, reserve = snapshot.disk_free_bytes, snapshot.disk_reserve_bytes
    if free is not None:
        sizes = {"free_mib": free >> 20, "reserve_mib": reserve >> 20}
        if free < reserve:
            yield _critical(AlertCode.DISK_RESERVE, **sizes)
        elif free < reserve * limits.disk_warning_factor:
            yield _warning(AlertCode.DISK_LOW, **sizes)


def _of_the_seal(snapshot: Snapshot, limits: Thresholds) -> Iterator[Alert]:
    left = snapshot.seal_days_left
    if left is not None and left < limits.seal_warning_days:
        tell = _critical if left < limits.seal_critical_days else _warning
        yield tell(AlertCode.SEAL_CERTIFICATE, days=left)


def _of_the_backups(snapshot: Snapshot, limits: Thresholds) -> Iterator[Alert]:
    since, unsaved = snapshot.recovering_seconds, snapshot.unsaved_seconds
    if since is not None:
        tell = _critical if since >= limits.recovering_critical_seconds else _warning
        yield tell(AlertCode.NODE_RECOVERING, minutes=int(since // 60))
    if unsaved is not None and unsaved >= limits.backup_warning_seconds:
        tell = _critical if unsaved >= limits.backup_critical_seconds else _warning
        yield tell(AlertCode.BACKUP_OLD, hours=int(unsaved // 3600))
    if snapshot.packets_without_month:
        yield _warning(AlertCode.MONTH_MISSING, count=snapshot.packets_without_month)


def _of_the_work(snapshot: Snapshot, limits: Thresholds) -> Iterator[Alert]:
    age = snapshot.oldest_ready_seconds
    if age is not None:
        told = {"minutes": int(age // 60), "channel": snapshot.oldest_channel or "–", "count": snapshot.waiting}
        if age >= limits.ready_critical_seconds:
            yield _critical(AlertCode.BACKLOG_STUCK, **told)
        elif age >= limits.ready_warning_seconds:
            yield _warning(AlertCode.BACKLOG_OLD, **told)
    for name, waited in sorted(snapshot.still_followers.items()):
        if waited >= limits.follower_seconds:
            yield _warning(AlertCode.FOLLOWER_STUCK, follower=name, minutes=int(waited // 60))
    for channel in sorted(snapshot.open_breakers):
        yield _warning(AlertCode.CHANNEL_DOWN, channel=channel)
    for reason, count in sorted(snapshot.parked.items()):
        if count:
            yield _warning(AlertCode.PARKED, reason=reason, count=count)


def _of_the_inboxes(snapshot: Snapshot, limits: Thresholds) -> Iterator[Alert]:
    for one in snapshot.inboxes:
        late = one.late(limits.unfetched_seconds)
        if late is not None:
            tell = _critical if late is Urgency.URGENT else _warning
            yield tell(
                AlertCode.INBOX_UNFETCHED, agency=one.agency, count=one.count, urgency=Term(f"urgency.{late}"),
                waited=timedelta(seconds=one.oldest[late]), system=one.system or Term("sighting.nobody"),
                polled=one.polled_at or Term("sighting.never"), seen=one.seen_at or Term("sighting.never"),
            )  # fmt: skip


def _critical(code: AlertCode, **params: Any) -> Alert:
    return Alert(code=code, severity=AlertSeverity.CRITICAL, params=params)


def _warning(code: AlertCode, **params: Any) -> Alert:
    return Alert(code=code, severity=AlertSeverity.WARNING, params=params)
