"""Packets of hundreds of kilobytes with one byte flipped: `python -m tests.fuzz.flips SECONDS SEED`, from `make fuzz`.

The bytes of the markup are flipped first, each once in an order of chance, then any bytes: as many as the time allows.
The packets are our own of every dialect and encoding, and the official samples where they lie beside the house.  Each
must end in a verdict that says where, within a second, without the process growing.
"""

from __future__ import annotations

import io
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edxml import Dialect, Packet, read
from tests.fuzz.targets import TODAY, check_files, check_findings
from tests.support.packets import build_packet, random_attachments
from tests.support.soap import build_soap

__all__ = ["big_packets", "flip_and_read", "run"]

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "edxml"
GROWTH = 32 << 10  # KiB
SLOWEST = 1.0  # seconds of processor time
_BIG = 100_000  # bytes


def big_packets() -> Iterator[tuple[str, bytes]]:
    """Right packets by name, each of some hundred kilobytes."""
    files = random_attachments(5, count=2, largest=200_000)
    for dialect in (Dialect.A, Dialect.B):
        yield f"dialect {dialect}", build_packet(files=files, dialect=dialect)
    yield "utf-16", build_packet(files=files).decode().replace("UTF-8", "UTF-16").encode("utf-16")
    for transfer in ("base64", "binary", "quoted-printable"):
        yield f"dialect D, {transfer}", build_soap(files=files, transfer=transfer)
    for path in sorted(SAMPLES.glob("*.edxml")):
        if (data := path.read_bytes()) and len(data) > _BIG:
            yield path.name, data


def flip_and_read(data: bytes, at: int, bits: int) -> None:
    """One byte of `data` changed: what must hold of any bytes. Raises AssertionError where it does not."""
    flipped = data[:at] + bytes((data[at] ^ bits,)) + data[at + 1 :]
    began = time.process_time()
    result = read(io.BytesIO(flipped), today=TODAY, check_rules=True)
    taken = time.process_time() - began
    assert taken < SLOWEST, f"byte {at} ^ {bits}: {taken:.2f} s"
    assert result.is_refused or result.is_complete
    check_findings(result.findings)
    if isinstance(result.packet, Packet):
        check_files(flipped, result.packet)


def spots(data: bytes, dice: random.Random) -> Iterator[int]:
    """Offsets to flip: first all that stand outside of attachments, in any order; then any, for ever."""
    packet = read(io.BytesIO(data)).packet
    assert isinstance(packet, Packet)
    spans = [file.span for file in packet.attachments]
    markup = [at for at in range(len(data)) if not any(start <= at < end for start, end in spans)]
    dice.shuffle(markup)
    yield from markup
    while True:
        yield dice.randrange(len(data))


def peak() -> int:
    """KiB of memory that this process has used at most."""
    with open("/proc/self/status") as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmHWM"))


def run(seconds: float, seed: int) -> int:
    """Flip for that long, the packets in turn; gives the number of bytes flipped. Raises as `flip_and_read`."""
    dice = random.Random(seed)
    packets = list(big_packets())
    for _, data in packets:
        for _ in range(3):
            read(io.BytesIO(data), today=TODAY, check_rules=True)
    idle, count = peak(), 0
    for number, (name, data) in enumerate(packets):
        until = time.monotonic() + seconds / len(packets)
        for at in spots(data, dice):
            if time.monotonic() > until:
                break
            bits = dice.randrange(1, 256)
            try:
                flip_and_read(data, at, bits)
            except Exception as why:
                why.add_note(f"{name}: byte {at} ^ {bits}, SEED={seed}")
                raise
            count += 1
        assert peak() - idle < GROWTH, f"{name} ({number}): {peak() - idle} KiB above idle"
    return count


if __name__ == "__main__":
    print(f"flips    {run(float(sys.argv[1]), int(sys.argv[2])):>17} bytes in packets of hundreds of KB          ok")
