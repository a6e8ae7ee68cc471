"""A real node on a real broker: documents go their way, the broker is wiped, and nobody lifts a hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.transport.rabbitmq import look_at_broker
from tests.service.test_processes import DAY, FOLDER, INBOX, SENDER, _arrived, _configure, _organ, _submit
from tests.support.announcing import NORMAL
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until
from tests.support.postgres import Cluster, cluster, start_cluster
from tests.support.processes import NodeProcesses
from tests.support.rabbitmq import Broker
from tests.support.stores import Database
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.fault]


@dataclass(frozen=True, slots=True)
class _Here:
    """Commands for the node, run in this process: a Python less for each."""

    truc: Terminal

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        self.truc(*arguments, code=code)
        return subprocess.CompletedProcess(arguments, code, self.truc.out, self.truc.err)


def _node(
    broker: Broker, folder: Path, monkeypatch: pytest.MonkeyPatch, vhost: str = "/", **settings: str
) -> NodeProcesses:
    files = {f"broker_{name}": path for name, path in broker.files.items()}
    usual = {"today": DAY, "look": "0.3", "sweep": "0.3", "broker": broker.url(vhost), **files, **settings}
    node = NodeProcesses(folder / "nut", usual)
    for name in [name for name in os.environ if name.startswith("TRUC_")]:
        monkeypatch.delenv(name)
    for name, value in node.environment().items():
        monkeypatch.setenv(name, value)
    return node


def _inbox(node: NodeProcesses, token: str) -> int:
    """How many packets the polling agency is shown."""
    answer = httpx2.get(f"{node.url}/v1/inbox", headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["items"])


_LONG = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    ("database", "again"),
    [
        (Database.POSTGRESQL, "5"),
        pytest.param(Database.SQLITE, "5", marks=_LONG),
        pytest.param(Database.POSTGRESQL, "60", marks=_LONG),
    ],
)
def test_after_a_wipe_all_that_is_due_is_handed_over_by_itself(
    fragile: Broker, tmp_path: Path, truc: Terminal, monkeypatch: pytest.MonkeyPatch, database: Database, again: str
) -> None:
    """Tickets that the broker took with it are announced again; what came while it was away is announced at last.

    The long run has the default `TRUC_ANNOUNCE_AGAIN` and shows the two minutes that are promised.
    """
    here = _Here(truc)
    rows = cluster().create() if database is Database.POSTGRESQL else ""
    with _node(fragile, tmp_path, monkeypatch, announce_again=again, database=rows) as node:
        here.run("init")
        tokens = _configure(here, tmp_path / "thu-muc")  # type: ignore[arg-type]
        for role in ("api", "relay", "periodic"):
            node.start(role)
        _submit(node, tokens[SENDER], "1")
        until(lambda: _waiting(fragile) == 1)  # its ticket is in the broker; nobody delivers yet
        fragile.stop()
        fragile.wipe()

        _submit(node, tokens[SENDER], "2")
        assert _inbox(node, tokens[INBOX]) == 2, "polled channels go on without the broker"
        until(lambda: httpx2.get(f"{node.url}/health/ready", timeout=PATIENCE).status_code == 200)
        node.start("deliver")
        told = here.run("--lang", "en", "doctor", code=1)
        assert "Nobody answers as a broker" in told.stdout
        assert _arrived(tmp_path / "thu-muc") == []

        fragile.start_again()
        until(lambda: len(_arrived(tmp_path / "thu-muc")) == 2, timeout=float(again) + 90)  # the issue: two minutes
        node.assert_alive()
        here.run("account")
        node.stop()


def _waiting(broker: Broker) -> int:
    """Tickets in the broker's queue for ordinary documents; its own figures in the management interface are late."""
    return next(each.messages for each in look_at_broker(broker.access("/")).queues if NORMAL in each.name)


# --- broker and database, one without the other ---------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Cluster]:
    """A PostgreSQL server of a test's own, to be taken away."""
    made = start_cluster()
    yield made
    made.stop()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_broker_and_database_go_and_come_in_every_order(
    fragile: Broker, server: Cluster, tmp_path: Path, truc: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sender was told stands, whatever is away; processes outlive both; the account closes."""
    here, folder = _Here(truc), tmp_path / "thu-muc"
    roles = ("api", "relay", "deliver", "periodic")
    with _node(fragile, tmp_path, monkeypatch, announce_again="2", database=server.create(), database_wait="3") as node:
        here.run("init")
        tokens = _configure(here, folder)  # type: ignore[arg-type]
        for role in roles:
            node.start(role)
        _submit(node, tokens[SENDER], "1")
        until(lambda: len(_arrived(folder)) == 1)

        server.stop()  # the database alone
        refused = _try_to_submit(node, tokens[SENDER], "2")
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) > 0
        node.assert_alive()
        server.start()
        until(lambda: _try_to_submit(node, tokens[SENDER], "2").status_code == 202)
        until(lambda: len(_arrived(folder)) == 2)

        fragile.stop()  # both at once
        server.stop()
        node.assert_alive()
        server.start()
        until(lambda: _try_to_submit(node, tokens[SENDER], "3").status_code == 202)
        fragile.start_again()
        until(lambda: len(_arrived(folder)) == 3)

        node.stop()  # the node before the broker
        fragile.stop()
        for role in roles:
            node.start(role)
        _submit(node, tokens[SENDER], "4")
        fragile.start_again()
        until(lambda: len(_arrived(folder)) == 4)

        node.stop()  # the node before the database: it ends with a sentence, and whoever watches it starts it again
        server.stop()
        for role in ("relay", "api"):
            ended = node.run("--lang", "en", role)
            assert ended.returncode == 5, ended.stderr
            assert "Traceback" not in ended.stderr
        server.start()
        for role in roles:
            node.start(role)
        _submit(node, tokens[SENDER], "5")
        until(lambda: len(_arrived(folder)) == 5)
        here.run("account")


def _try_to_submit(node: NodeProcesses, token: str, number: str) -> httpx2.Response:
    packet = build_packet(sender=_organ(SENDER), recipients=[_organ(INBOX), _organ(FOLDER)], number=number)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/xml"}
    return httpx2.post(f"{node.url}/v1/packets", content=packet, headers=headers, timeout=60)


@pytest.mark.long
def test_who_waits_at_one_machine_hears_what_another_accepted(
    broker: Broker, tmp_path: Path, truc: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two APIs with nothing in common but the database, the folder of packets and the broker; nobody else runs.

    Heard by a wake-up or at the next look of the long poll: either way long before its time is over.
    """
    here, blobs = _Here(truc), tmp_path / "goi-tin"
    blobs.mkdir()
    vhost = broker.new_vhost()
    shared = {"database": cluster().create(), "blobs": str(blobs), "long_poll": "25"}
    with _node(broker, tmp_path, monkeypatch, vhost, **shared) as first:
        here.run("init")
        tokens = _configure(here, tmp_path / "thu-muc")  # type: ignore[arg-type]
        shutil.copytree(first.data / "keys", tmp_path / "may-2" / "keys")
        with NodeProcesses(tmp_path / "may-2", first.settings) as second:
            first.start("api")
            second.start("api")
            heard: list[int] = []
            headers = {"authorization": f"Bearer {tokens[INBOX]}"}
            waiting = threading.Thread(
                target=lambda: heard.append(
                    len(httpx2.get(f"{second.url}/v1/inbox?wait=25", headers=headers, timeout=60).json()["items"])
                )
            )
            waiting.start()
            _submit(first, tokens[SENDER], "1")
            waiting.join(60)
            assert heard == [1]
