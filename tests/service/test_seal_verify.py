"""`truc seal verify`: what a node sealed is checked by anybody, offline, with nothing but files."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edxml.packet import Packet
from edxml.read import read
from edxml.seal import SealKey, SealStatement, generate_seal_key, load_seal_key, make_seal
from gateway.cli.app import main
from tests.support.certificates import Authority
from tests.support.edge import RunningApi, running_api
from tests.support.packets import build_packet
from tests.support.processes import need_program

HOUSE: Final = Path(__file__).resolve().parents[2]
FILES: Final = (("van-ban.pdf", b"%PDF-1.7 " + b"a" * 5_000), ("phu-luc.pdf", b"%PDF-1.7 " + b"b" * 9_000))


@dataclass(frozen=True, slots=True)
class Desk:
    """Somebody's folder, with what was fetched from a node."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def truc(self, *arguments: str, code: int = 0) -> str:
        """What `truc seal verify` answers; never a traceback, never a bare code."""
        self.capsys.readouterr()
        found = main(["seal", "verify", *arguments, "--lang", "en"])
        out, err = self.capsys.readouterr()
        assert found == code, (arguments, out, err)
        assert "Traceback" not in out + err
        assert not re.search(r"\b(seal_told|help)\.|\{\w+\}", out + err)
        return out + err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.truc(*arguments, "--certificate", "nut.pem", "--json", code=code))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def desk(api: RunningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.chdir(tmp_path)
    body = b"\xef\xbb\xbf" + api.packet(files=FILES)
    sent = api.send(body)
    Path("goi.edxml").write_bytes(body)
    Path("dau.xml").write_bytes(api.sender.get(f"/v1/packets/{sent['packet_id']}/seal").content)
    Path("nut.pem").write_bytes(api.sender.get("/v1/seal-certificates.pem").content)
    return Desk(tmp_path, capsys)


def test_what_was_sealed_is_told_whole(desk: Desk, api: RunningApi) -> None:
    found = desk.json("goi.edxml", "dau.xml")
    assert found["is_right"] is True
    assert found["differences"] == []
    assert found["node"] == api.node.name
    assert [one["length"] for one in found["attachments"]] == [len(data) for _, data in FILES]
    assert found["repairs"] == ["bom"]
    assert found["recipients"]
    said = desk.truc("goi.edxml", "dau.xml", "--certificate", "nut.pem")
    for thing in (found["packet_digest"], found["sender"], *found["recipients"], found["certificate"]["fingerprint"]):
        assert thing in said


def test_a_folder_of_certificates_is_enough(desk: Desk) -> None:
    trust = desk.folder / "tin-cay"
    trust.mkdir()
    (trust / "khac.crt").write_bytes(generate_seal_key("khác")[1])
    (trust / "doc-toi.txt").write_text("not a certificate")
    desk.truc("goi.edxml", "dau.xml", "--trust", "tin-cay", code=1)
    (desk.folder / "nut.pem").rename(trust / "nut.pem")
    desk.truc("goi.edxml", "dau.xml", "--trust", "tin-cay")


def test_an_altered_packet_is_told_part_by_part(desk: Desk) -> None:
    whole = Path("goi.edxml").read_bytes()
    one = b64encode(FILES[1][1])
    Path("khac.edxml").write_bytes(whole.replace(one, b64encode(FILES[1][1][:-1] + b"!")))
    found = desk.json("khac.edxml", "dau.xml", code=1)
    assert [one["code"] for one in found["differences"]] == ["seal.packet_digest", "seal.attachment"]
    assert found["differences"][1]["params"]["position"] == 2
    Path("subject.edxml").write_bytes(whole.replace(b"<edXML:Subject>", b"<edXML:Subject>K", 1))
    codes = [one["code"] for one in desk.json("subject.edxml", "dau.xml", code=1)["differences"]]
    assert codes == ["seal.packet_digest", "seal.packet_size"], "the files are as they were"
    Path("cut.edxml").write_bytes(whole[:-30])
    codes = [one["code"] for one in desk.json("cut.edxml", "dau.xml", code=1)["differences"]]
    assert codes == ["seal.packet_digest", "seal.packet_size", "seal.packet_unreadable"]
    Path("bare.edxml").write_bytes(build_packet(files=FILES[:1]))
    codes = [one["code"] for one in desk.json("bare.edxml", "dau.xml", code=1)["differences"]]
    assert "seal.attachment_count" in codes
    assert "not the packet" in desk.truc("bare.edxml", "dau.xml", "--certificate", "nut.pem", code=1)


def test_an_altered_or_foreign_seal_proves_nothing(desk: Desk) -> None:
    seal = Path("dau.xml").read_bytes()
    for name, data, code in (
        ("size", seal.replace(b"<Size>", b"<Size>1"), "seal.altered"),
        ("form", seal + b"\n", "seal.form"),
        ("empty", b"", "seal.form"),
        ("large", b"x" * (1 << 21), "seal.form"),
        ("binary", b"\xff\x00", "seal.form"),
    ):
        Path(name).write_bytes(data)
        assert desk.json("goi.edxml", name, code=1)["code"] == code
    Path("la.pem").write_bytes(generate_seal_key("lạ")[1])
    assert "[seal.untrusted]" in desk.truc("goi.edxml", "dau.xml", "--certificate", "la.pem", code=1)


def test_what_cannot_be_read_ends_with_two(desk: Desk) -> None:
    pin = ("--certificate", "nut.pem")
    desk.truc("khong-co.edxml", "dau.xml", *pin, code=2)
    desk.truc("goi.edxml", "khong-co.xml", *pin, code=2)
    desk.truc("goi.edxml", "dau.xml", "--certificate", "khong-co.pem", code=2)
    desk.truc("goi.edxml", "dau.xml", "--certificate", "goi.edxml", code=2)
    desk.truc("goi.edxml", "dau.xml", "--trust", "khong-co", code=2)
    assert "GET /v1/seal-certificates" in desk.truc("goi.edxml", "dau.xml", code=2)
    desk.truc(".", "dau.xml", *pin, code=2)


def test_xmlsec1_verifies_the_seal_without_us(desk: Desk) -> None:
    command = [
        need_program("xmlsec1", "xmlsec1"), "--verify", "--trusted-pem", "nut.pem", "--id-attr:Id", "Statement",
        "--id-attr:Id", "SignedProperties", "dau.xml",
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True, timeout=240).returncode == 0
    seal = Path("dau.xml").read_bytes()
    Path("dau.xml").write_bytes(seal.replace(b"<Size>", b"<Size>1"))
    assert subprocess.run(command, capture_output=True, timeout=240).returncode != 0


def test_a_certificate_of_an_authority_is_trusted_through_it(desk: Desk) -> None:
    authority = Authority("Gốc")
    who = authority.issue("nghe-an", days=(3650, 3650))
    body = Path("goi.edxml").read_bytes()
    Path("dau.xml").write_bytes(make_seal(statement_of(body), load_seal_key(who.key_pem, who.certificate_pem)))
    Path("nut.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    assert "Gốc" in desk.json("goi.edxml", "dau.xml")["certificate"]["trusted_by"]


def statement_of(body: bytes) -> SealStatement:
    """What a node would state of a packet."""
    result = read(io.BytesIO(body))
    assert isinstance(result.packet, Packet)
    return SealStatement(
        packet_id="0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f", node="nghe-an", packet_digest=result.wire_digest,
        size=len(body), attachments=tuple((a.digest, a.length) for a in result.packet.attachments), sender="H99.01",
        recipients=("H99.02",), accepted_at=datetime.now(UTC),
    )  # fmt: skip


def test_a_large_packet_takes_the_memory_of_a_small_one(tmp_path: Path) -> None:
    """48 MB of attachment in a process of its own: its peak stays within some MiB of a small packet's."""
    key_pem, certificate = generate_seal_key("nghe-an")
    key: SealKey = load_seal_key(key_pem, certificate)
    (tmp_path / "nut.pem").write_bytes(certificate)
    peaks = []
    for name, size in (("small", 1_000), ("large", 48_000_000)):
        body = build_packet(files=(("a.bin", b"%PDF" + b"a" * size),))
        (tmp_path / name).write_bytes(body)
        (tmp_path / "seal").write_bytes(make_seal(statement_of(body), key))
        code = (
            "import re, sys; from gateway.cli.app import main;"
            f"code = main(['seal', 'verify', '{name}', 'seal', '--certificate', 'nut.pem']);"
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(HOUSE), "PATH": "/usr/bin"},
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 8 * 1024, f"KiB: {peaks}"
