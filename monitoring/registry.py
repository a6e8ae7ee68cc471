"""Every metric of the project and every closed list of its labels, in one place; renaming one is breaking.

Names are `truc_<noun>_<unit>[_total]`.  A label's values come from a closed list, never from a packet: what is on
no list is counted as `unknown`.  Lists that other rooms own (reasons, states, repairs, routes, channels) are given
to `monitoring.metrics.Metrics` when it is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "METRICS",
    "NAME",
    "UNKNOWN",
    "BreakerState",
    "BrokerLink",
    "ClockJump",
    "FaultBook",
    "Hop",
    "HopOutcome",
    "MetricKind",
    "MetricSpec",
    "SweepFind",
    "TicketEvent",
    "Urgency",
    "WakeEvent",
]

UNKNOWN = "unknown"
"""The label value of everything that is on no list."""

NAME = re.compile(r"truc(_[a-z]+)+(_total)?")
"""What a metric's name looks like."""


class Hop(StrEnum):
    """The six hops of a document's way (design: one document's way)."""

    TAKE_IN = "take_in"  #: lấy văn bản
    ACCEPT = "accept"  #: tiếp nhận
    DISPATCH = "dispatch"  #: phân luồng
    RELAY = "relay"  #: chuyển tiếp
    DELIVER = "deliver"  #: chuyển giao
    ACKNOWLEDGE = "acknowledge"  #: cập nhật trạng thái


class HopOutcome(StrEnum):
    """How a hop ended, for counting; the exact reason stands in the event and in the log line."""

    DONE = "done"
    REPEATED = "repeated"  #: the first answer was given again
    REFUSED = "refused"
    RETRY = "retry"
    PARKED = "parked"
    DOUBTFUL = "doubtful"  #: may have arrived
    FAILED = "failed"  #: an error that is ours


class TicketEvent(StrEnum):
    """What became of a ticket (phiếu chuyển)."""

    ANNOUNCED = "announced"
    UNCONFIRMED = "unconfirmed"  #: sent, and nobody took them in time; they are sent again
    CLAIMED = "claimed"
    LOST = "lost"  #: announced and not claimed in time; or claimed by somebody else


class SweepFind(StrEnum):
    """What the sweep found that nobody had told of."""

    DEAD_LEASE = "dead_lease"  #: claims whose worker is gone
    EXPIRED = "expired"  #: heads past their time limit, and what moved with them
    LEFT_BLOB = "left_blob"  #: blobs that no packet needs


class ClockJump(StrEnum):
    """Which way the machine's clock was turned."""

    FORWARD = "forward"
    BACKWARD = "backward"


class FaultBook(StrEnum):
    """What rounds over everything stored look for."""

    ACCOUNT = "account"  #: books that do not close
    BLOBS = "blobs"  #: stored bytes that are not what they were
    CONFIGURATION = "configuration"  #: rows of channels, profiles or the directory that cannot be read


class BrokerLink(StrEnum):
    """The two connections that a process has to the broker."""

    PUBLISH = "publish"  #: tickets and wake-ups out
    LISTEN = "listen"  #: tickets and wake-ups in


class Urgency(StrEnum):
    """How soon somebody must have a document (độ khẩn)."""

    URGENT = "urgent"  #: khẩn, thượng khẩn, hỏa tốc
    ORDINARY = "ordinary"


class WakeEvent(StrEnum):
    """What became of a wake-up (gọi dậy) that goes by the database."""

    SENT = "sent"
    HEARD = "heard"
    LOST = "lost"  #: the line was down; whoever was meant looks by himself


class BreakerState(StrEnum):
    """Whether a channel is used (bộ ngắt kênh)."""

    CLOSED = "closed"  #: used as usual
    PROBING = "probing"  #: a few go through, to see
    OPEN = "open"  #: nothing is sent

    @property
    def level(self) -> int:
        """The value of the gauge: 0 closed, 1 probing, 2 open."""
        return tuple(BreakerState).index(self)


