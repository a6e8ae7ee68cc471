"""Which PDFs need no closer look: never one that bears a signature, however its names are written."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.packets import PacketMaker, Party
from edxml import read
from edxml.attachments import open_decoded
from edxml.sign import Policy
from gateway.inspector.pdf import inspect_pdf
from gateway.inspector.unsigned import is_plainly_unsigned
from gateway.model.inspection import PdfVerdict
from tests.support.certificates import NOW, Authority
from tests.support.pdfs import (
    add_page,
    bomb_pdf,
    crowded_pdf,
    deep_pdf,
    encrypt_pdf,
    forge_pdf,
    plain_pdf,
    sign_pdf,
    stamp_pdf,
    stamping,
)  # fmt: skip


@pytest.fixture
def told(tmp_path: Path):  # type: ignore[no-untyped-def]
    def tell(pdf: bytes) -> bool:
        path = tmp_path / "file"
        path.write_bytes(pdf)
        with path.open("rb") as file:
            return is_plainly_unsigned(file)

    return tell


def test_a_plain_file_is(told) -> None:  # type: ignore[no-untyped-def]
    assert told(plain_pdf())
    assert told(add_page(plain_pdf()))
    assert told(b"rubbish before\n" + plain_pdf() + b"\n" * 200)


def test_what_a_bench_sends_is_a_pdf_and_is(told, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    party = Party(code="H99.1", name="A")
    path = tmp_path / "packet"
    path.write_bytes(PacketMaker(party, run="UBND").make(1, party))
    with path.open("rb") as stream:
        packet = read(stream).packet
        assert packet is not None
        pdf = b"".join(open_decoded(stream, packet.attachments[0]))  # type: ignore[union-attr]
    assert told(pdf)
    with path.open("wb+") as file:
        file.write(pdf)
        assert inspect_pdf(file, Policy(name="x", anchors=()), 0).verdict is PdfVerdict.UNSIGNED


def test_no_signed_file_ever_is(told) -> None:  # type: ignore[no-untyped-def]
    root = Authority("CA")
    issued = root.issue("UBND")
    signed = sign_pdf(plain_pdf(), issued)
    several = sign_pdf(sign_pdf(plain_pdf(), issued, field="A"), issued, field="B")
    stamped = stamp_pdf(plain_pdf(), stamping(root, NOW - timedelta(days=1)))
    for pdf in (signed, several, stamped, add_page(signed), forge_pdf(signed), crowded_pdf(3)):
        assert not told(pdf)


@pytest.mark.parametrize("name", ["ByteRange", "Sig", "SubFilter", "Encrypt"])
def test_nor_one_whose_names_are_written_with_escapes(told, name: str) -> None:  # type: ignore[no-untyped-def]
    chance = random.Random(name)
    for _ in range(200):
        written = "".join(f"#{ord(c):02{chance.choice('xX')}}" if chance.random() < 0.4 else c for c in name)
        assert not told(plain_pdf().replace(b"/Catalog", b"/Catalog /" + written.encode() + b" 1")), written


def test_what_is_no_whole_pdf_is_left_to_the_closer_look(told) -> None:  # type: ignore[no-untyped-def]
    plain = plain_pdf()
    for pdf in (
        b"", b"%PDF", bytes(3_000), plain[:300], plain[20:], plain + bytes(2_000), b" " * 2_000 + plain,
        encrypt_pdf("mat khau"), encrypt_pdf(""),
    ):  # fmt: skip
        assert not told(pdf)
    for hostile in (deep_pdf(), bomb_pdf()):
        told(hostile)  # either answer is right; none of them may fail
