"""Stored bytes go round too: what was altered is found, put aside, served to nobody, and right again when restored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.api.vouched import Vouched
from gateway.model.errors import BlobDamaged
from gateway.model.instants import DAY, HOUR, MINUTE
from gateway.workers import check_blobs
from gateway.workers.figures import figures_once
from tests.support.edge import RunningApi, running_api
from tests.support.nodes import Database, House, build_house


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of this moment count as old enough to be looked at."""
    monkeypatch.setattr("gateway.workers.blob_round._SETTLED", -MINUTE)


@pytest.fixture
def house(tmp_path: Path, database: Database) -> Iterator[House]:
    made = build_house(tmp_path, database=database)
    yield made
    made.close()


def round_over(house: House) -> int:
    pages = 0
    while check_blobs(house.node):
        pages += 1
    return pages


def blob_of(house: House, packet_id: str) -> Path:
    return house.node.store.blobs.path(house.rows("SELECT blob FROM packets WHERE id = ?", packet_id)[0]["blob"])


def told(house: House) -> list[tuple[str, str, str]]:
    rows = house.rows("SELECT kind, packet_id, reason FROM events WHERE kind LIKE 'fault.%' ORDER BY rowid")
    return [(row["kind"], row["packet_id"], row["reason"]) for row in rows]


def shown(house: House, name: str, label: str) -> float:
    figures_once(house.node)
    families = text_string_to_metric_families(house.node.metrics.render().decode())
    return next(s.value for f in families for s in f.samples if s.name == name and label in s.labels.values())


def test_an_altered_blob_is_found_put_aside_and_right_again_when_restored(house: House) -> None:
    house.send(["inbox-a"], "1")
    sent = house.send(["inbox-a", "check"], "2")
    blob = blob_of(house, sent.packet_id)
    right = blob.read_bytes()
    assert round_over(house) == 1
    assert told(house) == []
    blob.write_bytes(right[:-9] + b"x" * 9)
    assert round_over(house) == 0, "a round begins anew at once"
    house.pass_time(2 * DAY)
    round_over(house)
    assert told(house) == [("fault.found", sent.packet_id, "damaged")]
    assert (shown(house, "truc_faults", "blobs"), shown(house, "truc_alert_active", "alert.blob_damaged")) == (1, 1)
    with pytest.raises(BlobDamaged):
        house.node.store.blobs.open(blob.name)
    assert (house.node.store.blobs.root / "damaged" / blob.name).read_bytes() != right, "kept for whoever looks into it"
    house.run(until=HOUR)
    assert (house.state(sent, "check"), house.reason(sent, "check")) == ("parked", "blob_damaged")
    blob.write_bytes(right)
    house.pass_time(2 * DAY)
    round_over(house)
    assert told(house)[1:] == [("fault.mended", sent.packet_id, "damaged")]
    house.node.store.blobs.check(blob.name)


def test_a_missing_blob_is_told_and_a_repeat_of_its_packet_brings_it_back(house: House) -> None:
    body = house.packet(["inbox-a"])
    sent = house.submit(body)
    blob_of(house, sent.packet_id).unlink()  # type: ignore[union-attr]
    round_over(house)
    assert [(kind, reason) for kind, _, reason in told(house)] == [("fault.found", "missing")]
    assert shown(house, "truc_alert_active", "alert.blob_missing") == 1
    house.submit(body)
    house.pass_time(2 * DAY)
    round_over(house)
    assert [(kind, reason) for kind, _, reason in told(house)][1:] == [("fault.mended", "missing")]


def test_a_page_is_bounded_by_what_it_reads(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.workers.blob_round._BYTES", 5_000)
    for number in range(4):
        house.send(["inbox-a"], str(number + 1))
    sizes = [row["size"] for row in house.rows("SELECT size FROM packets")]
    assert max(sizes) < 5_000 < sum(sizes)
    assert 1 < round_over(house) <= 4


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path) as running:
        yield running


def large(api: RunningApi) -> tuple[bytes, str, Path, str]:
    """A large packet: its bytes, its id, its blob, and its delivery."""
    body = api.packet(files=(("lớn.bin", os.urandom(900_000)),))
    sent = api.send(body)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    return body, sent["packet_id"], api.node.store.blobs.path(item["digest"]), item["delivery_id"]


def test_no_range_of_an_altered_large_packet_goes_out(api: RunningApi) -> None:
    body, packet_id, blob, delivery_id = large(api)
    mine, theirs = f"/v1/packets/{packet_id}/packet", f"/v1/inbox/{delivery_id}/packet"
    for client, path in ((api.sender, mine), (api.recipient, theirs)):
        got = client.get(path, headers={"Range": "bytes=500000-500099"})
        assert (got.status_code, got.content) == (206, body[500_000:500_100])
    blob.write_bytes(body[:-200] + b"x" * 200)
    file = f"/v1/packets/{packet_id}/attachments/1"
    for client, path in ((api.sender, mine), (api.sender, file), (api.recipient, theirs)):
        got = client.get(path, headers={"Range": "bytes=500000-500099"})
        assert (got.status_code, got.json()["code"]) == (503, "blob.damaged")


def test_no_range_goes_out_of_what_a_round_found_altered(api: RunningApi) -> None:
    """Even where the file's times say that nothing happened: its disk lies."""
    body, packet_id, blob, _ = large(api)
    path = f"/v1/packets/{packet_id}/packet"
    assert api.sender.get(path, headers={"Range": "bytes=0-9"}).status_code == 206
    blob.write_bytes(body[:-200] + b"x" * 200)
    assert check_blobs(api.node)
    for headers in ({"Range": "bytes=0-9"}, {}):
        got = api.sender.get(path, headers=headers)
        assert (got.status_code, got.json()["code"]) == (503, "blob.damaged")


def test_what_was_found_right_stands_for_an_hour_and_for_that_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"before")
    digest = hashlib.sha256(b"g").hexdigest()
    vouched, gone = Vouched(), Vouched(stands=0.0)
    with path.open("rb") as file:
        for one in (vouched, gone):
            assert not one.is_fresh(file, digest)
            one.remember(one.key_of(file, digest))
        assert vouched.is_fresh(file, digest)
        assert not vouched.is_fresh(file, "another file out of the same packet")
        assert not gone.is_fresh(file, digest)
        path.write_bytes(b"after!!")
        assert not vouched.is_fresh(file, digest)


def test_what_the_disk_does_not_give_is_an_alert(house: House) -> None:
    path = blob_of(house, house.send(["inbox-a"]).packet_id)
    held = path.rename(path.with_suffix(".held"))
    path.symlink_to(path)  # opening it fails as a bad disk does: neither missing nor altered
    round_over(house)
    assert shown(house, "truc_alert_active", "alert.blob_unread") == 1
    path.unlink()
    held.rename(path)
    house.pass_time(2 * DAY)
    round_over(house)
    assert shown(house, "truc_alert_active", "alert.blob_unread") == 0
