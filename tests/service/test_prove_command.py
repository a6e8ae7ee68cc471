"""`truc prove` against a real node: a proof passes, a lie in its ledgers is named, real agencies are safe."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import httpx2
import pytest

from gateway.configuration import apply, parse
from gateway.identity import rotate_token
from gateway.model.instants import SECOND, new_id, wall_now
from gateway.prove.ledger import Ledger, Reported, Seen, read_record
from gateway.prove.marks import SYSTEM, TestAgency, configuration
from gateway.prove.plan import plan
from tests.support.clients import FAST, Home, make_home
from tests.support.processes import NodeProcesses
from tests.support.terminal import Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A running node with test agencies, and the folder of a proof that was made on it."""

    home: Home
    url: str
    token: str
    folder: Path


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proved]:
    folder = tmp_path_factory.mktemp("prove")
    home = make_home(folder)
    store = home.open()
    apply(store, parse(configuration("H99")), actor="test", on=date(2026, 11, 27))
    token = rotate_token(store, SYSTEM, actor="test").token
    store.close()
    with NodeProcesses(home.data, FAST | {"today": ""}) as node:
        node.start("serve")
        yield Proved(home=home, url=node.url, token=token, folder=folder / "ledgers")


def run(truc: Terminal, proved: Proved, *arguments: str, code: int = 0) -> str:
    return truc("prove", *arguments, "--into", str(proved.folder), "--url", proved.url, code=code)


