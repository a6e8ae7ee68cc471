"""The counters of one process, for Prometheus. The only module that imports `prometheus_client`.

Every value that reaches a label passes a closed list (`Label`); what is on none becomes `unknown` and is counted,
so that a packet can neither put words on a dashboard nor make series without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from monitoring.alerts import Alert, AlertCode, InboxFigures
from monitoring.registry import (
    METRICS,
    UNKNOWN,
    BreakerState,
    BrokerLink,
    ClockJump,
    FaultBook,
    Hop,
    HopOutcome,
    MetricKind,
    MetricSpec,
    SweepFind,
    TicketEvent,
    Urgency,
    WakeEvent,
)
from monitoring.tallies import Key, Tallies

__all__ = ["CONTENT_TYPE", "Label", "Metrics", "Vocabulary"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""The content type of what `Metrics.render` gives."""


_NOBODY: Final = "none"
"""The label `system` of an agency that no system speaks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The closed lists that other rooms own. `routes` are templates ("/v1/documents/{id}"), never paths."""

    reasons: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    packet_kinds: frozenset[str] = frozenset()
    repairs: frozenset[str] = frozenset()
    channel_kinds: frozenset[str] = frozenset()
    attempt_ends: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    signatures: frozenset[str] = frozenset()
    pdf_verdicts: frozenset[str] = frozenset()
    followers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Label:
    """One label and the closed list of its values; `unknown` counts what is on no list."""

    name: str
    values: frozenset[str]
    count_unknown: Callable[[str], None] = field(repr=False, compare=False)

    def guard(self, value: str) -> str:
        """`value` where it is on the list, else "unknown"."""
        if value in self.values:
            return value
        self.count_unknown(self.name)
        return UNKNOWN


class _Shown(Collector):
    """The sums of one counter or histogram, as Prometheus wants them; read at each scrape."""

    def __init__(self, spec: MetricSpec, tallies: Tallies) -> None:
        self._spec = spec
        self._tallies = tallies

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """One family with all its series."""
        spec = self._spec
        if spec.kind is MetricKind.COUNTER:
            counter = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
            for values, count in self._tallies.counts(spec.name):
                counter.add_metric(values, float(count))
            return [counter]
        histogram = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
        bounds = [_bound_text(bound) for bound in (*spec.buckets, float("inf"))]
        for values, timed in self._tallies.timed(spec.name):
            sums = map(float, accumulate(timed.counts))
            histogram.add_metric(values, list(zip(bounds, sums, strict=True)), timed.total)
        return [histogram]


