"""A packet of any size that stands nowhere: its bytes follow from their place; and what reading it costs in memory.

    python -m benchmarks.packet_stream read|sign BYTES      prints how many bytes more the process held at its peak

A process of its own for each figure: a high-water mark never falls.
"""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.packets import PacketMaker, Party

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["GeneratedPacket", "grow"]

_BLOCK: Final = base64.b64encode(random.Random(7).randbytes(3 << 18))  # 1 MiB of base64, the same again and again
_ENCODED: Final = b"ContentTransferEncoded"


class GeneratedPacket(io.RawIOBase):
    """A readable, seekable stream of one document packet with one attachment of `length` bytes."""

    def __init__(self, length: int) -> None:
        small = PacketMaker(Party(code="000.00.00.H99", name="Sở mẫu"), run="BIG").make(
            12, Party(code="000.00.01.H99", name="Xã mẫu")
        )
        begin = small.index(b">", small.index(_ENCODED)) + 1
        self._head, self._tail = small[:begin], small[small.index(b"<", begin) :]
        self._text = length // 3 * 4  # whole groups, so that no padding is needed
        self.length = length // 3 * 3
        self.size = len(self._head) + self._text + len(self._tail)
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any stream."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As many of the next bytes as lie in one part."""
        view = memoryview(buffer).cast("B")
        part = self._part()[: len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _part(self) -> memoryview:
        at = self._at
        if at < len(self._head):
            return memoryview(self._head)[at:]
        at -= len(self._head)
        if at < self._text:
            start = at % len(_BLOCK)
            return memoryview(_BLOCK)[start : start + self._text - at]
        return memoryview(self._tail)[at - self._text :]


class _Nowhere(io.RawIOBase):
    """Takes bytes and keeps their number."""

    def __init__(self) -> None:
        self.size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Count."""
        length = memoryview(data).nbytes
        self.size += length
        return length


def grow(what: str, length: int) -> int:
    """By how many bytes a fresh process's peak memory grew over `what` ("read", "sign") of so large a packet."""
    command = [sys.executable, "-m", "benchmarks.packet_stream", what, str(length)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[1])
    return int(json.loads(done.stdout))


def _act(what: str, length: int) -> None:
    from edxml import read
    from edxml.seal import generate_seal_key
    from edxml.sign import load_pem_signer, sign_packet

    packet = GeneratedPacket(length)
    if what == "read":
        result = read(packet)  # type: ignore[arg-type]
        assert result.packet is not None
        assert not result.is_refused
        assert result.size == packet.size
    else:
        out = _Nowhere()
        sign_packet(packet, out, load_pem_signer(*generate_seal_key("bench")))  # type: ignore[arg-type]
        assert out.size > packet.size


def _peak() -> int:
    """Of this program alone: what getrusage says was handed down by the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _act(sys.argv[1], 30_000)  # everything imported, compiled and used once
    before = _peak()
    _act(sys.argv[1], int(sys.argv[2]))
    print(_peak() - before)
