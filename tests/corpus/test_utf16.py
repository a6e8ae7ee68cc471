"""Packets in UTF-16: what they say, their findings and their lines are those of the same packet in UTF-8."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edxml import STRICT, Dialect, Packet, ReadResult, open_decoded, read
from edxml._utf16 import Recoder, width
from edxml.limits import PIECE
from edxml.sign import Verdict
from tests.corpus.test_packet_hostile import HOSTILE, Slow
from tests.property.test_edxml_dom import OWN, assert_same
from tests.support.certificates import Authority
from tests.support.packets import build_packet, build_status, make_packet, random_attachments
from tests.support.soap import soap_envelope, soap_message, soap_part
from tests.unit.edxml.sign.forge import check, signed

SAMPLES = sorted((Path(__file__).parents[3] / "shared" / "samples" / "edxml").glob("*.edxml"))
FILES = (*random_attachments(3, count=2, largest=40_000), ("rỗng.txt", b""))
ASTRAL = "V/v \U0002070e chữ Nôm và \U0001f4dc"
GOOD = build_packet(files=FILES, subject=ASTRAL)
LINES = re.sub(
    rb"(ContentTransferEncoded[^>]*>)([^<]+)<",
    lambda found: found[1] + base64.encodebytes(base64.b64decode(found[2])) + b"<",
    GOOD,
)
FORMS: dict[str, Callable[[str], bytes]] = {
    "little": lambda text: text.encode("utf-16"),
    "big": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "little without mark": lambda text: text.encode("utf-16-le"),
    "big without mark": lambda text: text.encode("utf-16-be"),
}


def declared(data: bytes, encoding: str = "UTF-16") -> str:
    return data.decode().replace('encoding="UTF-8"', f'encoding="{encoding}"' if encoding else "", 1)


def names(result: ReadResult) -> list[str]:
    return [repair.name for repair in result.repairs]


def plain(packet: Any) -> Any:
    """A packet without what only its bytes say."""
    if not isinstance(packet, Packet):
        return packet
    return replace(packet, attachments=tuple(replace(a, span=(0, 0), transfer="") for a in packet.attachments))


def assert_equal(wide: bytes, narrow: bytes, *repairs: str) -> None:
    """The same but for its bytes; its files are found again in them."""
    result, expected = read(io.BytesIO(wide)), read(io.BytesIO(narrow))
    assert names(result) == ["utf16", *repairs, *names(expected)]
    assert plain(result.packet) == plain(expected.packet)
    assert result.findings == expected.findings
    assert (result.size, result.wire_digest) == (len(wide), hashlib.sha256(wide).hexdigest())
    if not isinstance(result.packet, Packet):
        return
    assert isinstance(expected.packet, Packet)
    for file, same in zip(result.packet.attachments, expected.packet.attachments, strict=True):
        assert (file.digest, file.length) == (same.digest, same.length)
        assert file.transfer.startswith("base64-utf-16-")
        decoded = b"".join(open_decoded(io.BytesIO(wide), file))
        assert decoded == b"".join(open_decoded(io.BytesIO(narrow), same))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(
    "data",
    [GOOD, LINES, LINES.replace(b"\n", b"\r\n"), build_packet(files=FILES, dialect=Dialect.B), build_status()],
    ids=["a", "lines", "crlf", "b", "status"],
)
def test_it_says_the_same(data: bytes, form: Callable[[str], bytes]) -> None:
    for encoding in ("UTF-16", "utf-16", "ISO-10646-UCS-2", ""):
        assert_equal(form(declared(data, encoding)), data)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_declaration_that_lies_is_overruled_by_name(form: Callable[[str], bytes]) -> None:
    for encoding in ("UTF-8", "ISO-8859-1", "windows-1258", "us-ascii"):
        assert_equal(form(declared(GOOD, encoding)), GOOD, "encoding_misdeclared")
    little = form("<").strip(b"\xff\xfe").startswith(b"<")
    for encoding, is_right in (("UTF-16LE", little), ("UTF-16BE", not little)):
        assert_equal(form(declared(GOOD, encoding)), GOOD, *(() if is_right else ("encoding_misdeclared",)))


@pytest.mark.parametrize(
    "encoding", ["UTF-16", "UTF-16LE", "ISO-8859-1", "windows-1258", "windows-1252", "UTF-32", "x"]
)
def test_utf8_that_says_it_is_something_else_is_read_as_utf8(encoding: str) -> None:
    data = declared(GOOD, encoding).encode()
    result = read(io.BytesIO(data))
    assert names(result) == ["encoding_misdeclared"]
    assert plain(result.packet) == plain(read(io.BytesIO(GOOD)).packet)
    assert not result.is_refused


def test_texts_that_are_as_declared_but_not_utf8_are_refused_by_name() -> None:
    data = declared(GOOD, "windows-1258").replace("ệ", "ê").replace(ASTRAL, "Nghê An")
    (finding,) = read(io.BytesIO(data.encode("cp1258", "replace"))).findings
    assert finding.code == "edxml.encoding_unsupported"


def test_what_real_senders_do_is_put_right_there_too() -> None:
    assert_equal(declared(b"1212" + GOOD).encode("utf-16"), b"1212" + GOOD)
    wrong = (
        GOOD.replace(b"2025/09/01</", b"30/02/2025</").replace(b"H99.02<", b"!!<").replace(b"Priority>0", b"Priority>9")
    )
    expected = read(io.BytesIO(wrong))
    assert {"edxml.organ_id_malformed", "edxml.priority_unknown"} <= {one.code for one in expected.findings}
    assert_equal(declared(wrong).encode("utf-16"), wrong)
    section = re.sub(rb"(ContentTransferEncoded[^>]*>)([^<]+)<", rb"\1\n <![CDATA[\2\n]]>\n<", GOOD)
    assert_equal(declared(section).encode("utf-16-be"), section)
    referred = GOOD.replace(b'2016">', b'2016">&#13;&#xA;')
    assert_equal(declared(referred).encode("utf-16"), referred)


def test_the_two_bytes_that_the_national_client_appends_are_no_letter() -> None:
    for form in FORMS.values():
        whole = form(declared(GOOD))
        result = read(io.BytesIO(whole + b"\r\n"))
        assert not result.is_refused
        assert result.wire_digest == hashlib.sha256(whole).hexdigest()
        assert result.size == len(whole) + 2


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_in_pieces_of_any_size_it_reads_the_same(form: Callable[[str], bytes]) -> None:
    data = form(declared(build_packet(subject=ASTRAL)))
    whole = read(io.BytesIO(data))
    assert not whole.is_refused
    for size in (1, 2, 3, 7, 64, 1001):
        pieces = read(Slow(data, size))
        assert (pieces.packet, pieces.findings, pieces.repairs) == (whole.packet, whole.findings, whole.repairs)
        assert isinstance(pieces.packet, Packet)
        assert isinstance(whole.packet, Packet)
        assert [a.span for a in pieces.packet.attachments] == [a.span for a in whole.packet.attachments]


def test_hostile_bytes_are_hostile_in_utf16_too() -> None:
    for name, (data, code) in HOSTILE.items():
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        if not text.startswith("<"):
            continue
        for form in FORMS.values():
            began = time.process_time()
            result = read(io.BytesIO(form(text)))
            assert time.process_time() - began < max(1, 2 * len(data) / (1 << 20)), name
            assert result.is_refused, name
            assert code in {finding.code for finding in result.findings}, (name, result.findings)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_cut_and_flipped_anywhere_it_ends_in_a_verdict(form: Callable[[str], bytes]) -> None:
    whole = form(declared(build_packet(recipients=("000.00.01.H99",))))
    end = len(form(declared(build_packet(recipients=("000.00.01.H99",))).rstrip())) - 1
    for cut in (*range(0, end, max(1, end // 100)), end):
        assert read(io.BytesIO(whole[:cut])).is_refused, cut
    for at in range(0, len(whole), 3):
        read(io.BytesIO(whole[:at] + bytes((whole[at] ^ 0x20,)) + whole[at + 1 :]))
        read(io.BytesIO(whole[:at] + b"\xd8" + whole[at + 1 :]))


@pytest.mark.parametrize("data", OWN)
def test_a_reader_of_the_whole_tree_finds_the_same(data: bytes) -> None:
    assert_same(declared(data).encode("utf-16"))
    head, end, tail = declared(data).partition("</edXML:MessageHeader>")
    head = head.replace("H99", "!!").replace("Priority>0", "Priority>9").replace("edXML:Email", "edXML:Mail")
    assert assert_same((head + end + tail).encode("utf-16")) > 2


@pytest.mark.shared
@pytest.mark.skipif(not SAMPLES, reason="../shared/samples is absent")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_official_samples_in_utf16(path: Path) -> None:
    data = path.read_bytes()
    text = data.decode().removeprefix("\ufeff").replace('encoding="UTF-8"', 'encoding="UTF-16"').replace(
        'encoding="utf-8"', 'encoding="utf-16"'
    )  # fmt: skip
    wide, narrow = read(io.BytesIO(text.encode("utf-16"))), read(io.BytesIO(data))
    assert plain(wide.packet) == plain(narrow.packet)
    assert wide.findings == narrow.findings
    assert set(names(wide)) == {"utf16", *names(narrow)} - {"bom"}


def test_strict_profiles_do_not_take_it() -> None:
    told = read(io.BytesIO(declared(build_packet()).encode("utf-16")), profile=STRICT).findings
    assert [(one.code, one.params["repair"]) for one in told] == [("edxml.repair_forbidden", "utf16")]


def test_an_envelope_of_dialect_d_may_be_in_utf16() -> None:
    envelope = soap_envelope(make_packet()).decode()
    file = soap_part(b"%PDF-1.7\n", "base64", "Content-Type: application/pdf", "Content-ID: <1>")

    def message(charset: str, encoding: str, data: bytes) -> ReadResult:
        text = envelope.replace('encoding="UTF-8"', f'encoding="{encoding}"')
        content = data + text.encode("utf-16-le")
        return read(io.BytesIO(soap_message([
            soap_part(content, "binary", f"Content-Type: text/xml; charset={charset}", "Content-ID: <Start>"), file,
        ])))  # fmt: skip

    right = message("utf-16", "utf-16", b"\xff\xfe")
    assert not right.is_refused, right.findings
    assert set(names(right)) == {"utf16", "soap_envelope"}
    assert isinstance(right.packet, Packet)
    assert right.packet.attachments[0].length == 9
    for charset, encoding in (("utf-8", "utf-16"), ("utf-16", "utf-8"), ("windows-1258", "utf-16")):
        assert set(names(message(charset, encoding, b""))) == {"utf16", "soap_envelope", "encoding_misdeclared"}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_signature_says_the_same_of_it(form: Callable[[str], bytes]) -> None:
    authority = Authority()
    data = signed(authority.issue(), LINES)
    assert check(data, authority).verdict is Verdict.VALID
    result = check(form(declared(data)), authority)
    assert (result.verdict, result.covers_whole) == (Verdict.VALID, True)
    altered = declared(data).replace("chữ Nôm", "chữ nôm")
    assert check(form(altered), authority).verdict is Verdict.INVALID_DIGEST
    assert check(form(re.sub("(ContentTransferEncoded[^>]*>.)", r"\1QUJD", declared(data))), authority).verdict in (
        Verdict.INVALID_DIGEST, Verdict.UNREADABLE,
    )  # fmt: skip


def test_two_hundred_megabytes_pass_with_flat_memory() -> None:
    head, tail = declared(build_packet()).split("JVBERi", 1)
    line = ("QUJD" * 19 + "\r\n").encode("utf-16-le") * (PIECE // 156)
    times = (200 << 20) // len(line)

    class Pieces(io.BytesIO):
        def __init__(self) -> None:
            super().__init__()
            self._parts = self._all()

        def _all(self) -> Iterator[bytes]:
            yield head.encode("utf-16")
            for _ in range(times):
                yield line
            yield tail[tail.index("<") :].encode("utf-16-le")

        def read(self, size: int | None = -1, /) -> bytes:
            return next(self._parts, b"")

    tracemalloc.start()
    try:
        result = read(Pieces())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not result.is_refused
    assert isinstance(result.packet, Packet)
    assert result.packet.attachments[0].length == times * (PIECE // 156) * 57
    assert peak < 4 << 20


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_width_and_recoding_agree_on_every_length_of_a_letter(size: int) -> None:
    text = "aĐ\u1ec7\U0001f4dc\n\ufffd" * 5
    for encoding in ("utf-16-le", "utf-16-be"):
        raw = text.encode(encoding)
        recoder, given = Recoder(encoding), b""
        for at in range(0, len(raw), size):
            given += recoder.recode(raw[at : at + size])
        assert given == text.encode()
        assert not recoder.is_cut
        assert width(given) == len(raw)
        assert sum(width(given[at : at + size]) for at in range(0, len(given), size)) == len(raw)
