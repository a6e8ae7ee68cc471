"""Inspection on a real node: it inspects what it accepted, lets the inspector go, and survives its kills."""

# ruff: noqa: F811 - fixtures are taken from tests.support.inspectors

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest

from routing.rows import load_nghe_an
from tests.support.certificates import Authority
from tests.support.inspectors import root, start, trust  # noqa: F401
from tests.support.packets import build_packet
from tests.support.patience import until
from tests.support.pdfs import plain_pdf, sign_pdf, slow_pdf
from tests.support.processes import NodeProcesses

DAY = date(2025, 10, 1)
SENDER, INBOX = "na-so-stc", "na-xa-16681-2025"
_ROWS = f"""
[[channel]]
id = "hop-thu"
kind = "inbox"
serves = ["{INBOX}"]
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcesses]:
    settings = {"today": DAY.isoformat(), "sweep": "0.2", "inspect_idle": "1"}
    with NodeProcesses(tmp_path / "nut", settings) as processes:
        assert processes.run("init").returncode == 0
        (tmp_path / "kenh.toml").write_text(_ROWS, "utf-8")
        assert processes.run("apply", str(tmp_path / "kenh.toml")).returncode == 0
        yield processes


def _client(node: NodeProcesses) -> httpx2.Client:
    made = node.run("system", "add", "s-stc", "--speaks-for", SENDER, "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["token"]
    return httpx2.Client(base_url=node.url, headers={"authorization": f"Bearer {token}"}, timeout=30)


def _send(client: httpx2.Client, file: bytes, number: str) -> str:
    directory = load_nghe_an()
    organs = []
    for agency_id in (SENDER, INBOX):
        agency = directory.by_id(agency_id)
        assert agency is not None
        code = agency.organ_code_on(DAY)
        assert code is not None
        organs.append(code.code)
    body = build_packet(sender=organs[0], recipients=organs[1:], number=number, files=(("van-ban.pdf", file),))
    got = client.post("/v1/packets", content=body, headers={"content-type": "application/xml"})
    assert got.status_code == 202, got.text
    return str(got.json()["packet_id"])


def _told(client: httpx2.Client, packet_id: str) -> list[dict[str, Any]]:
    got = client.get(f"/v1/packets/{packet_id}")
    assert got.status_code == 200, got.text
    return [line for line in got.json()["verdicts"] if line["about"] == "file"]


def _inspectors(parent: int) -> list[int]:
    """Processes of the inspector below a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            status = (path / "status").read_text("ascii", "replace")
        except OSError:
            continue
        if b"gateway.inspector" in words and f"PPid:\t{parent}\n" in status:
            found.append(int(path.name))
    return found


def test_a_node_inspects_what_it_accepted_and_lets_the_inspector_go(node: NodeProcesses, root: Authority) -> None:
    node.start("serve")
    with _client(node) as client:
        packet_id = _send(client, sign_pdf(plain_pdf(), root.issue("UBND xa Mot")), "10")
        until(lambda: _told(client, packet_id))
        (line,) = _told(client, packet_id)
        assert (line["verdict"], line["standing"], line["code"]) == ("unchecked", "open", "inspection.unchecked")
        assert line["evidence"]["coverage"] == "whole"
        assert line["evidence"]["state"] == "unknown"
        assert "UBND xa Mot" in line["vi"]
        shown = node.run("document", "show", packet_id)
        assert "UBND xa Mot" in shown.stdout
    until(lambda: _inspectors(node.pid("serve")) == [])
    resident = Path(f"/proc/{node.pid('serve')}/status").read_text("ascii")
    mib = int(next(line for line in resident.splitlines() if line.startswith("VmRSS")).split()[1]) >> 10
    assert mib <= 130, "it has 118 once it has worked, and what reads PDFs would be 18 more"
    node.assert_alive()


def test_the_inspector_is_killed_on_the_way_and_the_verdict_still_comes(node: NodeProcesses) -> None:
    node.settings |= {"inspect_memory_mib": "2048"}
    node.start("serve")
    with _client(node) as client:
        packet_id = _send(client, slow_pdf(400_000), "10")
        until(lambda: _inspectors(node.pid("serve")))
        (pid,) = _inspectors(node.pid("serve"))
        time.sleep(0.5)
        if not _told(client, packet_id):
            os.kill(pid, signal.SIGKILL)
        until(lambda: _told(client, packet_id))
        assert [line["verdict"] for line in _told(client, packet_id)] == ["unsigned"]
        assert client.get("/v1/packets").status_code == 200
    node.assert_alive()


@pytest.mark.long  # test_crash_points.py kills at each of them once
@pytest.mark.parametrize("point", ["inspect.begun", "inspect.kept", "inspect.followed"])
def test_killed_at_each_point_a_node_gives_each_file_one_verdict(node: NodeProcesses, point: str) -> None:
    node.start("api")
    with _client(node) as client:
        texts = {"10": "known when it comes", "11": "/Sig says that it is looked at closely"}
        packet_ids = [_send(client, plain_pdf(text), number) for number, text in texts.items()]
        node.start("inspect", crash_at=point)
        node.wait_killed("inspect")
        node.start("inspect")
        for packet_id in packet_ids:
            until(lambda packet_id=packet_id: _told(client, packet_id))
            assert [line["verdict"] for line in _told(client, packet_id)] == ["unsigned"]
            kinds = [line["kind"] for line in client.get(f"/v1/packets/{packet_id}").json()["timeline"]]
            assert kinds.count("packet.inspected") == 1
    node.assert_alive()
