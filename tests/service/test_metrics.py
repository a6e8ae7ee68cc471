"""Metrics of the machine say what happened on a whole node, each thing once."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.exchange import collect
from gateway.model.instants import DAY, HOUR, MINUTE, SECOND, boot_now
from gateway.workers.figures import figures_once
from gateway.workers.periodic import ClockWatch, periodic_once
from tests.support.nodes import House, build_house
from tests.support.restores import back_up, put_back


def told(house: House, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(house.node.metrics.render().decode())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_a_status_is_counted_by_its_code_and_its_repeat_is_not(house: House) -> None:
    house.send(["check"])
    house.work()
    for _ in range(2):
        house.tell("check", "03")
    assert told(house, "truc_statuses_total", code="03") == told(house, "truc_statuses_total") == 1


def test_what_parks_is_counted_once_whoever_parks_it(house: House) -> None:
    sent = house.send(["check", "blind"])
    digest = house.rows("SELECT blob FROM packets WHERE id = ?", sent.packet_id)[0]["blob"]
    house.node.store.blobs.path(digest).write_bytes(b"something else")
    house.run()
    assert house.state(sent, "check") == house.state(sent, "blind") == "parked"
    assert told(house, "truc_deliveries_parked_total", reason="delivery.blob_damaged") == 2
    assert told(house, "truc_deliveries_parked_total") == 2
    figures_once(house.node)
    assert told(house, "truc_alert_active", alert="alert.blob_damaged") == 1


def test_each_of_a_group_is_counted_by_how_it_ended(house: House) -> None:
    items = [house.delivery(house.send(["inbox-a"], str(number)), "inbox-a") for number in range(3)]
    caller = house.caller("inbox-a")
    before = told(house, "truc_hops_total", hop="deliver"), told(house, "truc_hop_seconds_count", hop="deliver")
    collect.fetch(house.node, [collect.Fetch(caller=caller, delivery_id=item) for item in [*items, "nobody's"]])
    collect.confirm(house.node, [collect.Confirm(caller=caller, delivery_id=item) for item in items])
    assert told(house, "truc_hops_total", hop="deliver", outcome="done") == 6
    assert told(house, "truc_hops_total", hop="deliver", outcome="refused") == 1
    after = told(house, "truc_hops_total", hop="deliver"), told(house, "truc_hop_seconds_count", hop="deliver")
    assert after == (before[0] + 7, before[1] + 7)
    assert told(house, "truc_deliveries_moved_total", before="available", after="fetched") == 3
    assert told(house, "truc_deliveries_moved_total", before="fetched", after="delivered") == 3


def test_what_expires_is_counted_by_the_sweep(house: House) -> None:
    sent = house.send(["inbox-a"])
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(sent, "inbox-a") == "expired"
    assert told(house, "truc_sweeps_total", found="expired") == 1


def test_a_jump_of_the_clock_is_counted_by_its_way(house: House) -> None:
    began = boot_now()
    watch = ClockWatch(lambda: house.node.now() + boot_now() - began)  # the test's own stands
    periodic_once(house.node, watch, 1.0)
    assert told(house, "truc_clock_jumps_total") == 0
    house.pass_time(HOUR)
    periodic_once(house.node, watch, 1.0)
    assert told(house, "truc_clock_jumps_total", direction="forward") == 1
    assert told(house, "truc_clock_jump_seconds") == pytest.approx(3600, abs=60)
    for _ in range(2):
        house.clock.jump(-10 * MINUTE)
        periodic_once(house.node, watch, 1.0)
    assert told(house, "truc_clock_jumps_total", direction="backward") == 2
    assert told(house, "truc_clock_jump_seconds") == pytest.approx(-600, abs=60)
    reasons = house.rows("SELECT reason FROM events WHERE kind = 'node.clock_jumped' ORDER BY rowid")
    assert [row["reason"] for row in reasons] == ["+3600 s", "-600 s", "-600 s"]
    house.pass_time(2 * SECOND)
    periodic_once(house.node, watch, 1.0)
    assert told(house, "truc_clock_jumps_total") == 3


def test_no_label_value_of_ours_is_unknown(house: House) -> None:
    house.send(["check", "blind", "inbox-a"])
    house.run()
    assert told(house, "truc_labels_unknown_total") == 0


def test_backups_and_a_recovery_are_told_by_figures_and_alerts(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.pass_time(27 * HOUR)
    figures_once(house.node)
    assert told(house, "truc_backup_age_seconds") >= 27 * 3600, "never made: since the node was"
    assert told(house, "truc_alert_active", alert="alert.backup_old") == 1
    back_up(house, tmp_path / "sao-luu")
    assert house.rows("SELECT kind FROM events ORDER BY rowid DESC LIMIT 1")[0]["kind"] == "node.backed_up"
    house.pass_time(MINUTE)
    figures_once(house.node)
    assert told(house, "truc_backup_age_seconds") == pytest.approx(60, abs=30)
    assert told(house, "truc_alert_active") == told(house, "truc_recovering") == 0
    again, _ = put_back(house, tmp_path / "sao-luu", tmp_path / "moi")
    figures_once(again.node)
    assert told(again, "truc_recovering") == told(again, "truc_alert_active", alert="alert.node_recovering") == 1
    again.close()
