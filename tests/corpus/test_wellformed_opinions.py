"""Not-well-formed XML is refused exactly when it must be: expat, which shares no code with our parser, is asked too.

Where ours refuses more it does so on purpose and says why: a DTD, a limit. Nothing else may differ.
"""

from __future__ import annotations

import io
import random
import resource
from pathlib import Path
from xml.parsers import expat

import pytest

from edxml import ReadResult, read
from tests.support.packets import build_packet, build_status

SHARED = Path(__file__).parents[3] / "shared" / "corpus"
BROKEN = sorted((SHARED / "not-well-formed").glob("*.xml")) or [SHARED]
ATTACKS = sorted((SHARED / "xml-attacks").glob("*.xml")) or [SHARED]
OWN = [build_packet(files=()), build_status()]
NOT_XML = {
    f"edxml.{name}"
    for name in (
        "malformed", "truncated", "prefix_undeclared", "entity_undeclared", "encoding_invalid", "not_xml", "empty",
    )
}  # fmt: skip


class Opinion:
    """What expat says of bytes: whether they are well-formed with namespaces, and whether it met a DOCTYPE before."""

    def __init__(self, data: bytes) -> None:
        self.met_doctype = False
        parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._meet
        try:
            parser.Parse(data, True)
            self.is_well_formed = True
        except expat.ExpatError:
            self.is_well_formed = False

    def _meet(self, *_: object) -> None:
        self.met_doctype = True


def read_bytes(data: bytes) -> ReadResult:
    return read(io.BytesIO(data))


def codes(result: ReadResult) -> set[str]:
    return {finding.code for finding in result.findings}


@pytest.mark.shared
@pytest.mark.skipif(not BROKEN[0].is_file(), reason="../shared/corpus is absent")
@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.name)
def test_what_no_parser_may_take_is_called_by_its_name(path: Path) -> None:
    """A DOCTYPE that was reached is what is told; what is broken before it, or without one, is no XML."""
    data = path.read_bytes()
    opinion = Opinion(data)
    assert opinion.met_doctype or not opinion.is_well_formed  # within a DTD it does not see everything
    result = read_bytes(data)
    (finding,) = result.findings
    if path.name == BLANK_LINE_FIRST:
        assert [repair.name for repair in result.repairs] == ["junk_before_prolog"]
        assert finding.code == "edxml.root_unknown"
    else:
        expected = {"edxml.dtd_forbidden"} if opinion.met_doctype else NOT_XML | {"edxml.dtd_forbidden"}
        assert finding.code in expected
    assert finding.place.line is not None


BLANK_LINE_FIRST = "147.xml"
"""Senders do it, so it is a repair with a name; the strict profile refuses it."""


@pytest.mark.shared
@pytest.mark.skipif(not ATTACKS[0].is_file(), reason="../shared/corpus is absent")
@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.name)
def test_every_attack_is_refused_for_its_dtd(path: Path) -> None:
    result = read_bytes(path.read_bytes())
    assert codes(result) == {"edxml.dtd_forbidden"}
    assert not result.is_complete


WORDS = (
    b"<a>", b"</a>", b"<a/>", b"<a b='1'>", b'<a b="&lt;">', b"<a b='<'>", b"<a b=1>", b"<a b>", b"<a b='' b=''>",
    b"<1>", b"<a:b/>", b"<a:b xmlns:a='urn:x'/>", b"<a xmlns:b=''/>", b"<xml:a/>", b"<a:b:c xmlns:a='urn:x'/>",
    b"</ a>",
    b"<a/ >", b"< a>", b"<!-- -->", b"<!-- -- -->", b"<!-->", b"<!--->", b"<![CDATA[", b"]]>", b"<![CDATA[ ]] > ]]>",
    b"<?x?>", b"<?xml version='1.0'?>", b"<?XML x?>", b"<? x?>", b"<?x", b"?>", b"&amp;", b"&#65;", b"&#x41;", b"&#0;",
    b"&#xFFFE;", b"&#x110000;", b"&x;", b"&", b"&#;", b"&amp", b"<", b">", b"'", b'"', b"text", b" ", b"\n",
    b"\x01", b"\x7f",
    b"\xc3\xa9", b"\xc3", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\xf4\x90\x80\x80", b"<a xmlns='urn:x'>", b"<e\xcc\x81/>",
    b"<\xc3\xa9/>",
)  # fmt: skip
"""Pieces of XML, right and wrong, of which documents are put together."""


@pytest.mark.parametrize("seed", range(4))
def test_a_packet_is_no_xml_exactly_when_expat_says_so(seed: int) -> None:
    dice = random.Random(seed)
    refused = 0
    for _ in range(1_000):
        packet = dice.choice(OWN)
        at = dice.choice([packet.index(b"?>") + 2, packet.index(b"<edXML:OrganId>"), packet.index(b"H99"), len(packet)])
        noise = b"".join(dice.choice(WORDS) for _ in range(dice.choice((1, 1, 2, 3, 5))))
        data = packet[:at] + noise + packet[at:]
        is_refused = bool(codes(read_bytes(data)) & NOT_XML)
        assert is_refused is not Opinion(data).is_well_formed, noise
        refused += is_refused
    assert 300 < refused < 950


def test_cut_at_every_percent_a_packet_is_no_xml_and_says_a_line() -> None:
    data = build_packet(files=(("a.pdf", b"%PDF-1.7 " + b"x" * 9_000), ("b.txt", b"xin chao")))
    end = data.rindex(b">")
    for percent in range(100):
        (finding,) = read_bytes(data[: end * percent // 100]).findings
        assert finding.code in NOT_XML | {"edxml.base64_garbage"}, percent
        assert finding.place.line is not None, percent


@pytest.mark.parametrize("data", OWN, ids=("document", "status"))
def test_every_flipped_bit_ends_in_a_verdict(data: bytes) -> None:
    """Each bit of each byte, beside expat's opinion; never an exception, never much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for at in range(len(data)):
        for bit in range(8):
            flipped = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            result = read_bytes(flipped)
            if any(finding.params.get("why") == "xml.namespace_name" for finding in result.findings):
                continue  # libxml2 minds what a namespace is called; expat does not
            if at > data.index(b"?>") and not codes(result) & {"edxml.dtd_forbidden"}:  # declarations: expat is lax
                assert bool(codes(result) & NOT_XML) is not Opinion(flipped).is_well_formed, (at, bit)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
