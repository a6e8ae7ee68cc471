"""Looks at files while their packet is read: the very bytes of each, in order, in constant memory."""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass, field

import pytest

from edxml import read
from tests.support.packets import build_packet


@dataclass
class _Seen:
    """Takes what it is given, until it had so many bytes."""

    most: int = 1 << 30
    pieces: list[bytes] = field(default_factory=list)

    def feed(self, piece: bytes, /) -> bool:
        self.pieces.append(piece)
        return sum(map(len, self.pieces)) < self.most


def _seen(packet: bytes, most: int = 1 << 30) -> dict[int, _Seen]:
    looks: dict[int, _Seen] = {}
    result = read(io.BytesIO(packet), look=lambda position: looks.setdefault(position, _Seen(most)))
    assert result.packet is not None
    return looks


@pytest.mark.parametrize("size", [0, 1, 3_000, 400_000])
def test_each_file_is_seen_whole_and_alone(size: int) -> None:
    files = (("a.pdf", b"a" * size), ("b.bin", b"\0b"), ("c.pdf", b"c" * 5))
    for _ in range(3):  # also where packets of its shape came before
        seen = _seen(build_packet(files=files))
        assert {at: b"".join(one.pieces) for at, one in seen.items()} == {
            at: data for at, (_, data) in enumerate(files, 1)
        }


def test_a_large_file_comes_in_pieces() -> None:
    (seen,) = _seen(build_packet(files=(("a.pdf", b"a" * 3_000_000),))).values()
    assert max(map(len, seen.pieces)) < 500_000


def test_who_wants_no_more_gets_no_more() -> None:
    (seen,) = _seen(build_packet(files=(("a.pdf", b"a" * 3_000_000),)), most=1).values()
    assert len(seen.pieces) == 1


def test_a_file_in_a_zip_is_not_what_is_seen() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pdf", b"%PDF-1.7 xin chao")
    packet = build_packet(files=(("a.pdf", b"se nam trong tep nen"),))
    packet = packet.replace(base64.b64encode(b"se nam trong tep nen"), base64.b64encode(out.getvalue()))
    looks: dict[int, _Seen] = {}
    result = read(io.BytesIO(packet), look=lambda position: looks.setdefault(position, _Seen()))
    assert result.packet is not None
    (file,) = result.packet.attachments  # type: ignore[union-attr]
    assert (file.encoding, file.length) == ("zip", 17)
    assert b"".join(looks[1].pieces) == out.getvalue()
