"""What a scrape shows after each call, and that no value from outside becomes a label."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.alerts import Alert, AlertCode, AlertSeverity
from monitoring.metrics import CONTENT_TYPE, Metrics, Vocabulary
from monitoring.registry import METRICS, BreakerState, Hop, HopOutcome, MetricKind, SweepFind, TicketEvent

Sample = tuple[str, tuple[tuple[str, str], ...]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(
        Vocabulary(
            reasons=frozenset({"edxml.malformed"}),
            states=frozenset({"ready", "claimed", "delivered"}),
            packet_kinds=frozenset({"new", "recall"}),
            repairs=frozenset({"business_missing"}),
            channel_kinds=frozenset({"folder"}),
            attempt_ends=frozenset({"arrived"}),
            statuses=frozenset({"03"}),
            routes=frozenset({"/v1/packets"}),
            channels=frozenset({"ch-a", "ch-b"}),
        )
    )


def scrape(metrics: Metrics) -> dict[Sample, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((name, tuple(sorted(labels.items()))))


def test_every_registered_metric_is_rendered_with_its_help(metrics: Metrics) -> None:
    metrics.count_accepted("new")
    metrics.count_hop(Hop.ACCEPT, HopOutcome.DONE, 0.1)
    metrics.show_backlog({}, 0.0)
    metrics.show_backups(is_recovering=False, age=0.0)
    metrics.show_broker_blocked(is_blocked=False)
    metrics.show_free_disk(1)
    metrics.show_seal_certificate(1.0)
    metrics.show_wake_line(is_up=True)
    metrics.show_without_month(0)
    metrics.count_clock_jump(1.0)
    page = metrics.render().decode()
    for spec in METRICS:
        assert f"# HELP {spec.name} {spec.help}\n" in page
    assert CONTENT_TYPE.startswith("text/plain")
    assert "process_resident_memory_bytes" in page
    assert "_created" not in page


def test_two_in_one_process_do_not_meet(metrics: Metrics) -> None:
    other = Metrics(Vocabulary())
    metrics.count_accepted("new")
    assert value(other, "truc_packets_accepted_total", kind="new") is None


def test_counts_of_the_intake(metrics: Metrics) -> None:
    metrics.count_accepted("new", 3)
    metrics.count_accepted("recall")
    metrics.count_repeated("new")
    metrics.count_refused("edxml.malformed")
    metrics.count_repairs(["business_missing", "business_missing"])
    assert value(metrics, "truc_packets_accepted_total", kind="new") == 3
    assert value(metrics, "truc_packets_accepted_total", kind="recall") == 1
    assert value(metrics, "truc_packets_repeated_total", kind="new") == 1
    assert value(metrics, "truc_packets_refused_total", reason="edxml.malformed") == 1
    assert value(metrics, "truc_repairs_total", repair="business_missing") == 2


def test_counts_of_the_machine(metrics: Metrics) -> None:
    metrics.count_move("", "ready", 130)
    metrics.count_move("ready", "claimed")
    metrics.count_parked("edxml.malformed", 2)
    metrics.count_attempt("folder", "arrived", 0.02)
    metrics.count_tickets(TicketEvent.ANNOUNCED, 32)
    metrics.count_tickets(TicketEvent.LOST)
    metrics.count_sweep(SweepFind.DEAD_LEASE)
    metrics.count_status("03")
    assert value(metrics, "truc_deliveries_moved_total", before="new", after="ready") == 130
    assert value(metrics, "truc_deliveries_moved_total", before="ready", after="claimed") == 1
    assert value(metrics, "truc_deliveries_parked_total", reason="edxml.malformed") == 2
    assert value(metrics, "truc_attempts_total", channel_kind="folder", end="arrived") == 1
    assert value(metrics, "truc_handover_seconds_sum", channel_kind="folder") == 0.02
    assert value(metrics, "truc_tickets_total", event="announced") == 32
    assert value(metrics, "truc_tickets_total", event="lost") == 1
    assert value(metrics, "truc_sweeps_total", found="dead_lease") == 1
    assert value(metrics, "truc_statuses_total", code="03") == 1


def test_a_group_counts_as_its_documents(metrics: Metrics) -> None:
    metrics.count_hop(Hop.ACCEPT, HopOutcome.DONE, 0.004, documents=32)
    metrics.count_hop(Hop.ACCEPT, HopOutcome.REFUSED, 0.2)
    assert value(metrics, "truc_hops_total", hop="accept", outcome="done") == 32
    assert value(metrics, "truc_hop_seconds_count", hop="accept") == 33
    assert value(metrics, "truc_hop_seconds_bucket", hop="accept", le="0.005") == 32


def test_gauges_show_what_is_now(metrics: Metrics) -> None:
    metrics.show_backlog({"ready": 5, "claimed": 2}, 17.5)
    metrics.show_backlog({"ready": 1}, 0.0)
    metrics.show_free_disk(1 << 40)
    assert value(metrics, "truc_backlog_deliveries", state="ready") == 1
    assert value(metrics, "truc_backlog_deliveries", state="claimed") == 0, "what is not named is none"
    assert value(metrics, "truc_backlog_age_seconds") == 0
    assert value(metrics, "truc_disk_free_bytes") == 1 << 40


def test_breakers_of_channels_that_are_gone_disappear(metrics: Metrics) -> None:
    metrics.show_breaker("ch-a", BreakerState.OPEN)
    metrics.show_breaker("ch-b", BreakerState.PROBING)
    assert value(metrics, "truc_breaker_state", channel="ch-a") == 2
    metrics.know_channels(["ch-b", "ch-c"])
    metrics.know_channels(["ch-b", "ch-c"])
    metrics.show_breaker("ch-c", BreakerState.CLOSED)
    assert value(metrics, "truc_breaker_state", channel="ch-a") is None
    assert value(metrics, "truc_breaker_state", channel="ch-b") == 1
    assert value(metrics, "truc_breaker_state", channel="ch-c") == 0


def test_a_gauge_that_nobody_has_set_is_absent(metrics: Metrics) -> None:
    """Else the least of all processes is nought, and the newest backup of all is of now."""
    gauges = [spec.name for spec in METRICS if spec.kind is MetricKind.GAUGE]
    assert [name for name in gauges if f"\n{name}" in metrics.render().decode()] == []
    metrics.show_backups(is_recovering=False, age=60.0)
    metrics.show_backups(is_recovering=False, age=90.0)
    assert (value(metrics, "truc_recovering"), value(metrics, "truc_backup_age_seconds")) == (0, 90)
    assert value(metrics, "truc_disk_free_bytes") is None


def test_alerts_that_are_over_go_back_to_zero(metrics: Metrics) -> None:
    assert value(metrics, "truc_alert_active", alert="alert.parked") is None, "this process does not look"
    parked = Alert(code=AlertCode.PARKED, severity=AlertSeverity.WARNING)
    metrics.show_alerts([parked, parked])
    assert value(metrics, "truc_alert_active", alert="alert.parked") == 2
    assert value(metrics, "truc_alert_active", alert="alert.disk_low") == 0
    metrics.show_alerts([])
    assert value(metrics, "truc_alert_active", alert="alert.parked") == 0


@pytest.mark.parametrize("evil", ["", "V/v bổ nhiệm ông A", "a" * 10_000, 'x"} 1\n', "unknown", "/v1/packets?q=1"])
def test_what_is_on_no_list_is_unknown_and_counted(metrics: Metrics, evil: str) -> None:
    metrics.count_accepted(evil)
    metrics.count_refused(evil)
    metrics.count_repairs([evil])
    metrics.count_move("ready", evil)
    metrics.count_attempt(evil, evil, 1.0)
    metrics.count_request(evil, 200)
    metrics.show_breaker(evil, BreakerState.OPEN)
    metrics.show_backlog({evil: 7}, 1.0)
    known = {
        *("new", "ready", "claimed", "delivered", "unknown", "200"),
        *("kind", "reason", "repair", "after", "channel_kind", "end", "route", "channel", "state"),
        *AlertCode,
    }
    for (name, labels), _ in scrape(metrics).items():
        if name.startswith("truc_"):
            assert {text for key, text in labels if key != "le"} <= known
    assert value(metrics, "truc_labels_unknown_total", label="reason") == 1
    assert value(metrics, "truc_packets_refused_total", reason="unknown") == 1


def test_requests_are_counted_by_template_and_status(metrics: Metrics) -> None:
    metrics.count_request("/v1/packets", 202)
    metrics.count_request("/v1/packets", 799)
    assert value(metrics, "truc_http_requests_total", route="/v1/packets", status="202") == 1
    assert value(metrics, "truc_http_requests_total", route="/v1/packets", status="unknown") == 1