@pytest.fixture(autouse=True)
def token(proved: Proved, truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert truc is not None  # it clears what the tester has set
    monkeypatch.setenv("TRUC_TOKEN", proved.token)


def make_proof(truc: Terminal, proved: Proved) -> None:
    """One for all tests of this module, by whichever comes first."""
    if not proved.folder.exists():
        run(truc, proved, "run", "--minutes", "0.05", "--rate", "20", "--seed", "3")
        *_, vi, en = truc.out.splitlines()
        assert "mất 0, nhận hai lần 0, không giải thích được 0" in vi
        assert "lost 0, seen twice 0, unexplained 0" in en
        assert en.endswith("seed 3")


def test_a_node_that_keeps_its_word_is_proved(truc: Terminal, proved: Proved) -> None:
    make_proof(truc, proved)
    run(truc, proved, "run", code=2)
    assert "prove.folder_used" in truc.err
    told = json.loads(run(truc, proved, "check", "--json"))
    record = read_record(proved.folder)
    assert told["is_proof"]
    assert told["judgement"]["packets"] == len({line.packet_id for line in record.told if line.is_accepted}) > 0


def copy_ledgers(proved: Proved, folder: Path) -> None:
    for name in ("proof.json", "told.jsonl", "seen.jsonl"):
        (folder / name).write_bytes((proved.folder / name).read_bytes())


def test_a_reported_status_that_the_node_does_not_know_is_lost(truc: Terminal, proved: Proved, tmp_path: Path) -> None:
    make_proof(truc, proved)
    copy_ledgers(proved, tmp_path)
    status = new_id()
    with Ledger(tmp_path) as ledger:
        ledger.write(Reported(agency="kiem-chung-hop-1", about=new_id(), packet_id=status))
    truc("prove", "check", "--into", str(tmp_path), "--url", proved.url, code=1)
    assert f"mất: {status}" in truc.out


def test_what_a_recipient_saw_twice_is_named(truc: Terminal, proved: Proved, tmp_path: Path) -> None:
    make_proof(truc, proved)
    copy_ledgers(proved, tmp_path)
    first = next(seen for seen in read_record(tmp_path).seen if not seen.is_status)
    with Ledger(tmp_path) as ledger:
        ledger.write(Seen(agency=first.agency, key="again", digest=first.digest, is_copy=True))
    truc("prove", "check", "--into", str(tmp_path), "--url", proved.url, code=1)
    assert f"nhận hai lần: {next(m.name for m in read_record(tmp_path).meant if m.digest == first.digest)}" in truc.out


def test_a_real_agencys_token_is_refused(
    truc: Terminal, proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUC_TOKEN", proved.home.tokens["don"])
    truc("prove", "run", "--into", str(tmp_path / "so"), "--url", proved.url, code=1)
    assert "prove.not_marked" in truc.err
    assert not (tmp_path / "so" / "proof.json").exists()


def test_where_nobody_made_the_test_agencies_it_says_how(truc: Terminal, tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with NodeProcesses(home.data, FAST | {"today": ""}) as node:
        node.start("serve")
        with pytest.MonkeyPatch.context() as words:
            words.setenv("TRUC_TOKEN", home.tokens["don"])
            truc("prove", "run", "--into", str(tmp_path / "so"), "--url", node.url, code=1)
    assert "truc prove agencies" in truc.err
    assert "prove.not_marked" in truc.err


def later_document(proved: Proved) -> bytes:
    """The first document of a proof that begins an hour from now, to one recipient."""
    sender = TestAgency(id="kiem-chung-gui-1", organ="H99.98.1", name="Cơ quan kiểm chứng: gửi 1")
    recipient = TestAgency(id="kiem-chung-hop-1", organ="H99.98.3", name="Cơ quan kiểm chứng: hộp 1")
    run = wall_now() // SECOND + 3600
    return next(plan(1, run, sender, [recipient], date(2026, 11, 27), follows=False)).body


def test_two_proofs_at_once_blame_nobody(truc: Terminal, proved: Proved, tmp_path: Path) -> None:
    """Both empty the same inboxes: the one that began first gives up at once, and leaves the other its documents."""
    headers = {"Authorization": f"Bearer {proved.token}", "Content-Type": "application/xml"}
    body = later_document(proved)
    sent = httpx2.post(f"{proved.url}/v1/packets", content=body, headers=headers, timeout=30, trust_env=False).json()
    begun = time.monotonic()
    truc("prove", "run", "--into", str(tmp_path / "so"), "--url", proved.url, "--minutes", "60", code=1)
    assert "prove.not_alone" in truc.err
    assert time.monotonic() - begun < 600, "it does not send for an hour what proves nothing"
    path = f"{proved.url}/v1/inbox?agency=kiem-chung-hop-1"
    items = httpx2.get(path, headers=headers, timeout=30, trust_env=False).json()["items"]
    assert sent["packet_id"] in {item["packet_id"] for item in items}
    [item] = [item for item in items if item["packet_id"] == sent["packet_id"]]
    taken = f"{proved.url}/v1/inbox/{item['delivery_id']}"
    httpx2.get(f"{taken}/packet", headers=headers, timeout=30, trust_env=False).raise_for_status()
    httpx2.post(f"{taken}/confirm", headers=headers, timeout=30, trust_env=False).raise_for_status()
    with Ledger(tmp_path / "so") as ledger:
        ledger.write(Reported(agency="kiem-chung-hop-1", about=new_id(), packet_id=new_id()))
    truc("prove", "check", "--into", str(tmp_path / "so"), "--url", proved.url, code=1)
    assert "lần kiểm chứng sau" in truc.err


def test_a_wrong_token_and_a_folder_without_a_proof(
    truc: Terminal, proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truc("prove", "check", "--into", str(tmp_path), "--url", proved.url, code=2)
    monkeypatch.setenv("TRUC_TOKEN", "truc_sai")
    truc("prove", "run", "--into", str(tmp_path / "so"), "--url", proved.url, code=7)
    assert "Mã truy cập không đúng" in truc.err, "the node's own sentence: nothing was proved, nothing given up"
    assert "identity.bad_token" in truc.err
    monkeypatch.delenv("TRUC_TOKEN")
    truc("prove", "run", "--into", str(tmp_path / "so"), "--url", proved.url, code=4)


def test_what_keeps_a_check_from_asking_is_said(
    truc: Terminal, proved: Proved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token counted as a defect of ours, and a node that is away as a file that cannot be read."""
    make_proof(truc, proved)
    truc(
        "prove", "check", "--into", str(proved.folder), "--url", "http://127.0.0.1:1", "--patience", "1", code=7
    )  # fmt: skip
    assert "[remote.unreachable]" in truc.err
    monkeypatch.setenv("TRUC_TOKEN", "truc_sai")
    run(truc, proved, "check", code=7)
    assert "[identity.bad_token]" in truc.err
