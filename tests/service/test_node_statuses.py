"""What a node does by itself: statuses for agencies that cannot speak them, jobs side by side, keys."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edxml import read
from edxml.packet import StatusPacket
from gateway.compose import build_node
from gateway.exchange.report import report_once
from gateway.keys import KeysMissing
from gateway.model.errors import DiskReserve
from gateway.model.instants import DAY
from gateway.settings import read_settings
from gateway.store.blobs import BlobFolder
from gateway.workers.leases import may_do
from gateway.workers.periodic import ClockWatch, periodic_once
from gateway.workers.reporting import reporting_once
from tests.support.nodes import TODAY, Database, House, build_house, organ
from tests.support.packets import PROMULGATED
from tests.support.stores import tell


@pytest.fixture
def house(tmp_path: Path, database: Database) -> Iterator[House]:
    built = build_house(tmp_path, database=database, folders=True)
    yield built
    built.close()


def status_for_sender(house: House) -> StatusPacket:
    """The one status that waits for the sender, as the bytes that it will fetch."""
    (delivery,) = house.shown("sender")
    digest = house.rows(
        "SELECT p.blob FROM deliveries d JOIN packets p ON p.id = d.packet_id WHERE d.id = ?", delivery
    )[0]["blob"]
    with house.node.store.blobs.open(digest) as body:
        packet = read(io.BytesIO(body.read())).packet
    assert isinstance(packet, StatusPacket)
    return packet


def test_a_delivered_document_brings_01_back_for_software_that_cannot_speak_it(house: House) -> None:
    sent = house.send(["folder-a"])
    house.work()
    assert house.state(sent, "folder-a") == "delivered"
    assert report_once(house.node) == 1
    status = status_for_sender(house)
    assert status.status_code == "01"
    assert status.sender.raw_organ_id == organ("folder-a")
    about = status.response_for
    assert about.code == "1/UBND-VX"
    assert about.promulgation_date == PROMULGATED, "many systems match a status by issuer, day and number/notation"
    assert about.document_id is not None
    assert report_once(house.node) == 0
    house.assert_books_close()


def test_a_status_that_was_sent_and_not_noted_is_not_sent_again(house: House) -> None:
    sent = house.send(["folder-a"])
    house.work()
    report_once(house.node)
    with house.node.store.write() as connection:
        tell(connection, "UPDATE deliveries SET owes = '01' WHERE packet_id = ?", sent.packet_id)
    report_once(house.node)
    assert len(house.shown("sender")) == 1
    assert house.rows("SELECT count(*) AS n FROM statuses")[0]["n"] == 1


def test_what_is_owed_waits_for_room_and_time_goes_on_meanwhile(house: House) -> None:
    sent = house.send(["folder-a", "inbox-a"])
    house.work()
    full = replace(house.node.store, blobs=BlobFolder(house.node.store.blobs.root, reserve=1 << 60))
    node = replace(house.node, store=full)
    house.pass_time(31 * DAY)
    with pytest.raises(DiskReserve):
        reporting_once(node, 1.0)
    periodic_once(node, ClockWatch(house.now), 1.0)
    assert house.state(sent, "inbox-a") == "expired", "time goes on under a full disk"
    assert house.rows("SELECT owes FROM deliveries WHERE state = 'delivered'")[0]["owes"] == "01"
    reporting_once(house.node, 1.0)
    assert house.rows("SELECT owes FROM deliveries WHERE state = 'delivered'")[0]["owes"] == ""


def test_reporting_takes_its_turn_only_where_a_status_is_owed(house: House) -> None:
    house.send(["inbox-a"])
    house.work()
    reporting_once(house.node, 1.0)
    assert house.rows("SELECT name FROM jobs") == [], "a wake with nothing owed is one read"
    house.send(["folder-a"], "2")
    house.work()
    reporting_once(house.node, 1.0)
    assert house.rows("SELECT name FROM jobs") == [{"name": "reports"}], "nor does it run anybody else's job"
    assert len(house.shown("sender")) == 1


def test_who_reports_is_one_process_at_a_time(house: House) -> None:
    house.send(["folder-a"])
    house.work()
    assert may_do(house.node, "reports", 3)  # as long as each look of theirs takes it for
    assert reporting_once(house.worker("other").node, 1.0) == 1.0
    assert house.shown("sender") == []
    reporting_once(house.node, 1.0)
    assert len(house.shown("sender")) == 1


def settings_of(house: House) -> dict[str, str]:
    folder = house.node.store.blobs.root.parent
    return {
        "TRUC_DATA": str(folder), "TRUC_NODE": "thu", "TRUC_TODAY": TODAY, "TRUC_DISK_RESERVE_MIB": "1",
        "TRUC_DATABASE": house.database,
    }  # fmt: skip


def test_a_lost_key_is_never_made_anew_once_packets_were_sealed(house: House) -> None:
    house.send(["inbox-a"])
    settings = read_settings(settings_of(house))
    house.close()
    shutil.rmtree(settings.data / "keys")
    with pytest.raises(KeysMissing):
        build_node(settings)
    assert not (settings.data / "keys").exists()


def test_a_new_node_makes_its_key_and_keeps_its_folder_to_itself(tmp_path: Path) -> None:
    node = build_node(read_settings({"TRUC_DATA": str(tmp_path / "moi"), "TRUC_DISK_RESERVE_MIB": "1"}))
    node.transport.close()
    node.store.close()
    assert (tmp_path / "moi" / "keys" / "seal.key").exists()
    assert (tmp_path / "moi").stat().st_mode & 0o777 == 0o700
