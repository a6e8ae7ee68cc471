"""The list of metrics keeps its own rules."""

from __future__ import annotations

from monitoring.registry import METRICS, NAME, BreakerState, MetricKind


def test_names_have_one_form_and_are_unique() -> None:
    names = [spec.name for spec in METRICS]
    assert len(set(names)) == len(names)
    for spec in METRICS:
        assert NAME.fullmatch(spec.name), spec.name
        assert spec.name.endswith("_total") == (spec.kind is MetricKind.COUNTER), spec.name
        assert bool(spec.buckets) == (spec.kind is MetricKind.HISTOGRAM), spec.name
        assert list(spec.buckets) == sorted(spec.buckets)
        assert spec.help.endswith(".")


def test_no_label_can_name_a_document_or_a_person() -> None:
    labels = {label for spec in METRICS for label in spec.labels}
    assert labels.isdisjoint({"packet", "document", "delivery", "transfer", "subject", "sender", "name", "user"})


def test_breaker_levels_rise_with_the_trouble() -> None:
    assert [state.level for state in (BreakerState.CLOSED, BreakerState.PROBING, BreakerState.OPEN)] == [0, 1, 2]
