"""Hypothesis goes by no clock here: a busy machine would call any example, or the drawing of it, too slow."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def test_no_example_has_a_time_limit() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
