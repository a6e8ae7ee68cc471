"""A real node on a real broker: documents go their way, the broker is wiped, and nobody lifts a hand."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import pytest

from gateway.transport.rabbitmq import look_at_broker
from tests.service.test_processes import DAY, INBOX, SENDER, _arrived, _configure, _submit
from tests.support.announcing import NORMAL, until
from tests.support.processes import NodeProcesses
from tests.support.rabbitmq import Broker

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.fault]


def _node(broker: Broker, folder: Path, **settings: str) -> NodeProcesses:
    files = {f"broker_{name}": path for name, path in broker.files.items()}
    usual = {"today": DAY, "look": "0.3", "sweep": "0.3", "broker": broker.url("/"), **files, **settings}
    node = NodeProcesses(folder / "nut", usual)
    assert node.run("init").returncode == 0
    return node


def _inbox(node: NodeProcesses, token: str) -> int:
    """How many packets the polling agency is shfragile."""
    answer = httpx2.get(f"{node.url}/v1/inbox", headers={"authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["items"])


@pytest.mark.parametrize("again", ["5", pytest.param("60", marks=[pytest.mark.long, pytest.mark.timeout(400)])])
def test_after_a_wipe_all_that_is_due_is_handed_over_by_itself(fragile: Broker, tmp_path: Path, again: str) -> None:
    """Tickets that the broker took with it are announced again; what came while it was away is announced at last.

    The long run has the default `TRUC_ANNOUNCE_AGAIN` and shows the two minutes that are promised.
    """
    with _node(fragile, tmp_path, announce_again=again) as node:
        tokens = _configure(node, tmp_path / "thu-muc")
        for role in ("api", "relay", "periodic"):
            node.start(role)
        _submit(node, tokens[SENDER], "1")
        until(lambda: _waiting(fragile) == 1)  # its ticket is in the broker; nobody delivers yet
        fragile.stop()
        fragile.wipe()

        _submit(node, tokens[SENDER], "2")
        assert _inbox(node, tokens[INBOX]) == 2, "polled channels go on without the broker"
        assert httpx2.get(f"{node.url}/health/ready", timeout=10).status_code == 200
        node.start("deliver")
        told = node.run("--lang", "en", "doctor")
        assert told.returncode == 1
        assert "Nobody answers as a broker" in told.stdout
        assert _arrived(tmp_path / "thu-muc") == []

        fragile.start_again()
        began = time.monotonic()
        until(lambda: len(_arrived(tmp_path / "thu-muc")) == 2, timeout=float(again) + 30)
        assert time.monotonic() - began < 120
        node.assert_alive()
        assert node.run("account").returncode == 0
        before = time.monotonic()
        node.stop()
        assert time.monotonic() - before < 10


def _waiting(broker: Broker) -> int:
    """Tickets in the broker's queue for ordinary documents; its own figures in the management interface are late."""
    return next(each.messages for each in look_at_broker(broker.access("/")).queues if NORMAL in each.name)
