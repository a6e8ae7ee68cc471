"""The packet's bench runs: both sides of each pair do what is measured. Never how fast: that is `make bench`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.packet_stream import GeneratedPacket
from edxml import Packet, read

_REPOSITORY = Path(__file__).parents[2]


def test_every_figure_of_the_packet_is_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--packets", "--quick", "--json", str(figures)],
        cwd=_REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = {figure["name"].split(",")[0]: figure for figure in json.loads(figures.read_text())}
    assert next(iter(told)) == "full check"
    assert {"seal", "verify a signature"} <= told.keys()
    assert [figure["is_met"] for name, figure in told.items() if "MB" in name and "packet" in name] == [True, True]


def test_a_generated_packet_is_one_from_wherever_it_is_read() -> None:
    packet = GeneratedPacket(4_000_000)
    whole = io.BufferedReader(packet).read()
    assert len(whole) == packet.size
    packet.seek(-40, io.SEEK_END)
    assert packet.read(100) == whole[-40:]
    result = read(io.BytesIO(whole))
    assert isinstance(result.packet, Packet)
    assert not result.is_refused
    assert result.packet.attachments[0].length == packet.length
