"""A stored row that cannot be read is its own system's or channel's fault: everybody else is served, and it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edxml import OrganId
from gateway.api.problems import problem_of
from gateway.channels import ProfileUnreadable
from gateway.configuration import apply, export, parse
from gateway.exchange.submission import Answer
from gateway.identity import Caller
from gateway.model.instants import HOUR
from gateway.node import Node
from gateway.store.followers import Follower
from gateway.store.systems import list_systems
from gateway.store.views import document
from gateway.workers.counting import count_once
from gateway.workers.figures import Progress, figures_once
from gateway.workers.periodic import ClockWatch, periodic_once
from tests.support.nodes import House, build_house
from tests.support.terminal import Terminal

OWN = """
[[profile]]
name = "own"
allow = [{repairs = ["bom"]}]

[[system]]
name = "s-sender"
profile = "own"
speaks_for = ["sender"]
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = build_house(tmp_path, folders=True)
    apply(made.node.store, parse(OWN), actor="test")
    made.node.channels.refresh()
    yield made
    made.close()


def tamper(house: House, statement: str) -> None:
    with house.node.store.write() as connection:
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql("UPDATE node SET configuration_version = configuration_version + 1")
    house.node.channels.refresh()


def own(house: House) -> Caller:
    """The system whose profile is the operator's own."""
    with house.node.store.read() as connection:
        row = next(row for row in list_systems(connection) if row.name == "s-sender")
    return Caller(system_id=row.id, name=row.name, agency_ids=row.agency_ids, is_operator=False)


def refused(house: House, number: str) -> ProfileUnreadable:
    why = house.submit(house.packet(["inbox-a"], number), caller=own(house))
    assert isinstance(why, ProfileUnreadable), why
    return why


def alerts(node: Node, progress: Progress | None = None) -> set[str]:
    figures_once(node, progress)
    lines = node.metrics.render().decode().splitlines()
    active = [line for line in lines if line.startswith("truc_alert_active{") and not line.endswith(" 0.0")]
    return {line.split('"')[1] for line in active}


def faults_told(house: House) -> list[tuple[str, str]]:
    periodic_once(house.node, ClockWatch(house.node.now), 1.0)
    found = house.rows("SELECT kind, reason FROM events WHERE kind LIKE 'fault.%' ORDER BY rowid")
    return [(row["kind"], row["reason"]) for row in found]


@pytest.mark.parametrize(
    "stored", ["{", "[1]", '[{"repairs": ["no_such"]}]', '[{"until": "soon"}]', '{"repairs": 1}', "null"]
)
def test_a_profile_that_cannot_be_read_stops_its_own_system_alone(house: House, stored: str) -> None:
    tamper(house, f"UPDATE profiles SET allowances = '{stored}'")
    why = refused(house, "1")
    assert why.retryable
    assert why.params["system"] == "s-sender"
    assert problem_of(why, "1").status == 503
    assert isinstance(house.send(["inbox-a", "check"], "2", sender="sender-2"), Answer)
    assert "alert.profile_unreadable" in alerts(house.node)
    assert faults_told(house) == faults_told(house) == [("fault.found", "profile:s-sender")]
    apply(house.node.store, parse(OWN), actor="test")
    house.node.channels.refresh()
    assert isinstance(house.submit(house.packet(["inbox-a"], "3"), caller=own(house)), Answer)
    assert "alert.profile_unreadable" not in alerts(house.node)
    assert faults_told(house)[1:] == [("fault.mended", "profile:s-sender")]


def test_a_profile_that_is_gone_stops_its_own_system_alone(house: House) -> None:
    tamper(house, "DELETE FROM profiles")
    refused(house, "1")
    house.send(["inbox-a"], "2", sender="sender-2")


@pytest.mark.parametrize(
    "change",
    [
        "settings = '{'",
        pytest.param("settings = '7'", marks=pytest.mark.long),
        pytest.param("sink = 'sure'", marks=pytest.mark.long),
        "state = 'odd'",
    ],
)
def test_a_channel_that_cannot_be_read_stops_its_own_agencies_alone(house: House, change: str) -> None:
    tamper(house, f"UPDATE channels SET {change} WHERE id = 'check'")
    sent = house.send(["inbox-a", "idem", "check"], "1", sender="sender-2")
    house.run()
    assert house.state(sent, "inbox-a") == "available"
    assert house.state(sent, "idem") == "delivered"
    assert house.state(sent, "check") == "ready"
    assert "alert.channel_unreadable" in alerts(house.node)
    assert faults_told(house)[0] == ("fault.found", "channel:check")


