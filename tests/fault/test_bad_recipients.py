"""Bad days on the way to recipients: blobs gone or altered, folders gone, full or read-only, recipients that misbehave.

What is broken is parked or waits with its reason and one alert; everybody else's documents go on (promise 5).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.contract import SinkKind
from edxml.crashpoints import ENVIRONMENT
from gateway.channels import KINDS
from gateway.exchange.release import release
from gateway.model.instants import DAY, HOUR, MINUTE
from gateway.store import views
from gateway.store.channels import list_health
from gateway.workers.figures import figures_once
from gateway.workers.periodic import ClockWatch, periodic_once
from monitoring.alerts import AlertCode
from tests.fault.hops_child import BODY
from tests.support.clients import FAST, NODE, Home, letter
from tests.support.nodes import House, build_house, organ
from tests.support.processes import SmallDisk
from tests.support.rest_homes import home_of_may
from tests.support.sinks import Fault, SinkProcess, open_stand_in

pytestmark = [pytest.mark.fault]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with_folder = build_house(tmp_path, folders=True)
    yield with_folder
    with_folder.close()


def alerts(house: House) -> set[str]:
    """The alerts that the node's page of metrics shows now."""
    figures_once(house.node)
    page = house.node.metrics.render().decode()
    return {str(code) for code in AlertCode if f'truc_alert_active{{alert="{code}"}} 1.0' in page}


def files(house: House) -> list[Path]:
    """What the folder's recipients see."""
    return sorted((house.root / "den").glob("*.edxml"))


# --- blobs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("damage", "reason"), [("missing", "blob_missing"), ("damaged", "blob_damaged")])
def test_a_blob_that_is_missing_or_altered_is_parked_and_the_others_go_on(
    house: House, damage: str, reason: str
) -> None:
    first, second, third = (house.send(["folder-a", "idem"], str(n)) for n in (1, 2, 3))
    blob = house.node.store.blobs.path(house.rows("SELECT blob FROM packets WHERE id = ?", second.packet_id)[0]["blob"])
    kept = blob.read_bytes()
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(kept[:-20] + b"x" * 20)
    house.work()
    house.run(until=HOUR)
    assert (house.state(second, "folder-a"), house.reason(second, "folder-a")) == ("parked", reason)
    assert [house.state(one, "folder-a") for one in (first, third)] == ["delivered", "delivered"]
    assert len(files(house)) == 2
    assert len(house.attempts(second, "folder-a")) == 0, "what cannot be sent as it was accepted is not begun"
    with house.node.store.read() as connection:
        parked = {line.reason: line.count for line in views.snapshot(connection, house.now()).parked}
    assert parked[reason] >= 1
    assert f"alert.{reason}" in alerts(house)
    before = len(house.events(second, "folder-a"))
    house.run(until=HOUR)
    assert len(house.events(second, "folder-a")) == before, "a parked document stands still: no loop"
    house.assert_books_close()
    blob.write_bytes(kept)
    release(house.node, house.delivery(second, "folder-a"), actor="operator:test")
    house.run(until=HOUR)
    assert house.state(second, "folder-a") == "delivered"
    assert len(files(house)) == 3
    house.assert_books_close()


# --- the folder ------------------------------------------------------------------------------------------------------


def channel_events(house: House) -> list[str]:
    """What was written down about channels' health, in order."""
    rows = house.rows("SELECT kind FROM events WHERE actor = 'channel:folder' ORDER BY rowid")
    return [row["kind"] for row in rows]


def assert_broken_alone(house: House, reason: str) -> None:
    """The breaker of `folder` is open, for that reason, with one event and one alert; nobody else is affected."""
    with house.node.store.read() as connection:
        health = list_health(connection)
        assert views.snapshot(connection, house.now()).broken_channels in ((), ("folder",))
    assert health["folder"].breaker.is_broken
    assert health["folder"].reason == reason
    assert not any(known.breaker.is_broken for channel, known in health.items() if channel != "folder")
    assert channel_events(house) == ["channel.broken"]


def live_through_outage(house: House, reason: str) -> list[object]:
    """Documents come while the folder is away, for hours; gives what was sent to it."""
    sent = [house.send(["folder-a", "idem", "inbox-a"], str(n)) for n in range(1, 6)]
    for _ in range(30):
        house.sweep()
        house.work()
        house.pass_time(MINUTE)
    assert_broken_alone(house, reason)
    for one in sent:
        assert (house.state(one, "idem"), house.state(one, "inbox-a")) == ("delivered", "available")
        row = house.row(one, "folder-a")
        assert (row["state"], row["tries"], row["unreported"]) == ("ready", 0, 0), "the channel's fault is not theirs"
    assert files(house) == []
    return list(sent)


def assert_recovered(house: House, number: int) -> None:
    """Everything arrived by itself, once."""
    house.run(until=DAY)
    states = house.rows("SELECT DISTINCT state FROM deliveries WHERE agency_id = 'folder-a'")
    assert [row["state"] for row in states] == ["delivered"]
    assert len(files(house)) == number
    assert channel_events(house) == ["channel.broken", "channel.recovered"]
    assert AlertCode.CHANNEL_DOWN not in alerts(house)
    house.assert_books_close()


def test_a_folder_that_is_gone_opens_the_breaker_and_recovers_when_it_is_back(house: House) -> None:
    away = house.root.with_name("away")
    house.root.rename(away)
    sent = live_through_outage(house, "folder.missing")
    away.rename(house.root)
    assert_recovered(house, len(sent))


