"""The account goes round by itself: a gap stands as a fault, a metric, an alert and an event until it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.account import check_next
from gateway.model.instants import HOUR, MINUTE
from gateway.store import books
from gateway.workers.figures import figures_once
from gateway.workers.rounds import start_round
from tests.support.nodes import Database, House, build_house
from tests.support.terminal import Terminal


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of this moment count as old enough to be looked at."""
    monkeypatch.setattr("gateway.account.walk._SETTLED", -MINUTE)


pytestmark = pytest.mark.usefixtures("settled")


@pytest.fixture
def house(tmp_path: Path, database: Database) -> Iterator[House]:
    made = build_house(tmp_path, database=database)
    yield made
    made.close()


def round_over(house: House) -> int:
    """Pages until nothing is left to look at now."""
    pages = 0
    while check_next(house.node):
        pages += 1
    return pages


def next_round(house: House) -> None:
    house.pass_time(2 * HOUR)
    round_over(house)


def tamper(house: House, *statements: str) -> None:
    with house.node.store.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def shown(house: House) -> dict[str, float]:
    figures_once(house.node)
    families = text_string_to_metric_families(house.node.metrics.render().decode())
    return {
        f"{sample.name} {' '.join(sample.labels.values())}": sample.value
        for family in families
        for sample in family.samples
        if sample.name in ("truc_faults", "truc_alert_active")
    }


def told(house: House) -> list[tuple[str, str, str]]:
    rows = house.rows("SELECT kind, packet_id, reason FROM events WHERE kind LIKE 'fault.%' ORDER BY rowid")
    return [(row["kind"], row["packet_id"], row["reason"]) for row in rows]


def test_books_that_close_leave_nothing_and_rest(house: House) -> None:
    for number in range(3):
        house.send(["check", "inbox-a"], str(number + 1))
    house.run()
    assert round_over(house) == 2, "new packets, then the round"
    assert told(house) == []
    assert shown(house)["truc_faults account"] == 0
    assert round_over(house) == 0, "a round begins anew at once"
    house.send(["check"], "9")
    assert round_over(house) == 1, "a new packet is not looked at before the next round"


def test_a_planted_gap_is_told_once_names_its_packet_and_is_mended(house: House) -> None:
    house.send(["check"], "1")
    sent = house.send(["inbox-a"], "2")
    round_over(house)
    tamper(
        house,
        f"UPDATE deliveries SET state = 'delivered' WHERE packet_id = '{sent.packet_id}'",
        "UPDATE rollups SET count = count - 1 WHERE agency_id = 'inbox-a' AND state = 'available'",
        "INSERT INTO rollups VALUES ('inbox-a', 'documents', 'delivered', 1)",
    )
    next_round(house)
    next_round(house)
    assert told(house) == [("fault.found", sent.packet_id, "state_differs")]
    found = shown(house)
    assert (found["truc_faults account"], found["truc_alert_active alert.account_gap"]) == (1, 1)
    tamper(
        house,
        f"UPDATE deliveries SET state = 'available' WHERE packet_id = '{sent.packet_id}'",
        "UPDATE rollups SET count = 1 WHERE agency_id = 'inbox-a' AND state = 'available'",
        "UPDATE rollups SET count = 0 WHERE agency_id = 'inbox-a' AND state = 'delivered'",
    )
    next_round(house)
    assert told(house)[1:] == [("fault.mended", sent.packet_id, "state_differs")]
    assert shown(house)["truc_alert_active alert.account_gap"] == 0
    house.assert_books_close()


def test_a_roll_up_that_lies_is_a_gap_of_no_packet(house: House) -> None:
    house.send(["inbox-a"])
    tamper(house, "UPDATE rollups SET count = 7")
    round_over(house)
    assert told(house) == [("fault.found", "", "rollup_differs")]
    tamper(house, "UPDATE rollups SET count = 1")
    next_round(house)
    assert [kind for kind, *_ in told(house)] == ["fault.found", "fault.mended"]


def test_a_gap_behind_the_last_page_is_mended_too(house: House) -> None:
    """The packet that broke the books is gone altogether: no page meets it any more."""
    house.send(["check"], "1")
    last = house.send(["check"], "2")
    tamper(
        house,
        "DROP TRIGGER events_no_delete",
        f"UPDATE packets SET sender_id = sender_id WHERE id = '{last.packet_id}'",
    )
    tamper(house, f"DELETE FROM events WHERE packet_id = '{last.packet_id}' AND kind = 'packet.accepted'")
    round_over(house)
    assert told(house) == [("fault.found", last.packet_id, "packet_unrecorded")]
    tamper(
        house,
        "PRAGMA defer_foreign_keys = ON",
        f"DELETE FROM events WHERE packet_id = '{last.packet_id}'",
        f"DELETE FROM deliveries WHERE packet_id = '{last.packet_id}'",
        f"DELETE FROM packets WHERE id = '{last.packet_id}'",
    )
    next_round(house)
    assert ("fault.mended", last.packet_id, "packet_unrecorded") in told(house)


def test_a_round_goes_page_by_page_and_goes_on_where_it_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_PAGE", 2)
    for number in range(5):
        house.send(["inbox-a"], str(number + 1))
    assert [check_next(house.node) for _ in range(4)] == [True, True, True, True]
    [walk] = house.rows("SELECT * FROM walks WHERE name = 'account'")
    assert walk["after"] == house.rows("SELECT id FROM packets ORDER BY id")[1]["id"]
    assert round_over(house) == 2


def test_no_page_keeps_a_writer_waiting(house: House) -> None:
    """A page is read beside an open write transaction, and one that was overtaken keeps nothing."""
    house.send(["inbox-a"])
    with house.node.store.read() as connection:
        page = books.next_packets(connection, "", "g")
        with house.node.store.write() as other:
            other.exec_driver_sql("UPDATE rollups SET count = 3")
        assert len(page) == 1
    assert round_over(house) == 2


def test_the_loop_of_a_node_finds_it_and_the_doctor_names_it(truc: Terminal, house: House) -> None:
    sent = house.send(["inbox-a"])
    tamper(house, "UPDATE deliveries SET state = 'refused'")
    loop = start_round(house.node, "account", check_next, 0.1)
    try:
        for _ in range(100):
            if told(house):
                break
            loop._thread.join(0.1)
    finally:
        loop.close()
    assert ("fault.found", sent.packet_id, "state_differs") in told(house)
    assert house.rows("SELECT holder FROM jobs WHERE name = 'account'")[0]["holder"] == house.node.worker
    [line] = [one for one in truc.json("doctor", code=1) if one["code"] == "alert.account_gap"]
    assert (line["level"], sent.packet_id in line["vi"]) == ("fail", True)