def test_a_kind_that_this_program_does_not_know_hinders_no_other_channel(house: House) -> None:
    tamper(house, "UPDATE channels SET kind = 'fax' WHERE id = 'check'")
    sent = house.send(["idem", "check"], "1", sender="sender-2")
    house.work()
    assert house.state(sent, "idem") == "delivered"
    assert house.state(sent, "check") == "ready"


def test_a_directory_that_contradicts_itself_leaves_the_last_good_one(house: House) -> None:
    with house.node.store.write() as connection:
        row = connection.exec_driver_sql("SELECT data FROM agencies WHERE id = 'check'").scalar_one()
        data = json.loads(row)
        for code in data["codes"]:
            code["code"] = house_code("inbox-a", house)
        connection.exec_driver_sql("UPDATE agencies SET data = ? WHERE id = 'check'", (json.dumps(data),))
        connection.exec_driver_sql("UPDATE node SET directory_version = directory_version + 1")
    house.node.channels.refresh()
    house.send(["inbox-a"], "1", sender="sender-2")
    assert "alert.directory_unreadable" in alerts(house.node)
    house.node.channels.refresh()
    assert "alert.directory_unreadable" in alerts(house.node)


def house_code(agency_id: str, house: House) -> str:
    agency = house.node.channels.snapshot().directory.by_id(agency_id)
    assert agency is not None
    code = agency.organ_code_on(house.node.today())
    assert code is not None
    return OrganId.parse(code.code).text


def test_what_cannot_be_read_is_not_exported_as_something_else(house: House) -> None:
    tamper(house, "UPDATE channels SET settings = '{' WHERE id = 'check'")
    with pytest.raises(Exception, match="check"):
        export(house.node.store)


def test_a_follower_that_stands_still_is_an_alert_though_it_never_moved(house: House) -> None:
    progress = Progress()
    house.send(["inbox-a"], "1", sender="sender-2")
    assert "alert.follower_stuck" not in alerts(house.node, progress)
    house.pass_time(HOUR)
    assert "alert.follower_stuck" in alerts(house.node, progress)
    while count_once(house.node):
        pass
    told = house.node.metrics.render().decode()
    assert 'truc_follower_events{follower="signatures"}' in told


def test_a_follower_that_moves_is_catching_up(house: House) -> None:
    progress = Progress()
    for number in "12":
        house.send(["inbox-a"], number, sender="sender-2")
        figures_once(house.node, progress)
        house.pass_time(HOUR)
        for name in Follower:
            tamper(house, f"INSERT OR REPLACE INTO followers VALUES ('{name}', {number})")
        assert "alert.follower_stuck" not in alerts(house.node, progress)


def test_the_doctor_names_a_follower_that_is_far_behind(truc: Terminal, house: House) -> None:
    house.send(["inbox-a"], "1", sender="sender-2")
    house.pass_time(HOUR)
    assert "doctor.follower_behind" in {one["code"] for one in truc.json("doctor", code=1)}


@pytest.mark.parametrize("stored", ["5", "null", "[5]", "không", '["25:00-26:00"]', "{}"])
def test_windows_that_cannot_be_read_rest_their_channel_and_no_other(house: House, stored: str) -> None:
    sent = [house.send([agency], number) for agency, number in (("idem", "1"), ("check", "2"))]
    with house.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE channels SET windows = ? WHERE id = 'idem'", (stored,))
        connection.exec_driver_sql("UPDATE node SET configuration_version = configuration_version + 1")
    house.work()
    assert (house.state(sent[0], "idem"), house.state(sent[1], "check")) == ("ready", "delivered")
    with house.node.store.read() as connection:
        view = document(connection, sent[0].packet_id, seen_by=None, now=house.now())
    assert view is not None
    assert [line.waits_for for line in view.recipients] == ["window"]