class MetricKind(StrEnum):
    """What Prometheus makes of it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric: name, kind, help text, label names, and bucket limits in seconds where it is a histogram."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0)


def _counter(name: str, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name=name, kind=MetricKind.COUNTER, help=text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name=name, kind=MetricKind.GAUGE, help=text, labels=labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> MetricSpec:
    return MetricSpec(name=name, kind=MetricKind.HISTOGRAM, help=text, labels=labels, buckets=buckets)


_INBOX = ("agency", "system")

METRICS: tuple[MetricSpec, ...] = (
    _counter("truc_packets_accepted_total", "Packets whose acceptance was committed.", "kind"),
    _counter("truc_packets_repeated_total", "Submissions answered with the first answer.", "kind"),
    _counter("truc_packets_refused_total", "Packets refused, by the first finding's code.", "reason"),
    _counter("truc_repairs_total", "Deviations put right while reading, by name.", "repair"),
    _counter("truc_system_repairs_total", "Places put right in accepted packets.", "system", "repair"),
    _counter("truc_signatures_total", "XML signatures of packets checked, by what they are worth.", "signature"),
    _counter("truc_deliveries_moved_total", "Committed moves of deliveries.", "before", "after"),
    _counter("truc_deliveries_parked_total", "Deliveries parked for a person, by reason.", "reason"),
    _counter("truc_attempts_total", "Hand-overs that may have begun, by their end.", "channel_kind", "end"),
    _histogram("truc_handover_seconds", "Time of one hand-over to a sink.", _SLOW, "channel_kind"),
    _histogram("truc_hop_seconds", "Time of one hop, per document (a group's time counts for each).", _FAST, "hop"),
    _counter("truc_hops_total", "Documents through each hop, by outcome.", "hop", "outcome"),
    _counter("truc_tickets_total", "Tickets announced, not confirmed, claimed and lost.", "event"),
    _gauge("truc_broker_link_up", "1 while this process's connection to the broker works; absent: never used.", "link"),
    _gauge("truc_broker_blocked", "1 while the broker takes nothing: its memory or disk alarm is raised."),
    _counter("truc_broker_faults_total", "Faults of connections to the broker, survived.", "link", "reason"),
    _gauge("truc_wake_line_up", "1 while wake-ups come and go by the database; absent: not used."),
    _counter("truc_wakes_total", "Wake-ups between machines by the database.", "wake"),
    _counter("truc_sweeps_total", "What the sweep found that nobody had told of.", "found"),
    _counter("truc_statuses_total", "Business statuses taken in, by code.", "code"),
    _counter("truc_inspections_total", "PDF attachments inspected, by verdict.", "verdict"),
    _histogram("truc_inspection_seconds", "Time of one inspection, behind the hops.", _SLOW, "verdict"),
    _counter("truc_clock_jumps_total", "Jumps of the machine's clock, or the database's, of seconds.", "direction"),
    _gauge("truc_clock_jump_seconds", "The last jump of such a clock; below 0: backward."),
    _gauge("truc_folder_ignored_files", "Files in an agency's folder that are not taken, by channel.", "channel"),
    _gauge("truc_breaker_state", "0 closed, 1 probing, 2 open.", "channel"),
    _gauge("truc_follower_events", "Events that work behind the hops has not passed yet.", "follower"),
    _counter("truc_http_requests_total", "HTTP answers.", "route", "status"),
    _gauge("truc_disk_free_bytes", "Bytes free where the blobs lie."),
    _gauge("truc_seal_certificate_seconds", "Seconds until no certificate to seal with is valid; below 0: since then."),
    _gauge("truc_recovering", "1 while the node was restored, asks what arrived, and pushes nothing."),
    _gauge("truc_backup_age_seconds", "Seconds since the moment of the last whole backup; since the node was made."),
    _gauge("truc_packets_without_month", "Packets whose month has no table of its own on PostgreSQL."),
    _gauge("truc_backlog_deliveries", "Deliveries now in each open state.", "state"),
    _gauge("truc_backlog_age_seconds", "Age of the oldest delivery that is due and not claimed."),
    _gauge("truc_inbox_oldest_seconds", "Age of the oldest item that waits to be fetched.", *_INBOX, "urgency"),
    _gauge("truc_inbox_polled_age_seconds", "Seconds since items of an inbox were last listed or fetched.", *_INBOX),
    _gauge("truc_system_seen_age_seconds", "Seconds since a system whose agencies poll last called.", "system"),
    _gauge("truc_inbox_limit_seconds", "Age from which an unfetched item is told of, as set.", "urgency"),
    _gauge("truc_faults", "What the rounds over everything stored found wrong and not yet right again.", "book"),
    _gauge("truc_alert_active", "How many alerts of this kind are on.", "alert"),
    _counter("truc_labels_unknown_total", "Label values that were on no list.", "label"),
)  # fmt: skip
"""All metrics, in the order in which they are documented."""
