"""PostgreSQL: what hangs on a month that goes and was made in a later one goes too, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.model import instants
from gateway.model.instants import wall_now
from gateway.store import packets
from gateway.store.months.partitions import month_of
from tests.service.test_archive_families import begin_month, let_first_go
from tests.support.archives import account_of
from tests.support.nodes import Database, Does, House, accepted, build_house

HANGING = {
    "deliveries of no packet": "SELECT d.id FROM deliveries d LEFT JOIN packets p ON p.id = d.packet_id"
    " WHERE p.id IS NULL",
    "open transfers of no packet": "SELECT t.id FROM transfers t LEFT JOIN packets p ON p.id = t.packet_id"
    " WHERE p.id IS NULL AND t.state <> 'closed'",
    "deliveries of no transfer": "SELECT d.id FROM deliveries d LEFT JOIN transfers t ON t.id = d.transfer_id"
    " WHERE t.id IS NULL AND d.transfer_id <> ''",
    "open attempts of no delivery": "SELECT a.id FROM attempts a LEFT JOIN deliveries d ON d.id = a.delivery_id"
    " WHERE d.id IS NULL AND a.ended_at IS NULL",
    "notices of no packet": "SELECT n.id FROM notices n LEFT JOIN packets p ON p.id = n.packet_id WHERE p.id IS NULL",
    "statuses of no packet": "SELECT s.id FROM statuses s LEFT JOIN packets p ON p.id = s.packet_id WHERE p.id IS NULL",
    "events of no packet": "SELECT e.id FROM events e LEFT JOIN packets p ON p.id = e.packet_id"
    " WHERE p.id IS NULL AND e.packet_id <> ''",
}  # fmt: skip


def hanging(house: House) -> dict[str, int]:
    """What belongs to nothing that is there. Closed transfers and ended attempts go with the month of their own ids."""
    found = {name: len(house.rows(told)) for name, told in HANGING.items()}
    return {name: count for name, count in found.items() if count}


def test_what_came_late_goes_with_its_month_and_nothing_of_a_later_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instants, "_last_tick", 0)  # ids of a later month are this test's alone
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    house.recipient("blind").next(Does.PARK)
    parked = house.send(["blind", "check"])
    house.send(["old"], "2")  # re-addressed to its successor
    house.work()
    begin_month(monkeypatch, house, 1)
    house.resend(parked, "blind")  # a new transfer and a new attempt, of a later month than the delivery
    house.work()
    assert house.state(parked, "blind") == "delivered"
    accepted(house.tell("check", "03"))
    living = house.send(["check"], "3")
    house.work()
    while shown := house.shown("sender"):
        house.collect("sender", shown[0])
    assert not hanging(house)
    before = account_of(house)
    kept = {row["blob"] for row in house.rows("SELECT blob FROM packets WHERE id >= ?", month_of(wall_now()).high)}
    late = house.rows("SELECT id FROM transfers WHERE packet_id = ? AND id >= ?", parked.packet_id,
                      month_of(wall_now()).high)  # fmt: skip
    assert late, "nothing of it lies in a later month"
    let_first_go(house, tmp_path)
    assert not hanging(house)
    assert house.state(living, "check") == "delivered"
    assert {row["code"] for row in house.rows("SELECT code FROM statuses")} == {"03"}
    after = account_of(house)
    assert after.closes, after.gaps
    assert after.books == before.books
    with house.node.store.read() as connection:
        for blob in kept:
            assert packets.has_blob(connection, blob)
            house.node.store.blobs.open(blob).close()
    house.close()
