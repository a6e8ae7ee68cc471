"""docs/guides/vendor.md: its code runs as it stands there, and what it makes and shows has no finding at all."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edxml import REPAIRS, STRICT, BusinessKind, StatusPacket, read, validate, write
from edxml.rules import DOCUMENT_RULES, READING_RULES, STATUS_RULES
from edxml.rules.numbers import VIETNAM

HOUSE = Path(__file__).parents[3]
GUIDE = (HOUSE / "docs/guides/vendor.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder in which the guide's code ran, and the names it leaves."""
    folder = tmp_path_factory.mktemp("vendor")
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks("python"):
            exec(compile(block, "vendor.md", "exec"), names)
    finally:
        os.chdir(before)
    return folder, names


def all_findings(data: bytes) -> list[str]:
    result = read(io.BytesIO(data), profile=STRICT, check_schema=True)
    assert result.packet is not None
    found = [*result.findings, *validate(result.packet, today=datetime.now(VIETNAM).date())]
    return [f"{finding.code} {finding.place}" for finding in found]


def test_what_the_guide_writes_has_no_finding(made: tuple[Path, dict[str, Any]]) -> None:
    folder, names = made
    for name in ("van-ban.edxml", "trang-thai.edxml"):
        assert all_findings((folder / name).read_bytes()) == []
    assert (folder / "nhan-1.pdf").read_bytes() == (folder / "cong-van.pdf").read_bytes()
    assert isinstance(names["status"], StatusPacket)


def test_recall_update_and_replacement_have_no_finding(made: tuple[Path, dict[str, Any]]) -> None:
    folder, names = made
    kinds = {"recall": BusinessKind.RECALL, "update": BusinessKind.UPDATE, "replacement": BusinessKind.REPLACEMENT}
    for name, kind in kinds.items():
        packet = names[name]
        assert packet.business_kind is kind
        out = io.BytesIO()
        write(packet, out, open_attachment=lambda file: [(folder / file.name).read_bytes()])
        assert all_findings(out.getvalue()) == []


def test_the_sample_packet_has_no_finding() -> None:
    (sample,) = blocks("xml")
    assert all_findings(sample.encode()) == []
    assert all_findings(sample.replace("<edXML:CodeNumber>123", "<edXML:CodeNumber>7").encode()) != []


def test_the_sample_packet_passes_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mau.edxml"
    path.write_text(blocks("xml")[0], "utf-8")
    asked = subprocess.run(
        [sys.executable, "-m", "gateway", "packet", "check", str(path), "--json"], cwd=HOUSE, capture_output=True
    )
    assert asked.returncode == 0, asked.stderr
    assert b'"findings": []' in asked.stdout or b'"findings":[]' in asked.stdout


def test_every_rule_that_the_guide_names_is_one() -> None:
    known = {rule.id for rule in (*DOCUMENT_RULES, *STATUS_RULES, *READING_RULES)} | REPAIRS
    table = re.findall(r"^\|.*\| (`[a-z_`, 0-9]+`) \|$", GUIDE, re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) >= 13
    assert named <= known
