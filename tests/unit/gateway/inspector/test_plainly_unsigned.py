"""Which PDFs need no closer look: never one that bears a signature, however its names are written."""

from __future__ import annotations

import io
import random
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.packets import PacketMaker, Party
from edxml import read
from edxml.attachments import open_decoded
from edxml.sign import Policy
from gateway.inspector.pdf import inspect_pdf
from gateway.inspector.unsigned import Look, is_plainly_unsigned
from gateway.model.inspection import PdfVerdict
from tests.support.certificates import NOW, Authority
from tests.support.pdfs import (
    add_page,
    binary_pdf,
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


def told(pdf: bytes) -> bool:
    return is_plainly_unsigned([pdf])


def test_a_plain_file_is() -> None:
    assert told(plain_pdf())
    assert told(add_page(plain_pdf()))
    assert told(b"rubbish before\n" + plain_pdf() + b"\n" * 200)


def test_what_a_bench_sends_is_a_pdf_and_is(tmp_path: Path) -> None:
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


def test_a_file_whose_foreign_bytes_were_replaced_is_not() -> None:
    assert told(binary_pdf())
    mangled = binary_pdf().decode("utf-8", "replace").encode()
    for cut in range(1, 40):
        assert not is_plainly_unsigned([mangled[:cut], mangled[cut:]])
    assert told(plain_pdf().replace(b"Kinh gui", "Kính gửi".encode())), "a text in UTF-8 is no damage"


def test_no_signed_file_ever_is() -> None:
    root = Authority("CA")
    issued = root.issue("UBND")
    signed = sign_pdf(plain_pdf(), issued)
    several = sign_pdf(sign_pdf(plain_pdf(), issued, field="A"), issued, field="B")
    stamped = stamp_pdf(plain_pdf(), stamping(root, NOW - timedelta(days=1)))
    for pdf in (signed, several, stamped, add_page(signed), forge_pdf(signed), crowded_pdf(3)):
        assert not told(pdf)


def test_nor_one_that_keeps_what_it_can_in_object_streams() -> None:
    """Nobody sees what is compressed; a signature's value and its range never are."""
    compressed = plain_pdf(is_compressed=True)
    signed = sign_pdf(compressed, Authority("CA").issue("UBND"))
    assert told(compressed), "a name alone, in something compressed, is no signature"
    assert inspect_pdf(io.BytesIO(compressed), Policy(name="x", anchors=()), 0).verdict is PdfVerdict.UNSIGNED
    assert not told(signed)


def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    plain, signed = plain_pdf(), sign_pdf(plain_pdf(), Authority("CA").issue("UBND"))
    told_by = signed.index(b"/ByteRange")
    for cut in range(told_by - 2, told_by + 12):
        assert not is_plainly_unsigned([signed[:cut], signed[cut:]])
    bare = b"%PDF-1.7 /#53ig" + b" " * 3_000 + b"startxref\n0\n%%EOF\n"
    for size in (1, 2, 3, 5, 700, 1_024, 1_500):
        for pdf, expected in ((plain, True), (signed, False), (bare, False), (bare.replace(b"/#53ig", b""), True)):
            pieces = [pdf[start : start + size] for start in range(0, len(pdf), size)]
            assert is_plainly_unsigned(pieces) is expected, (size, expected)


@pytest.mark.parametrize("name", ["ByteRange", "Sig", "SubFilter", "Encrypt"])
def test_nor_one_whose_names_are_written_with_escapes(name: str) -> None:
    chance = random.Random(name)
    for _ in range(200):
        written = "".join(f"#{ord(c):02{chance.choice('xX')}}" if chance.random() < 0.4 else c for c in name)
        assert not told(plain_pdf().replace(b"/Catalog", b"/Catalog /" + written.encode() + b" 1")), written


def test_what_is_no_whole_pdf_is_left_to_the_closer_look() -> None:
    plain = plain_pdf()
    for pdf in (
        b"", b"%PDF", bytes(3_000), plain[:300], plain[20:], plain + bytes(2_000), b" " * 2_000 + plain,
        encrypt_pdf("mat khau"), encrypt_pdf(""),
    ):  # fmt: skip
        assert not told(pdf)
    for hostile in (deep_pdf(), bomb_pdf()):
        told(hostile)  # either answer is right; none of them may fail


def test_a_look_wants_no_more_once_its_answer_is_no() -> None:
    plain = plain_pdf()
    for begin in (b"PK\x03\x04" + bytes(2_000), b"%PDF-1.7 /ByteRange "):
        look = Look()
        assert not look.feed(begin)
        assert not look.feed(plain)
        assert not look.is_plain
    look = Look()
    assert look.feed(b" " * 1_000), "the header may come yet"
    assert look.feed(plain)
    assert look.is_plain
