"""Bad days of a running node: a locked database, a full disk, a second node on its folder. All heal by themselves."""

from __future__ import annotations

import http.client
import io
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from gateway.cli.exits import ExitCode
from gateway.trial.ledger import digest
from tests.support.clients import FAST, HANGS, Home, Users, letter, make_home
from tests.support.patience import until
from tests.support.processes import NodeProcesses, SmallDisk

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

XML = {"Content-Type": "application/xml"}
MIB = 1 << 20


@contextmanager
def client(home: Home, url: str, agency: str = "don") -> Iterator[httpx2.Client]:
    """An agency's software."""
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {home.tokens[agency]}"}, timeout=30) as one:
        yield one


def count(home: Home, table: str) -> int:
    """Rows of a table."""
    store = home.open()
    try:
        with store.read() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
    finally:
        store.close()


def spooled(home: Home) -> list[str]:
    """What lies in the spool."""
    return [path.name for path in (home.data / "blobs" / "spool").iterdir()]


# --- the database ------------------------------------------------------------------------------------------------


def test_a_locked_database_answers_busy_and_recovers_by_itself(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    one = letter(900, ("hop-1", "tm-1"))
    with NodeProcesses(home.data, FAST | {"database_wait": "0.4"}) as node, Users(home) as users:
        node.start("serve")
        users.begin(node.url)
        users.send(("hop-1", "tm-1"))
        blocker = sqlite3.connect(home.data / "truc.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with client(home, node.url) as sender:
            for _ in range(2):
                refused = sender.post("/v1/packets", content=one.body, headers=XML)
                assert (refused.status_code, refused.json()["code"]) == (503, "store.busy")
                assert int(refused.headers["Retry-After"]) > 0
            assert sender.get("/health/live").status_code == 200
            time.sleep(1.5)  # the loops of every worker meet the lock too
            node.assert_alive()
            blocker.execute("ROLLBACK")
            blocker.close()
            accepted = sender.post("/v1/packets", content=one.body, headers=XML)
            assert accepted.status_code == 202, accepted.text
            assert not accepted.json()["is_repeat"], "a request that was answered 503 had been accepted"
        users.take_over(one, accepted.json(), ("hop-1", "tm-1"))
        users.work(rounds=1)
        users.settle()
        users.assert_all_is_well()
        assert not spooled(home)


# --- the disk ----------------------------------------------------------------------------------------------------


def test_under_the_disk_reserve_nothing_is_accepted_and_it_recovers_by_itself(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 96):
        home = make_home(tmp_path / "disk")
        with NodeProcesses(home.data, FAST | {"disk_reserve_mib": "32"}, logs=tmp_path) as node:
            node.start("serve")
            ballast = tmp_path / "disk" / "ballast"
            ballast.write_bytes(bytes(70 * MIB))
            one = letter(901, ("hop-1",))
            with client(home, node.url) as sender:
                refused = sender.post("/v1/packets", content=one.body, headers=XML)
                assert (refused.status_code, refused.json()["code"]) == (507, "store.disk_reserve")
                assert int(refused.headers["Retry-After"]) > 0
                assert _status_before_the_body(home, node) == 507
                assert (count(home, "packets"), spooled(home)) == (0, [])
                node.assert_alive()
                ballast.unlink()
                accepted = sender.post("/v1/packets", content=one.body, headers=XML)
                assert accepted.status_code == 202
                assert not accepted.json()["is_repeat"]


def _status_before_the_body(home: Home, node: NodeProcesses) -> int:
    """The answer to a request whose body was announced and never sent."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    try:
        connection.putrequest("POST", "/v1/packets")
        for name, value in (XML | {"Authorization": f"Bearer {home.tokens['don']}", "Content-Length": "4096"}).items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_disk_that_fills_up_during_the_body_keeps_nothing_of_it(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 48):
        home = make_home(tmp_path / "disk")
        with NodeProcesses(home.data, FAST, logs=tmp_path) as node, client(home, node_url(node)) as sender:
            before = letter(902, ("hop-1",))
            assert sender.post("/v1/packets", content=before.body, headers=XML).status_code == 202
            body = letter(903, ("hop-1",)).body + bytes(80 * MIB)
            stream = io.BytesIO(body)
            pieces = iter(lambda: stream.read(1 << 18), b"")
            try:
                refused = sender.post("/v1/packets", content=pieces, headers=XML)
            except httpx2.TransportError:
                pass  # answered and closed while we were still sending
            else:
                assert (refused.status_code, refused.json()["code"]) == (507, "store.disk_reserve")
            node.assert_alive()
            until(lambda: not spooled(home), "the spool is empty again", timeout=HANGS)
            assert count(home, "packets") == 1
            assert sender.post("/v1/packets", content=letter(904, ("hop-1",)).body, headers=XML).status_code == 202


def node_url(node: NodeProcesses) -> str:
    """Start the whole node; where it listens."""
    node.start("serve")
    return node.url


# --- more than one node --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_running", [True, False])
def test_another_node_on_the_same_folder_is_refused_with_a_sentence(tmp_path: Path, is_running: bool) -> None:
    home = make_home(tmp_path)
    stranger = NodeProcesses(home.data, FAST | {"node": "nut-la"})
    with NodeProcesses(home.data, FAST) as node:
        if is_running:
            node.start("serve")
        for command in (("serve",), ("relay",), ("init",)):
            refused = stranger.run("--lang", "en", *command)
            assert refused.returncode == ExitCode.FOREIGN, refused.stderr
            assert "store.foreign" in refused.stderr
            assert "nut-thu" in refused.stderr
        node.assert_alive()


def test_a_second_serve_of_the_same_node_does_no_harm(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with NodeProcesses(home.data, FAST) as node, NodeProcesses(home.data, FAST, logs=tmp_path / "second") as second:
        node.start("serve")
        second.start("serve")
        assert node.port != second.port
        with Users(home) as users:
            users.begin(node.url)
            users.work(rounds=2)
            second.kill("serve")
            users.work(rounds=1)
            second.start("serve")
            users.work(rounds=1)
            users.settle()
            users.assert_all_is_well()


def test_a_frozen_worker_that_wakes_after_its_lease_sends_nothing(tmp_path: Path) -> None:
    """Two processes deliver; one is frozen again and again for longer than its lease (protocol §4)."""
    home = make_home(tmp_path)
    with NodeProcesses(home.data, FAST) as node, NodeProcesses(home.data, FAST, logs=tmp_path / "other") as other:
        for role in ("api", "relay", "deliver", "periodic", "intake"):
            node.start(role)
        other.start("deliver")
        with Users(home) as users:
            users.begin(node.url)
            working = users.in_background(lambda u: u.work(rounds=8, pause=0.7))
            while not working.done():
                other.freeze("deliver")
                time.sleep(2.5)
                other.thaw("deliver")
                time.sleep(0.3)
            working.result()
            users.settle()
            users.assert_all_is_well()


# --- blobs, as a polled recipient meets them -----------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_polled_item_whose_blob_is_gone_or_altered_is_parked_and_the_others_are_served(
    tmp_path: Path, damage: str
) -> None:
    home = make_home(tmp_path)
    bad, good = letter(911, ("hop-1",)), letter(912, ("hop-1",))
    with NodeProcesses(home.data, FAST) as node, client(home, node_url(node)) as sender:
        for one in (bad, good):
            assert sender.post("/v1/packets", content=one.body, headers=XML).status_code == 202
        blob = home.data / "blobs" / digest(bad.body)[:2] / digest(bad.body)
        if damage == "missing":
            blob.unlink()
        else:
            blob.write_bytes(bad.body[:-20] + b"x" * 20)
        with client(home, node.url, "hop-1") as software:
            assert listed(software) == 2
            items = software.get("/v1/inbox?agency=hop-1").json()["items"]
            served = [fetch(software, item["delivery_id"]) for item in items]
            assert digest(good.body) in served
            assert digest(blob_bytes(blob)) not in served, "bytes that were never accepted went out as a packet"
            until(lambda: parked_reasons(home) != [], "the item is parked", timeout=HANGS)
            until(lambda: listed(software) == 1, "the other is listed again, until it is confirmed", timeout=HANGS)
        node.assert_alive()


def test_a_fetch_that_the_node_died_in_is_offered_again_soon(tmp_path: Path) -> None:
    """Its response never ended; whoever polls without remembering must not wait until it counts as over."""
    home = make_home(tmp_path)
    one = letter(913, ("hop-1",))
    with NodeProcesses(home.data, FAST) as node, client(home, node_url(node)) as sender:
        assert sender.post("/v1/packets", content=one.body, headers=XML).status_code == 202
        with client(home, node.url, "hop-1") as software:
            item = software.get("/v1/inbox?agency=hop-1").json()["items"][0]
            assert fetch(software, item["delivery_id"]) == digest(one.body)
        node.kill("serve")
        node.start("serve")
        with client(home, node.url, "hop-1") as software:
            until(lambda: listed(software) == 1, "the item is listed again", timeout=HANGS)
            assert fetch(software, item["delivery_id"]) == digest(one.body)


def listed(software: httpx2.Client) -> int:
    """How many items the inbox shows."""
    return len(software.get("/v1/inbox?agency=hop-1").json()["items"])


def fetch(software: httpx2.Client, delivery_id: str) -> str:
    """The digest of what was served whole; "" where nothing was."""
    try:
        answer = software.get(f"/v1/inbox/{delivery_id}/packet")
    except httpx2.TransportError:
        return ""
    return digest(answer.content) if answer.status_code == 200 else ""


def blob_bytes(blob: Path) -> bytes:
    """What lies where the blob was."""
    return blob.read_bytes() if blob.exists() else b""


def parked_reasons(home: Home) -> list[str]:
    """Reasons of what is parked."""
    store = home.open()
    try:
        with store.read() as connection:
            rows = connection.exec_driver_sql("SELECT reason FROM deliveries WHERE state = 'parked'").all()
            return [str(row[0]) for row in rows]
    finally:
        store.close()
