"""Two machines of one node at work, one of them killed again and again: nothing lost, nothing twice (long)."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import httpx2
import pytest

from tests.service.test_processes import DAY, INBOX, SENDER, _arrived, _configure, _submit
from tests.support.postgres import cluster
from tests.support.processes import NodeProcesses
from tests.support.rabbitmq import Broker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.xdist_group("rabbitmq")]

PATIENCE = 300.0
LETTERS = 60
EVERY = 6  # letters from one kill to the next


def _machines(folder: Path, broker: Broker | None) -> tuple[NodeProcesses, NodeProcesses]:
    """Two data folders, one folder of packets, one database; nothing runs."""
    blobs = folder / "goi-tin"
    blobs.mkdir()
    shared = {
        "today": DAY, "look": "0.3", "sweep": "0.3", "lease": "3", "announce_again": "2", "blobs": str(blobs),
        "database": cluster().create(), "disk_reserve_mib": "1",
    }  # fmt: skip
    if broker is not None:
        shared |= {"broker": broker.url("/")} | {f"broker_{name}": str(path) for name, path in broker.files.items()}
    one, two = (NodeProcesses(folder / name, dict(shared)) for name in ("may-1", "may-2"))
    assert one.run("init").returncode == 0
    refused = two.run("relay")
    assert refused.returncode == 4, "a further machine makes no keys of its own"
    shutil.copytree(one.data / "keys", two.data / "keys")
    return one, two


def _at_work(folder: Path, broker: Broker | None) -> None:
    one, two = _machines(folder, broker)
    if broker is not None:
        applied = one.run("broker", "apply")
        assert applied.returncode == 0, applied.stderr
    tokens = _configure(one, folder / "thu-muc")
    with one, two:
        one.start("serve")
        two.start("serve")
        sent = []
        for number in range(LETTERS):
            sent.append(_submit(two if number % 2 else one, tokens[SENDER], str(number)))
            if number % EVERY == EVERY - 1:
                two.kill("serve")
                two.start("serve")
        deadline = time.monotonic() + PATIENCE
        while len(_arrived(folder / "thu-muc")) < LETTERS:
            assert time.monotonic() < deadline, "what was accepted is handed over"
            time.sleep(0.2)
        headers = {"authorization": f"Bearer {tokens[INBOX]}"}
        for machine in (one, two):
            items = httpx2.get(f"{machine.url}/v1/inbox?limit=500", headers=headers, timeout=60).json()["items"]
            assert sorted(item["packet_id"] for item in items) == sorted(sent), "each once, on whichever machine"
        assert two.kills == LETTERS // EVERY
    assert len(_arrived(folder / "thu-muc")) == LETTERS, "never a second copy"
    for machine in (one, two):
        assert machine.run("account").returncode == 0
    assert not [path for path in (folder / "goi-tin" / "spool").rglob("*") if path.is_file()]


def test_two_machines_by_their_database_alone(tmp_path: Path) -> None:
    _at_work(tmp_path, None)


def test_two_machines_by_a_broker(broker: Broker, tmp_path: Path) -> None:
    _at_work(tmp_path, broker)
