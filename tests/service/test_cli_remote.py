"""`truc send` and `truc inbox` against a real node over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import TODAY, build_house, organ
from tests.support.packets import build_packet
from tests.support.processes import NodeProcesses


class Clerks:
    """Systems of two agencies at their terminals, in front of one node."""

    def __init__(self, node: NodeProcesses, folder: Path) -> None:
        self._node = node
        self.folder = folder
        self._tokens: dict[str, str] = {}
        for agency in ("sender", "inbox-a"):
            rotated = node.run("system", "rotate", f"s-{agency}", "--json")
            self._tokens[agency] = json.loads(rotated.stdout)["token"]

    def truc(self, agency: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command as the agency's system."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
        remote = {"TRUC_URL": self._node.url, "TRUC_TOKEN": self._tokens[agency], "TRUC_LANGUAGE": "vi"}
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env=own | remote, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, agency: str, *arguments: str, code: int = 0) -> Any:
        """The same with --json."""
        return json.loads(self.truc(agency, *arguments, "--json", code=code).stdout)

    def write(self, name: str, content: bytes) -> str:
        """A packet in a file."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)


@pytest.fixture
def clerks(tmp_path: Path) -> Iterator[Clerks]:
    """A node that serves, with its agencies on polled channels."""
    build_house(tmp_path).close()
    settings = {"node": "thu", "today": TODAY, "disk_reserve_mib": "1"}
    with NodeProcesses(tmp_path / "data", settings) as node:
        made = Clerks(node, tmp_path)
        node.start("api")
        yield made


def test_a_packet_goes_out_and_comes_in_by_two_terminals(clerks: Clerks) -> None:
    packet = build_packet(sender=organ("sender"), recipients=[organ("inbox-a"), organ("inbox-b")])
    file = clerks.write("van-ban.edxml", packet)
    would = clerks.json("sender", "send", "--check", file)
    assert would[0]["answer"]["would_be_accepted"]
    assert clerks.json("inbox-a", "inbox", "list") == [], "a check sends nothing"
    sent = clerks.json("sender", "send", file)[0]["answer"]
    assert not sent["is_repeat"]
    assert clerks.json("sender", "send", file)[0]["answer"]["is_repeat"]
    (item,) = clerks.json("inbox-a", "inbox", "list", "--wait", "5")
    assert clerks.json("inbox-a", "inbox", "list", "--all") == [item]
    fetched = clerks.json("inbox-a", "inbox", "fetch", "--all", "--confirm", "-d", str(clerks.folder / "den"))
    assert fetched[0]["delivery"] == item["delivery_id"]
    assert fetched[0]["state"] == "delivered"
    assert Path(fetched[0]["path"]).read_bytes() == packet
    assert Path(fetched[0]["path"]).name == f"{item['key']}.edxml"
    assert not list((clerks.folder / "den").glob(".*")), "no half-written file is left"
    shown = clerks.truc("sender", "document", "show", sent["document_id"], "--url", clerks._node.url).stdout
    assert "Cơ quan inbox-a" in shown
    assert "đã giao" in shown
    assert "Diễn biến" in shown


def test_one_refused_packet_does_not_hold_up_the_others(clerks: Clerks) -> None:
    good = clerks.write("tot.edxml", build_packet(sender=organ("sender"), recipients=[organ("inbox-a")]))
    bad = clerks.write("hong.edxml", b"<x/>")
    foreign = clerks.write("la.edxml", build_packet(sender=organ("inbox-b"), recipients=[organ("inbox-a")], number="9"))
    told = clerks.truc("sender", "send", bad, good, code=1)
    assert "dòng 1" in told.stdout
    assert "[packet.refused]" in told.stderr
    assert "trục đã tiếp nhận" in told.stdout
    rows = clerks.json("sender", "send", foreign, code=7)
    assert rows[0]["problem"]["code"].startswith("identity.")
    assert len(clerks.json("inbox-a", "inbox", "list")) == 1


def test_recipients_can_be_picked_out_of_the_packet(clerks: Clerks) -> None:
    recipients = [organ("inbox-a"), organ("inbox-b"), organ("nowhere")]
    file = clerks.write("van-ban.edxml", build_packet(sender=organ("sender"), recipients=recipients))
    clerks.truc("sender", "send", file, code=1)
    some = clerks.json("sender", "send", file, "--recipients", "some")[0]["answer"]
    assert [line["state"] for line in some["recipients"]] == ["available", "available", "undeliverable"]
    other = clerks.write("khac.edxml", build_packet(sender=organ("sender"), recipients=recipients, number="2"))
    only = clerks.json("sender", "send", other, "--to", f"{organ('inbox-b')}")[0]["answer"]
    assert [line["organ_id"] for line in only["recipients"]] == [organ("inbox-b")]


def test_items_are_refused_with_a_reason_and_foreign_ones_not_at_all(clerks: Clerks) -> None:
    file = clerks.write("van-ban.edxml", build_packet(sender=organ("sender"), recipients=[organ("inbox-a")]))
    clerks.truc("sender", "send", file)
    (item,) = clerks.json("inbox-a", "inbox", "list")
    clerks.truc("sender", "inbox", "refuse", item["delivery_id"], "--reason", "không phải của tôi", code=7)
    clerks.truc("inbox-a", "inbox", "fetch", item["delivery_id"], "-d", str(clerks.folder))
    refused = clerks.json("inbox-a", "inbox", "refuse", item["delivery_id"], "--reason", "Gửi nhầm nơi nhận")
    assert clerks.json("inbox-a", "inbox", "list") == []
    (told,) = clerks.json("sender", "inbox", "list", "--agency", organ("sender"))
    assert told["packet_id"] == refused[0]["packet"]
    assert told["status_code"] == "02"
    clerks.truc("inbox-a", "inbox", "refuse", item["delivery_id"], code=2)
