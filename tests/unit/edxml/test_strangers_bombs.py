"""What costs more than it weighs: many ZIPs just below the limit, blanks without end, elements without number."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edxml import Packet, open_decoded, read
from edxml.limits import DEFAULT_LIMITS
from edxml.rules.examples import GOOD_DOCUMENT
from edxml.rules.reading import example_bytes

GOOD = example_bytes(GOOD_DOCUMENT).decode()
CONTENT = GOOD[GOOD.index('QCVN_102_2016">', GOOD.index("<edXML:ContentTransferEncoded")) + 15 :].partition("<")[0]
FILE = GOOD[GOOD.index("    <Attachment>") : GOOD.index("</Attachment>") + len("</Attachment>\n")]
HOUSE = Path(__file__).parents[3]


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("tep", data)
    return out.getvalue()


def packet_of(*files: bytes) -> bytes:
    """A packet whose files, all named .pdf, hold these bytes."""
    named = (
        FILE.replace("cid:1", f"cid:{at}")
        .replace("van-ban.pdf", f"{at}.pdf")
        .replace(CONTENT, base64.b64encode(data).decode())
        for at, data in enumerate(files, 1)
    )
    return GOOD.replace(FILE, "".join(named)).encode()


def test_many_zips_are_one_bomb() -> None:
    almost = zipped(bytes(15 << 20))
    result = read(io.BytesIO(packet_of(*[almost] * 20)))
    bombs = [finding for finding in result.findings if finding.code == "edxml.zip_bomb"]
    assert len(bombs) == 19
    assert isinstance(result.packet, Packet)
    assert sum(file.length for file in result.packet.attachments) < 16 << 20


def test_many_honest_zips_are_none() -> None:
    words = b"".join(hashlib.sha256(str(at).encode()).hexdigest().encode() * 20 for at in range(4_000))  # 5 MB, 1 : 30
    result = read(io.BytesIO(packet_of(*[zipped(words)] * 8)))
    assert [finding.code for finding in result.findings if finding.code == "edxml.zip_bomb"] == []


class Taken:
    """A sink that keeps digests."""

    def __init__(self) -> None:
        self.digests: list[str] = []

    def begin(self, position: int, name: str, content_type: str) -> None:
        self._sha = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._sha.update(data)

    def end(self, attachment: object) -> None:
        self.digests.append(self._sha.hexdigest())


def test_what_reading_unpacked_opens_again_whatever_the_pieces() -> None:
    """Twenty megabytes of nothing and then noise: on the way the ratio is worse than in the end."""
    data = bytes(20 << 20) + os.urandom(1 << 20)
    packet, taken = packet_of(zipped(data)), Taken()
    result = read(io.BytesIO(packet), on_attachment=taken)
    assert isinstance(result.packet, Packet)
    (file,) = result.packet.attachments
    if file.encoding != "zip":
        pytest.fail(f"not unpacked: {[finding.code for finding in result.findings]}")
    assert taken.digests == [file.digest] == [hashlib.sha256(data).hexdigest()]
    assert b"".join(open_decoded(io.BytesIO(packet), file)) == data


class Endless(io.RawIOBase):
    """A packet with `count` times a piece in its middle, never held whole."""

    def __init__(self, head: bytes, piece: bytes, count: int, tail: bytes) -> None:
        self._pieces = self._all(head, piece, count, tail)

    @staticmethod
    def _all(head: bytes, piece: bytes, count: int, tail: bytes) -> Iterator[bytes]:
        yield head
        for _ in range(count):
            yield piece
        yield tail

    def read(self, size: int = -1) -> bytes:
        return next(self._pieces, b"")


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_blanks_behind_a_section_are_not_kept() -> None:
    before, after = GOOD.replace(CONTENT, f"<![CDATA[{CONTENT}]]>\0").encode().split(b"\0")
    read(io.BytesIO(before + after))
    base, began = peak(), time.process_time()
    result = read(Endless(before, b"\n" * (1 << 17), 800, after))  # type: ignore[arg-type]  # read is all that is asked
    assert not result.is_refused
    assert peak() - base < 16
    assert time.process_time() - began < 20


NEARLY = DEFAULT_LIMITS.elements - 500
_MEASURE = """
import io, sys, time
from datetime import date
from edxml import read
from edxml.limits import DEFAULT_LIMITS
from edxml.rules.examples import GOOD_DOCUMENT
from edxml.rules.reading import example_bytes
good, hostile = example_bytes(GOOD_DOCUMENT), open(sys.argv[1], "rb").read()
how = {"check_schema": True, "check_rules": True, "today": date(2026, 11, 26)}
read(io.BytesIO(good.replace(b"<edXML:Subject>", b"<a/><edXML:Subject>")), **how)  # what explains takes room once


def memory(what):
    with open("/proc/self/status") as told:  # of this program; getrusage tells its parent's too
        return next(int(line.split()[1]) for line in told if line.startswith(what))

base, began = memory("VmRSS"), time.process_time()
read(io.BytesIO(hostile), **how)
print((memory("VmHWM") - base) // 1024, time.process_time() - began)
"""


@pytest.mark.parametrize(
    ("piece", "count"),
    [
        ("<d/>", NEARLY),
        ("<d/>", 900_000),
        ("<edXML:To/>", NEARLY),
        ("<edXML:To></edXML:To>", NEARLY),
        ("<edXML:TraceHeader/>", NEARLY),
        ("<edXML:Priority/>", NEARLY),
        ("<?p?>", 700_000),
    ],
)
def test_elements_cost_no_more_than_they_may(piece: str, count: int, tmp_path: Path) -> None:
    hostile = tmp_path / "nhieu.edxml"
    before, after = GOOD.split("<edXML:Subject>") if "Trace" not in piece else GOOD.split("<edXML:TraceHeader>")
    opening = "<edXML:TraceHeader>" if "Trace" in piece else "<edXML:Subject>"
    hostile.write_bytes((before + piece * count + opening + after).encode())
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(hostile)],
        capture_output=True,
        text=True,
        check=True,
        cwd=HOUSE,
        timeout=240,
    )
    grown, seconds = done.stdout.split()
    assert int(grown) <= 32
    assert float(seconds) < 10  # of processor time; 1 s for 1 MB on an idle machine is measured by the bench