def _bound_text(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


class Metrics:
    """All metrics of one process, registered once in a registry of their own.

    Make one per process. Methods may be called from any thread, never raise for a value, and never block.  What
    is shown (`show_…`) is absent until this process knows it: the noughts of all others would be the least of all.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._registry = CollectorRegistry()
        self._tallies = Tallies()
        self._gauges: dict[str, Gauge] = {}
        self._unknown: dict[str, Gauge] = {}  #: those without labels that were never set
        self._names = {spec.name: spec.labels for spec in METRICS}
        self._buckets = {spec.name: spec.buckets for spec in METRICS}
        self._known: dict[Key, Key] = {}
        self._shown: dict[str, set[Key]] = {}  #: the label values of gauges that are shown whole
        for spec in METRICS:
            self._register(spec)
        ProcessCollector(registry=self._registry)
        self._labels = {name: self._label(name, values) for name, values in _lists_of(vocabulary).items()}

    def render(self) -> bytes:
        """All values in Prometheus's text format, of type `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def know_channels(self, channels: Iterable[str]) -> None:
        """Replace the list of channels after they changed; the gauges of those that are gone disappear."""
        known = frozenset(channels)
        for gone in self._labels["channel"].values - known:
            for name in ("truc_breaker_state", "truc_folder_ignored_files"):
                self._gauges[name].remove_by_labels({"channel": gone})
        self._labels["channel"] = self._label("channel", known)

    def know_systems(self, names: Iterable[str]) -> None:
        """Replace the list of sending systems after they changed."""
        known = frozenset(names) | {_NOBODY}
        if known != self._labels["system"].values:
            self._labels["system"] = self._label("system", known)

    # --- intake
    def count_accepted(self, kind: str, times: int = 1) -> None:
        """Packets of business kind `kind` whose acceptance was committed."""
        self._count("truc_packets_accepted_total", times, kind=kind)

    def count_repeated(self, kind: str, times: int = 1) -> None:
        """Submissions that got the first answer again."""
        self._count("truc_packets_repeated_total", times, kind=kind)

    def count_refused(self, reason: str) -> None:
        """A packet refused; `reason` is the code of its first finding or error."""
        self._count("truc_packets_refused_total", 1, reason=reason)

    def count_repairs(self, repairs: Iterable[str]) -> None:
        """Deviations put right in one packet, by name."""
        for repair in repairs:
            self._count("truc_repairs_total", 1, repair=repair)

    def count_system_repairs(self, system: str, repair: str, times: int) -> None:
        """Places put right in accepted packets of the system of this name, behind the hops."""
        self._count("truc_system_repairs_total", times, system=system, repair=repair)

    def count_signature(self, verdict: str) -> None:
        """The XML signature of one packet got its verdict."""
        self._count("truc_signatures_total", 1, signature=verdict)

    # --- the machine
    def count_move(self, before: str, after: str, times: int = 1) -> None:
        """Deliveries that a commit moved from one state to another; `before` "" for new ones."""
        self._count("truc_deliveries_moved_total", times, before=before or "new", after=after)

    def count_parked(self, reason: str, times: int = 1) -> None:
        """Deliveries parked for a person."""
        self._count("truc_deliveries_parked_total", times, reason=reason)

    def count_attempt(self, channel_kind: str, end: str, seconds: float) -> None:
        """One hand-over that ended, and how long it took."""
        self._count("truc_attempts_total", 1, channel_kind=channel_kind, end=end)
        self._observe("truc_handover_seconds", seconds, channel_kind=channel_kind)

    def count_hop(self, hop: Hop, outcome: HopOutcome, seconds: float, documents: int = 1) -> None:
        """`documents` that went through a hop together, which took `seconds`."""
        self._count("truc_hops_total", documents, hop=hop, outcome=outcome)
        self._observe("truc_hop_seconds", seconds, documents, hop=hop)

    def count_tickets(self, event: TicketEvent, times: int = 1) -> None:
        """Tickets announced, not confirmed, claimed or lost."""
        self._count("truc_tickets_total", times, event=event)

    def show_broker_link(self, link: str, *, is_up: bool) -> None:
        """One of this process's connections to the broker works, or does not."""
        self._set("truc_broker_link_up", float(is_up), link=link)

    def show_broker_blocked(self, *, is_blocked: bool) -> None:
        """The broker takes nothing, or takes again."""
        self._set("truc_broker_blocked", float(is_blocked))

    def count_broker_fault(self, link: str, reason: str) -> None:
        """A connection to the broker met a fault; `reason` is its code (`broker.…`)."""
        self._count("truc_broker_faults_total", 1, link=link, reason=reason)

    def show_wake_line(self, *, is_up: bool) -> None:
        """Wake-ups come and go by the database, or do not."""
        self._set("truc_wake_line_up", float(is_up))

    def count_wakes(self, wake: WakeEvent, times: int = 1) -> None:
        """Wake-ups sent, heard or lost by the database."""
        self._count("truc_wakes_total", times, wake=wake)

    def count_sweep(self, found: SweepFind, times: int = 1) -> None:
        """What the sweep found."""
        self._count("truc_sweeps_total", times, found=found)

    def count_status(self, status: str) -> None:
        """A business status taken in, by its code ("03")."""
        self._count("truc_statuses_total", 1, code=status)

    def count_inspection(self, verdict: str, seconds: float) -> None:
        """A PDF attachment that got its verdict, and how long that took."""
        self._count("truc_inspections_total", 1, verdict=verdict)
        self._observe("truc_inspection_seconds", seconds, verdict=verdict)

    def count_clock_jump(self, seconds: float) -> None:
        """The machine's clock jumped by so much; below 0: backward."""
        self._count("truc_clock_jumps_total", 1, direction=ClockJump.FORWARD if seconds > 0 else ClockJump.BACKWARD)
        self._set("truc_clock_jump_seconds", seconds)

    def show_ignored(self, channel: str, count: int) -> None:
        """Files in the folder of one channel that intake leaves alone."""
        self._set("truc_folder_ignored_files", count, channel=channel)

    def show_follower(self, follower: str, events: int) -> None:
        """How many events work behind the hops has not passed yet: what grows and grows is stuck."""
        self._set("truc_follower_events", events, follower=follower)

    def show_breaker(self, channel: str, state: BreakerState) -> None:
        """The breaker's state of one channel."""
        self._set("truc_breaker_state", state.level, channel=channel)

    # --- the edge
    def count_request(self, route: str, status: int) -> None:
        """One HTTP answer; `route` is the template that matched, "" where none did."""
        key = ("truc_http_requests_total", route, str(status))
        self._tallies.add(self._known.get(key) or self._series(key, {"route": route, "status": key[2]}), 1)

    # --- what is, from snapshots
    def show_backlog(self, by_state: Mapping[str, int], oldest_seconds: float) -> None:
        """Deliveries in each open state (states not named are 0) and the age of the oldest that is due."""
        for state in self._labels["state"].values | by_state.keys():
            self._set("truc_backlog_deliveries", by_state.get(state, 0), state=state)
        self._set("truc_backlog_age_seconds", oldest_seconds)

    def show_inboxes(self, inboxes: Iterable[InboxFigures], limits: Mapping[Urgency, float]) -> None:
        """What waits in inboxes, and who was last heard of; `limits`: the age from which somebody is told."""
        listed = tuple(inboxes)
        self._labels["agency"] = self._label("agency", frozenset(one.agency_id for one in listed))
        names = [(one, (one.agency_id, one.system or _NOBODY)) for one in listed]
        self._show_whole(
            "truc_inbox_oldest_seconds",
            {(*who, urgency): age for one, who in names for urgency, age in one.oldest.items()},
        )
        polled: dict[Key, float] = {who: one.polled_age for one, who in names if one.polled_age is not None}
        self._show_whole("truc_inbox_polled_age_seconds", polled)
        seen: dict[Key, float] = {(one.system,): one.seen_age for one in listed if one.seen_age is not None}
        self._show_whole("truc_system_seen_age_seconds", seen)
        self._show_whole("truc_inbox_limit_seconds", {(urgency,): limit for urgency, limit in limits.items()})

    def show_free_disk(self, free_bytes: int) -> None:
        """Bytes free where the blobs lie."""
        self._set("truc_disk_free_bytes", free_bytes)

    def show_seal_certificate(self, seconds: float) -> None:
        """Seconds until no certificate to seal with is valid."""
        self._set("truc_seal_certificate_seconds", seconds)

    def show_backups(self, *, is_recovering: bool, age: float) -> None:
        """Whether the node recovers from a restore, and the seconds since the last backup's moment."""
        self._set("truc_recovering", float(is_recovering))
        self._set("truc_backup_age_seconds", age)

    def show_without_month(self, count: int) -> None:
        """Packets whose month has no table of its own."""
        self._set("truc_packets_without_month", count)

    def show_faults(self, book: str, count: int) -> None:
        """What a round found wrong and not yet right again."""
        self._set("truc_faults", count, book=book)

    def show_alerts(self, alerts: Iterable[Alert]) -> None:
        """The alerts that are on now; all others are 0."""
        active = [alert.code for alert in alerts]
        for code in AlertCode:
            self._set("truc_alert_active", active.count(code), alert=code)

    # --- inside
    def _register(self, spec: MetricSpec) -> None:
        if spec.kind is MetricKind.GAUGE:
            home = self._registry if spec.labels else None
            self._gauges[spec.name] = gauge = Gauge(spec.name, spec.help, spec.labels, registry=home)
            if home is None:
                self._unknown[spec.name] = gauge
        else:
            self._registry.register(_Shown(spec, self._tallies))

    def _label(self, name: str, values: frozenset[str]) -> Label:
        return Label(name, values, self._count_unknown)

    def _count_unknown(self, label: str) -> None:
        self._tallies.add(("truc_labels_unknown_total", label), 1)

    def _guarded(self, labels: Mapping[str, str]) -> dict[str, str]:
        return {name: self._labels[name].guard(value) for name, value in labels.items()}

    def _count(self, name: str, times: int, **labels: str) -> None:
        key = (name, *labels.values())
        self._tallies.add(self._known.get(key) or self._series(key, labels), times)

    def _observe(self, name: str, seconds: float, times: int = 1, **labels: str) -> None:
        key = (name, *labels.values())
        series = self._known.get(key) or self._series(key, labels)
        self._tallies.observe(series, seconds, times, self._buckets[name])

    def _series(self, key: Key, labels: Mapping[str, str]) -> Key:
        """The series of these labels, in the metric's own order of them. Labels that are on their lists are remembered
        under `key`; those that are not are counted as unknown each time."""
        guarded = self._guarded(labels)
        series = (key[0], *(guarded[name] for name in self._names[key[0]]))
        if all(value in self._labels[name].values for name, value in labels.items()):
            self._known[key] = series
        return series

    def _show_whole(self, name: str, values: Mapping[Key, float]) -> None:
        """Show these series of a gauge and no others any more; in between those that stay are there."""
        for labels, value in values.items():
            self._set(name, value, **dict(zip(self._names[name], labels, strict=True)))
        for gone in self._shown.get(name, set()) - values.keys():
            self._gauges[name].remove(*gone)
        self._shown[name] = set(values)

    def _set(self, name: str, value: float, **labels: str) -> None:
        gauge = self._gauges[name]
        (gauge.labels(**self._guarded(labels)) if labels else gauge).set(value)
        if self._unknown and self._unknown.pop(name, None) is not None:
            self._registry.register(gauge)


def _lists_of(vocabulary: Vocabulary) -> dict[str, frozenset[str]]:
    """The closed list of each label."""
    return {
        "kind": vocabulary.packet_kinds,
        "reason": vocabulary.reasons,
        "repair": vocabulary.repairs,
        "before": vocabulary.states | {"new"},
        "after": vocabulary.states,
        "state": vocabulary.states,
        "channel_kind": vocabulary.channel_kinds,
        "end": vocabulary.attempt_ends,
        "code": vocabulary.statuses,
        "status": frozenset(str(status.value) for status in HTTPStatus),
        "route": vocabulary.routes,
        "channel": vocabulary.channels,
        "system": vocabulary.systems | {_NOBODY},
        "agency": frozenset(),
        "urgency": frozenset(Urgency),
        "signature": vocabulary.signatures,
        "verdict": vocabulary.pdf_verdicts,
        "follower": vocabulary.followers,
        "hop": frozenset(Hop),
        "outcome": frozenset(HopOutcome),
        "event": frozenset(TicketEvent),
        "link": frozenset(BrokerLink),
        "wake": frozenset(WakeEvent),
        "found": frozenset(SweepFind),
        "alert": frozenset(AlertCode),
        "book": frozenset(FaultBook),
        "direction": frozenset(ClockJump),
    }
