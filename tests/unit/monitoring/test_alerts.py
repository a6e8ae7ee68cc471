"""Each rule at its edge, and texts in both languages."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edxml.messages import Language, catalogue
from gateway.store.blobs import BlobFolder
from monitoring.alerts import Alert, AlertCode, AlertSeverity, InboxFigures, Snapshot, Thresholds, find_alerts
from monitoring.registry import Urgency

MIB = 1 << 20
QUIET = Snapshot(oldest_ready_seconds=1.0, disk_free_bytes=1000 * MIB, disk_reserve_bytes=100 * MIB)


def codes(snapshot: Snapshot) -> list[AlertCode]:
    return [alert.code for alert in find_alerts(snapshot)]


def inbox(**oldest: float) -> InboxFigures:
    """One in which something has waited for so many seconds."""
    waits = {Urgency(name): seconds for name, seconds in oldest.items()}
    return InboxFigures(agency_id="xa-a", agency="Xã A", system="", at=datetime(2026, 1, 1, tzinfo=UTC), oldest=waits)


def test_a_quiet_node_raises_nothing_and_neither_does_what_is_not_known() -> None:
    assert codes(QUIET) == []
    assert codes(Snapshot()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"parked": {"blob.damaged": 1}}, [AlertCode.PARKED]),
        ({"parked": {"blob.damaged": 0}}, []),
        ({"oldest_ready_seconds": 299.9}, []),
        ({"oldest_ready_seconds": 300.0}, [AlertCode.BACKLOG_OLD]),
        ({"oldest_ready_seconds": 1799.9}, [AlertCode.BACKLOG_OLD]),
        ({"oldest_ready_seconds": 1800.0}, [AlertCode.BACKLOG_STUCK]),
        ({"open_breakers": ("ch-b", "ch-a")}, [AlertCode.CHANNEL_DOWN, AlertCode.CHANNEL_DOWN]),
        ({"disk_free_bytes": 200 * MIB}, []),
        ({"disk_free_bytes": 200 * MIB - 1}, [AlertCode.DISK_LOW]),
        ({"disk_free_bytes": 100 * MIB}, [AlertCode.DISK_LOW]),
        ({"disk_free_bytes": 100 * MIB - 1}, [AlertCode.DISK_RESERVE]),
        ({"disk_free_bytes": 0}, [AlertCode.DISK_RESERVE]),
        ({"damaged_blobs": 1}, [AlertCode.BLOB_DAMAGED]),
        ({"missing_blobs": 2}, [AlertCode.BLOB_MISSING]),
        ({"account_gaps": 1, "first_gap": "p"}, [AlertCode.ACCOUNT_GAP]),
        ({"inboxes": (inbox(), inbox(urgent=899.9), inbox(ordinary=14_399.9))}, []),
        ({"inboxes": (inbox(urgent=900.0), inbox(ordinary=14_400.0))}, [AlertCode.INBOX_UNFETCHED] * 2),
        ({"inboxes": (inbox(urgent=1e5, ordinary=1e6),)}, [AlertCode.INBOX_UNFETCHED]),
    ],
)
def test_each_rule_at_its_edge(change: dict[str, object], expected: list[AlertCode]) -> None:
    assert codes(replace(QUIET, **change)) == expected  # type: ignore[arg-type]


def test_the_most_urgent_come_first_and_the_order_is_stable() -> None:
    bad = replace(QUIET, parked={"b.b": 2, "a.a": 1}, open_breakers=("z", "y"), damaged_blobs=3, missing_blobs=1)
    found = find_alerts(bad)
    assert [alert.severity for alert in found] == [AlertSeverity.CRITICAL] * 2 + [AlertSeverity.WARNING] * 4
    assert [alert.params.get("channel") or alert.params.get("reason") for alert in found[2:]] == [
        "y",
        "z",
        "a.a",
        "b.b",
    ]
    assert found == find_alerts(replace(bad, parked={"a.a": 1, "b.b": 2}, open_breakers=("y", "z")))


@pytest.mark.parametrize(
    ("days", "severity"),
    [
        (30, None),
        (29, AlertSeverity.WARNING),
        (7, AlertSeverity.WARNING),
        (6, AlertSeverity.CRITICAL),
        (-1, AlertSeverity.CRITICAL),
    ],
)
def test_the_end_of_the_seal_certificate_is_told_days_before(days: int, severity: AlertSeverity | None) -> None:
    found = [alert.severity for alert in find_alerts(replace(QUIET, seal_days_left=days))]
    assert found == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("hours", "severity"),
    [(25.9, None), (26, AlertSeverity.WARNING), (47.9, AlertSeverity.WARNING), (48, AlertSeverity.CRITICAL)],
)
def test_a_backup_grows_old_before_the_trash_is_emptied(hours: float, severity: AlertSeverity | None) -> None:
    found = [alert.severity for alert in find_alerts(replace(QUIET, unsaved_seconds=hours * 3600))]
    assert found == ([] if severity is None else [severity])
    kept = 2 * inspect.signature(BlobFolder.sweep).parameters["wait"].default
    assert Thresholds().backup_critical_seconds <= kept, "whoever backs up by then copies every blob before it goes"


@pytest.mark.parametrize(("minutes", "severity"), [(0, AlertSeverity.WARNING), (60, AlertSeverity.CRITICAL)])
def test_a_node_that_recovers_is_told(minutes: float, severity: AlertSeverity) -> None:
    found = find_alerts(replace(QUIET, recovering_seconds=minutes * 60))
    assert [(alert.code, alert.severity) for alert in found] == [(AlertCode.NODE_RECOVERING, severity)]


def test_thresholds_can_be_set() -> None:
    assert find_alerts(QUIET, Thresholds(ready_warning_seconds=0.5))[0].code is AlertCode.BACKLOG_OLD


def test_every_code_has_a_text_and_every_text_a_code() -> None:
    for language in Language:
        texts = {key for key in catalogue("monitoring", language) if key.startswith("alert.")}
        assert texts == {str(code) for code in AlertCode}


@pytest.mark.parametrize("code", AlertCode)
def test_every_alert_that_is_raised_fills_its_text(code: AlertCode) -> None:
    worst = Snapshot(
        parked={"blob.missing": 4},
        oldest_ready_seconds=1e5,
        open_breakers=("ch-a",),
        disk_free_bytes=1,
        disk_reserve_bytes=5 * MIB,
        damaged_blobs=1,
        recovering_seconds=1,
        unsaved_seconds=1e6,
        packets_without_month=1,
        missing_blobs=1,
        unread_blobs=1,
        unreadable_rows=(("profile", "s", "?"), ("channel", "c", "?"), ("directory", "", "?")),
        still_followers={"signatures": 1e5},
        account_gaps=2,
        first_gap="0198f2c0",
        seal_days_left=3,
        inboxes=(inbox(urgent=1e5),),
    )
    mild = replace(worst, oldest_ready_seconds=400.0, disk_free_bytes=6 * MIB)
    alert = next(alert for alert in (*find_alerts(worst), *find_alerts(mild)) if alert.code is code)
    shown = alert.as_dict()
    for language in Language:
        assert shown[language]
        assert "{" not in shown[language]
        assert shown[language] != str(code)


def test_an_alert_is_a_value() -> None:
    one, other = (Alert(code=AlertCode.PARKED, severity=AlertSeverity.WARNING, params={"count": 1}) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("age", [400.0, 4000.0])
def test_a_backlog_names_the_channel_of_the_oldest_and_how_much_waits(age: float) -> None:
    (found,) = find_alerts(replace(QUIET, oldest_ready_seconds=age, oldest_channel="thu-muc-201", waiting=1234))
    assert all("thu-muc-201" in found.text(language) and "1234" in found.text(language) for language in Language)