def test_a_folder_that_is_read_only_opens_the_breaker_and_recovers(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "channel", 16) as disk:
        house = build_house(tmp_path, folders=True)
        try:
            disk.remount("ro")
            sent = live_through_outage(house, "folder.read_only")
            disk.remount("rw")
            assert_recovered(house, len(sent))
        finally:
            house.close()


def test_a_recipients_full_disk_holds_up_its_own_documents_only(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "channel", 4) as disk:
        house = build_house(tmp_path, folders=True)
        try:
            (house.root / "ballast").write_bytes(b"x" * (4 * 1024 * 1024 - 8192))
            sent = live_through_outage(house, "folder.full")
            disk.remount("size=32m")
            assert_recovered(house, len(sent))
        finally:
            house.close()


def test_alerts_name_the_channel_that_is_down_once(house: House) -> None:
    house.root.rename(house.root.with_name("away"))
    for number in range(1, 9):
        house.send(["folder-a"], str(number))
    for _ in range(6):
        house.work()
        if AlertCode.CHANNEL_DOWN in alerts(house):
            break
        house.pass_time(10_000_000)
    assert AlertCode.CHANNEL_DOWN in alerts(house)
    assert channel_events(house) == ["channel.broken"]


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_after_a_jump_of_the_clock_nothing_expires_before_it_is_looked_at_again(house: House) -> None:
    sent = house.send(["inbox-a"])
    watch = ClockWatch(house.node.now)
    house.pass_time(31 * DAY)
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "inbox-a") == "available"
    assert house.rows("SELECT count(*) AS n FROM events WHERE kind = 'node.clock_jumped'") == [{"n": 1}]
    house.clock.jump(-31 * DAY)  # somebody set it right
    periodic_once(house.node, watch, 1.0)
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "inbox-a") == "available"
    house.pass_time(31 * DAY)
    periodic_once(house.node, watch, 1.0)
    periodic_once(house.node, watch, 1.0)
    assert house.state(sent, "inbox-a") == "expired", "a time that stays is believed"


# --- recipients that misbehave ---------------------------------------------------------------------------------------


def stand_in_home(folder: Path, recipient: SinkProcess, seconds: float = 1.0) -> Home:
    """A node with one more agency `may`, reached by a stand-in process; a document for it is accepted.

    `seconds`: how long its sink may send.
    """
    settings = recipient.settings() | {"sending_limit": seconds}
    home = home_of_may(folder, "stand_in", settings, {**KINDS, "stand_in": open_stand_in})
    body = letter(1, ("hop-1",)).body.replace(b"000.00.02.H99", organ("nowhere").encode())
    (folder / BODY).write_bytes(body)
    assert hop(home, "accept") == 0
    return home


def hop(home: Home, name: str, crash_at: str = "") -> int:
    """One hop in a process of its own; its exit code."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUC_")}
    environment |= {f"TRUC_{k.upper()}": v for k, v in (FAST | {"node": NODE}).items()}
    environment |= {ENVIRONMENT: crash_at} if crash_at else {}
    command = [sys.executable, "-m", "tests.fault.hops_child", name, str(home.data), str(home.data.parent / "answer")]
    return subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], timeout=240).returncode


def state(home: Home) -> tuple[str, str]:
    """State and key of the delivery to `may`."""
    store = home.open()
    with store.read() as connection:
        row = connection.exec_driver_sql("SELECT state, transfer_id FROM deliveries WHERE agency_id = 'may'").one()
    store.close()
    return str(row[0]), str(row[1])


DOUBTS = {
    "the recipient dies with it": Fault(act="die", lands=True),
    "the recipient dies before": Fault(act="die", lands=False),
    "it lands late, unanswered": Fault(act="hang", lands=True, late=True, seconds=0.4),
    "it answers twice": Fault(act="twice", lands=True),
    "the answer is lost": Fault(act="drop", lands=True),
}


@pytest.mark.parametrize("kind", [SinkKind.CHECKABLE, SinkKind.BLIND])
@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_checkable_recipient_never_sees_it_twice_and_for_a_blind_one_a_person_decides(
    tmp_path: Path, kind: SinkKind, doubt: str
) -> None:
    with SinkProcess(tmp_path / "recipient", kind) as recipient:
        answers = DOUBTS[doubt].act == "twice"  # and is heard, on a machine however busy
        home = stand_in_home(tmp_path, recipient, 30.0 if answers else 1.0)
        recipient.set_fault(DOUBTS[doubt])
        assert hop(home, "deliver") == 0
        if DOUBTS[doubt].act == "die":
            recipient.wait_dead()
            recipient.start()
        assert hop(home, "finish") == 0
        found, key = state(home)
        if kind is SinkKind.CHECKABLE or DOUBTS[doubt].act == "twice":
            assert (found, recipient.copies(key)) == ("delivered", 1)
        else:
            assert found == "parked", "a blind sink's doubt is a person's to end"
            assert recipient.copies(key) == int(DOUBTS[doubt].lands)


@pytest.mark.parametrize("kind", [SinkKind.CHECKABLE, SinkKind.BLIND])
@pytest.mark.parametrize("point", ["stand_in.half_sent", "stand_in.sent", "stand_in.answered"])
def test_a_worker_killed_while_it_sends_leaves_one_copy_or_a_question(
    tmp_path: Path, kind: SinkKind, point: str
) -> None:
    with SinkProcess(tmp_path / "recipient", kind) as recipient:
        home = stand_in_home(tmp_path, recipient)
        assert hop(home, "finish", crash_at=point) == -signal.SIGKILL
        assert hop(home, "finish") == 0
        found, key = state(home)
        if kind is SinkKind.CHECKABLE:
            assert (found, recipient.copies(key)) == ("delivered", 1)
        else:
            assert found == "parked"
            assert recipient.copies(key) <= 1
