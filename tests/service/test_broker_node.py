"""A real node on a real broker: documents go their way, the broker is wiped, and nobody lifts a hand."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.transport.rabbitmq import look_at_broker
from tests.service.test_processes import DAY, INBOX, SENDER, _arrived, _configure, _submit
from tests.support.announcing import NORMAL, until
from tests.support.processes import NodeProcesses
from tests.support.rabbitmq import Broker
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.fault]


@dataclass(frozen=True, slots=True)
class _Here:
    """Commands for the node, run in this process: a Python less for each."""

    truc: Terminal

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        self.truc(*arguments, code=code)
        return subprocess.CompletedProcess(arguments, code, self.truc.out, self.truc.err)


def _node(broker: Broker, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> NodeProcesses:
    files = {f"broker_{name}": path for name, path in broker.files.items()}
    usual = {"today": DAY, "look": "0.3", "sweep": "0.3", "broker": broker.url("/"), **files, **settings}
    node = NodeProcesses(folder / "nut", usual)
    for name in [name for name in os.environ if name.startswith("TRUC_")]:
        monkeypatch.delenv(name)
    for name, value in node.environment().items():
        monkeypatch.setenv(name, value)
    return node


def _inbox(node: NodeProcesses, token: str) -> int:
    """How many packets the polling agency is shfragile."""
    answer = httpx2.get(f"{node.url}/v1/inbox", headers={"authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["items"])


@pytest.mark.parametrize("again", ["5", pytest.param("60", marks=[pytest.mark.long, pytest.mark.timeout(400)])])
def test_after_a_wipe_all_that_is_due_is_handed_over_by_itself(
    fragile: Broker, tmp_path: Path, truc: Terminal, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Tickets that the broker took with it are announced again; what came while it was away is announced at last.

    The long run has the default `TRUC_ANNOUNCE_AGAIN` and shows the two minutes that are promised.
    """
    here = _Here(truc)
    with _node(fragile, tmp_path, monkeypatch, announce_again=again) as node:
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
        assert httpx2.get(f"{node.url}/health/ready", timeout=10).status_code == 200
        node.start("deliver")
        told = here.run("--lang", "en", "doctor", code=1)
        assert "Nobody answers as a broker" in told.stdout
        assert _arrived(tmp_path / "thu-muc") == []

        fragile.start_again()
        began = time.monotonic()
        until(lambda: len(_arrived(tmp_path / "thu-muc")) == 2, timeout=float(again) + 30)
        assert time.monotonic() - began < 120
        node.assert_alive()
        here.run("account")
        before = time.monotonic()
        node.stop()
        assert time.monotonic() - before < 10


def _waiting(broker: Broker) -> int:
    """Tickets in the broker's queue for ordinary documents; its own figures in the management interface are late."""
    return next(each.messages for each in look_at_broker(broker.access("/")).queues if NORMAL in each.name)
