"""Hostile and broken MIME messages: each soon ends in a finding that names it, never in an exception or in memory."""

from __future__ import annotations

import io
import time
import tracemalloc
from itertools import chain, repeat

import pytest

from edxml import DEFAULT_LIMITS, Language, Limits, Packet, ReadResult, open_decoded, read
from edxml.limits import PIECE
from tests.support.packets import make_packet
from tests.support.soap import build_soap, soap_envelope, soap_message, soap_part

FILES = (("van-ban.pdf", b"%PDF-1.7\nxin chao\n%%EOF\n"), ("a.txt", "Xin chào".encode()))
HEAD = b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="Boundary"; start="<Start>"\r\n\r\n'
GOOD = build_soap(files=FILES, recipients=("H99.02",), transfer="quoted-printable", head=HEAD)
BINARY = build_soap(files=FILES, recipients=("H99.02",), transfer="binary")
ROOT = soap_part(soap_envelope(make_packet()), "8bit", "Content-Type: text/xml; charset=utf-8", "Content-ID: <Start>")


def read_timed(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ReadResult:
    began = time.process_time()
    result = read(io.BytesIO(data), limits=limits)
    assert time.process_time() - began < 1
    for finding in result.findings:
        for language in Language:
            text = finding.text(language)
            assert text != finding.code, f"{finding.code} has no text"
            assert "{" not in text, text
    return result


def codes(result: ReadResult) -> set[str]:
    return {finding.code for finding in result.findings}


@pytest.mark.parametrize("whole", [GOOD, BINARY], ids=["quoted", "binary"])
def test_cut_at_every_percent_it_is_refused(whole: bytes) -> None:
    assert not read_timed(whole).is_refused
    end = whole.rindex(b"--")
    for percent in range(100):
        result = read_timed(whole[: end * percent // 100])
        assert result.is_refused, percent
        if percent > 20:
            assert codes(result) == {"edxml.truncated"}, percent
    for cut in range(whole.rindex(b"--Boundary") - 40, end + 2):
        assert read_timed(whole[:cut]).is_refused, cut


@pytest.mark.parametrize("whole", [GOOD, BINARY], ids=["quoted", "binary"])
def test_every_flipped_byte_ends_in_a_verdict(whole: bytes) -> None:
    good = read(io.BytesIO(whole)).packet
    assert isinstance(good, Packet)
    spans = [range(*file.span) for file in good.attachments]
    for at in range(len(whole)):
        for wrong in (whole[at] ^ 0x20, whole[at] ^ 0x01, 0xFF):
            data = whole[:at] + bytes((wrong,)) + whole[at + 1 :]
            result = read(io.BytesIO(data))
            if result.is_refused or not isinstance(result.packet, Packet):
                continue
            for file in result.packet.attachments:
                decoded = b"".join(open_decoded(io.BytesIO(data), file))
                assert len(decoded) == file.length
            if not any(at in span for span in spans) and result.packet.attachments:
                kept = {file.digest for file in result.packet.attachments}
                assert kept <= {file.digest for file in good.attachments} or result.repairs != (), at


def headers(count: int) -> bytes:
    return b"".join(b"X-%d: y\r\n" % at for at in range(count))


FLOODS = {
    "parts": (soap_message([ROOT, *[b"\r\nx"] * 60_000]), "edxml.too_many_attachments"),
    "fields": (soap_message([headers(60_000) + b"\r\nx"]), "edxml.mime_header_too_large"),
    "own_fields": (b"Content-Type: multipart/related\r\n" + headers(60_000), "edxml.mime_header_too_large"),
    "folded": (soap_message([b"X: y" + b"\r\n z" * 300_000 + b"\r\n\r\nx"]), "edxml.mime_header_too_large"),
    "parameters": (
        soap_message([ROOT, *[b"Content-Type: a/b" + b"; a=b" * 3_000 + b"\r\n\r\nx"] * 60]), None,
    ),
    "encoded_words": (
        soap_message([ROOT, *[b'Content-Type: a/b; name="' + b"=?a?q?" * 160 + b'"\r\n\r\nx'] * 190]), None,
    ),
    "name_in_pieces": (
        soap_message([ROOT, *[b"Content-Disposition: x" + b"; filename*0*=%41" * 900 + b"\r\n\r\nx"] * 60]), None,
    ),
    "almost_boundaries": (soap_message([ROOT, soap_part(b"\r\n--Boundary-" * 80_000, "binary")]), None),
    "dashes": (soap_message([ROOT, soap_part(b"-" * 1_000_000, "binary")], boundary="-" * 60), None),
    "line_ends": (soap_message([ROOT, soap_part(b"\r\n" * 500_000, "binary")]), None),
    "boundary_lines_before_any": (b"--a\r\n" * 200_000, "edxml.not_xml"),
    "quoted_blanks": (
        soap_message([ROOT, soap_part(b"", "quoted-printable") + b" " * 1_000_000]), "edxml.quoted_printable_garbage",
    ),
    "quoted_blank_lines": (
        soap_message([ROOT, soap_part(b"", "quoted-printable") + (b" " * 60_000 + b"\r\n") * 16]), None,
    ),
    "depth_in_root": (soap_message([soap_part(b"<a>" * 5_000, "8bit")]), "edxml.too_deep"),
    "blocks": (
        build_soap().replace(b"<SOAP-ENV:Header>", b"<SOAP-ENV:Header>" + b"<a/>" * 28_000), None,
    ),
    "errors": (
        build_soap().replace(
            b"<SOAP-ENV:Header>", b"<SOAP-ENV:Header><edXML:ErrorList>" + b"<a/>" * 28_000 + b"</edXML:ErrorList>"
        ),
        "edxml.soap_errors_listed",
    ),
    "mustUnderstand": (
        build_soap().replace(
            b"<SOAP-ENV:Header>", b"<SOAP-ENV:Header>" + b'<a SOAP-ENV:mustUnderstand="1"/>' * 15_000
        ),
        "edxml.soap_not_understood",
    ),
    "references": (
        build_soap().replace(
            b"</edXML:Manifest>", b'<edXML:Reference xlink:href="a"/>' * 15_000 + b"</edXML:Manifest>"
        ),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), FLOODS.values(), ids=FLOODS.keys())
def test_floods_cost_no_time(data: bytes, code: str | None) -> None:
    result = read_timed(data)
    if code is None:
        assert result.is_complete
    else:
        assert code in codes(result), codes(result)


class Pieces(io.BytesIO):
    """Hundreds of megabytes out of nothing: a head, a filler repeated, a tail."""

    def __init__(self, head: bytes, filler: bytes, times: int, tail: bytes) -> None:
        super().__init__()
        self._parts = chain((head,), repeat(filler, times), (tail,))

    def read(self, size: int | None = -1, /) -> bytes:
        return next(self._parts, b"")


FILLERS = {
    "binary": ("binary", b"\x00\xff\r\n--Boundar" * (PIECE // 13), 13),
    "base64": ("base64", (b"QUJD" * 19 + b"\r\n") * (PIECE // 78), 57),
    "quoted-printable": ("quoted-printable", (b"=41" * 24 + b"=\r\n") * (PIECE // 75), 24),
}


@pytest.mark.parametrize(
    ("transfer", "filler", "length"),
    [
        pytest.param(*filler, id=name, marks=[pytest.mark.long] if name == "quoted-printable" else [])
        for name, filler in FILLERS.items()
    ],
)
def test_two_hundred_megabytes_pass_with_flat_memory(transfer: str, filler: bytes, length: int) -> None:
    head = soap_message([ROOT, soap_part(b"", transfer)], tail=b"")[:-2]
    times, lines = (200 << 20) // len(filler), PIECE // {13: 13, 57: 78, 24: 75}[length]
    tracemalloc.start()
    try:
        result = read(Pieces(head, filler, times, b"\r\n--Boundary--\r\n"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(result.packet, Packet), result.findings
    (file,) = result.packet.attachments
    assert file.length == times * lines * length
    assert peak < 4 << 20
