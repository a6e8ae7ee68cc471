"""Hostile and broken bytes: each ends in a finding that names it, never in an exception, never in memory."""

from __future__ import annotations

import io
import re
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edxml import DEFAULT_LIMITS, Language, Limits, Packet, ReadResult, read
from edxml.limits import PIECE
from tests.support.packets import build_packet

SHARED = Path(__file__).parents[3] / "shared"
CORPUS = sorted((SHARED / "corpus").rglob("*.xml")) or [SHARED / "corpus"]

GOOD = build_packet(recipients=("000.00.01.H99",))
NS = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
HEAD, TAIL = GOOD.split(b"<edXML:Subject>")[0], b"</edXML:Subject>" + GOOD.split(b"</edXML:Subject>")[1]
PROLOG = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def codes(result: ReadResult) -> set[str]:
    return {finding.code for finding in result.findings}


def read_bytes(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ReadResult:
    result = read(io.BytesIO(data), limits=limits)
    for finding in result.findings:
        for language in Language:
            text = finding.text(language)
            assert text != finding.code, f"{finding.code} has no text"
            assert "{" not in text, text
    return result


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS[0].is_file(), reason="../shared/corpus is absent")
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_file_of_the_corpora_is_refused_with_a_finding(path: Path) -> None:
    result = read_bytes(path.read_bytes())
    assert result.is_refused
    assert result.packet is None
    assert result.findings
    if b"<!DOCTYPE" in path.read_bytes():
        # a comment, PI or declaration that never ends may hide it, or what comes before may be broken
        assert codes(result) & {
            "edxml.dtd_forbidden", "edxml.malformed", "edxml.not_xml", "edxml.truncated",
            "edxml.encoding_unsupported",
        }  # fmt: skip


def with_subject(text: bytes) -> bytes:
    return HEAD + b"<edXML:Subject>" + text + TAIL


def doctype(declaration: bytes, subject: bytes = b"x") -> bytes:
    return with_subject(subject).replace(PROLOG, PROLOG + declaration, 1)


BOMB = (
    b'<!DOCTYPE edXML [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)

PAIR = b"PK\x03\x04" + bytes(22) + b"\x0e\0\0\0" + b"123_header.xml" + b"..."

HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "edxml.empty"),
    "blanks": (b" \n\t" * 100, "edxml.empty"),
    "text": (b"khong phai xml", "edxml.not_xml"),
    "pdf": (b"%PDF-1.7\n" + b"x" * 10_000, "edxml.not_xml"),
    "dtd": (doctype(b'<!DOCTYPE edXML SYSTEM "edxml.dtd">'), "edxml.dtd_forbidden"),
    "dtd_internal": (doctype(b"<!DOCTYPE edXML []>"), "edxml.dtd_forbidden"),
    "dtd_after_comment": (doctype(b"<!-- x --><!DOCTYPE edXML []>"), "edxml.dtd_forbidden"),
    "entity_bomb": (doctype(BOMB, b"&c;"), "edxml.dtd_forbidden"),
    "external_entity": (
        doctype(b'<!DOCTYPE edXML [<!ENTITY x SYSTEM "file:///etc/passwd">]>', b"&x;"),
        "edxml.dtd_forbidden",
    ),
    "parameter_entity": (
        doctype(b'<!DOCTYPE edXML [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>'),
        "edxml.dtd_forbidden",
    ),
    "dtd_within": (with_subject(b"<!DOCTYPE x>"), "edxml.dtd_forbidden"),
    "undeclared_entity": (with_subject(b"&x;"), "edxml.entity_undeclared"),
    "wrong_root": (b"<html><body/></html>", "edxml.root_unknown"),
    "wrong_namespace": (GOOD.replace(NS.encode(), b"urn:other"), "edxml.root_unknown"),
    "dialect_c": (b'<edXMLEnvelope xmlns="http://www.go.vn/eDoc"/>', "edxml.dialect_unsupported"),
    "dialect_d_without_header": (
        b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"/>',
        "edxml.header_missing",
    ),
    "dialect_e_zipped": (PAIR, "edxml.dialect_unsupported"),
    "dialect_e": (b'<edXML:attachment xmlns:edXML="http://www.e-doc.vn/Schema/"/>', "edxml.dialect_unsupported"),
    "dialect_f": (f'<EdXMLEnvelope xmlns="{NS}"/>'.encode(), "edxml.dialect_unsupported"),
    "wrong_encoding_declared": (
        GOOD.replace(b'encoding="UTF-8"', b'encoding="windows-1258"').replace("Nghệ".encode(), b"Ngh\xea\xf2"),
        "edxml.encoding_unsupported",
    ),
    "not_utf8": (with_subject(b"\xff\xfe"), "edxml.encoding_invalid"),
    "utf16_odd": (GOOD.decode().encode("utf-16")[:-1], "edxml.truncated"),
    "utf16_half_a_letter": (
        with_subject(b"%").decode().encode("utf-16").replace(b"%\0", b"\0\xd8"),
        "edxml.encoding_invalid",
    ),
    "utf16_ends_in_half_a_letter": (GOOD.decode().encode("utf-16-le") + b"\0\xd8", "edxml.truncated"),
    "utf16_dtd": (doctype(BOMB, b"&c;").decode().encode("utf-16"), "edxml.dtd_forbidden"),
    "utf16_dtd_without_bom": (doctype(BOMB, b"&c;").decode().encode("utf-16-be"), "edxml.dtd_forbidden"),
    "utf16_behind_utf8": (PROLOG + GOOD[len(PROLOG) :].decode().encode("utf-16-le"), "edxml.malformed"),
    "utf16_of_the_other_order": (b"\xff\xfe" + GOOD.decode().encode("utf-16-be"), "edxml.not_xml"),
    "utf16_base64_of_other_letters": (
        GOOD.decode().replace(">JVBERi", ">JVBER\u4169").encode("utf-16"),
        "edxml.base64_garbage",
    ),
    "utf16_elements": (with_subject(b"<a/>" * 100_001).decode().encode("utf-16"), "edxml.too_many_elements"),
    "utf16_texts": (with_subject(b"x" * 5_000_000).decode().encode("utf-16"), "edxml.header_too_large"),
    "utf16_empty": (b"\xff\xfe", "edxml.empty"),
    "utf32_big": (GOOD.decode().encode("utf-32-be"), "edxml.encoding_unsupported"),
    "utf32_little": (GOOD.decode().encode("utf-32-le"), "edxml.encoding_unsupported"),
    "utf32": (GOOD.decode().encode("utf-32"), "edxml.encoding_unsupported"),
    "ebcdic": (GOOD.decode().replace("ệ", "e").encode("cp037", "replace"), "edxml.encoding_unsupported"),
    "nul": (with_subject(b"a\0b"), "edxml.malformed"),
    "nul_at_end": (GOOD + b"\0", "edxml.malformed"),
    "control_character": (with_subject(b"\x01"), "edxml.malformed"),
    "control_reference": (with_subject(b"&#1;"), "edxml.malformed"),
    "two_roots": (GOOD + b"<a/>", "edxml.malformed"),
    "unbound_prefix": (with_subject(b"<x:y/>"), "edxml.prefix_undeclared"),
    "elements": (with_subject(b"<a/>" * 100_001), "edxml.too_many_elements"),
    "elements_near_limit": (with_subject(b"<a/>" * 60_000), "edxml.too_many_elements"),
    "attributes": (
        with_subject((b"<a " + b" ".join(b'a%d=""' % n for n in range(2_100)) + b"/>") * 10),
        "edxml.too_many_attributes",
    ),
    "deep": (with_subject(b"<a>" * 100 + b"</a>" * 100), "edxml.too_deep"),
    "deeper": (with_subject(b"<a>" * 5_000 + b"</a>" * 5_000), "edxml.too_deep"),
    "huge_attribute": (with_subject(b'<a b="' + b"x" * 5_000_000 + b'"/>'), "edxml.markup_too_long"),
    "huge_texts": (with_subject(b"x" * 5_000_000), "edxml.header_too_large"),
    "huge_open_tag": (with_subject(b"<a " + b"x" * 300_000), "edxml.markup_too_long"),
    "huge_comment": (with_subject(b"<!--" + b"x" * 300_000 + b"-->"), "edxml.markup_too_long"),
    "long_text": (with_subject(b"x" * 70_000), "edxml.text_too_long"),
    "base64_garbage": (GOOD.replace(b">JVBER", b">*JVBE"), "edxml.base64_garbage"),
    "base64_padding_inside": (GOOD.replace(b">JVBERi", b">JV==Ri"), "edxml.base64_garbage"),
    "base64_one_letter": (GOOD.replace(b">JVBERi", b">A<!-- -->"), "edxml.base64_garbage"),
    "content_with_element": (GOOD.replace(b">JVBERi", b">JVBE<a/>"), "edxml.attachment_mixed"),
    "content_half_in_section": (
        re.sub(rb">JVBE([^<]*)<", rb">JVBE<![CDATA[\1]]><", GOOD),
        "edxml.attachment_mixed",
    ),
    "content_after_section": (
        re.sub(rb">JVBE([^<]*)<", rb"><![CDATA[JVBE]]>\1<", GOOD),
        "edxml.attachment_mixed",
    ),
    "content_with_entity": (GOOD.replace(b">JVBERi", b">JVBE&amp;"), "edxml.base64_garbage"),
    "content_in_header": (
        with_subject(b"<edXML:ContentTransferEncoded>QUJD</edXML:ContentTransferEncoded>"),
        "edxml.attachment_misplaced",
    ),
    "attachments": (
        GOOD.replace(
            b"  </AttachmentEncoded>",
            b"<Attachment><edXML:ContentTransferEncoded xmlns:edXML='%s'/></Attachment>" % NS.encode() * 201
            + b"</AttachmentEncoded>",
        ),
        "edxml.too_many_attachments",
    ),
}


@pytest.mark.parametrize(("data", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_refused_by_name(data: bytes, code: str) -> None:
    result = read_bytes(data)
    assert result.is_refused
    assert code in codes(result), codes(result)


def test_the_same_in_pieces_of_any_size_gives_the_same_findings() -> None:
    for name, (data, _) in HOSTILE.items():
        if len(data) > 50_000:
            continue
        whole = read_bytes(data)
        for size in (1, 7, 64):
            assert codes(read(Slow(data, size))) == codes(whole), (name, size)


class Slow(io.BytesIO):
    """A stream that gives a few bytes at a time, as a network does."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._size)


def test_truncated_anywhere_it_is_refused_and_says_so() -> None:
    whole = read_bytes(GOOD)
    assert not whole.is_refused
    end = GOOD.rindex(b">")
    for cut in range(0, end + 1, 3):
        result = read_bytes(GOOD[:cut])
        assert result.is_refused, cut
        if cut > 200:
            assert codes(result) & {"edxml.truncated", "edxml.malformed", "edxml.base64_garbage"}, (cut, codes(result))


def test_every_flipped_byte_ends_in_a_verdict() -> None:
    for at in range(len(GOOD)):
        for byte in (bytes([GOOD[at] ^ 0x20]), b"\xff"):
            result = read(io.BytesIO(GOOD[:at] + byte + GOOD[at + 1 :]))
            assert result.packet is not None or result.findings, at


CONTENT = b"<edXML:ContentTransferEncoded>QUJD</edXML:ContentTransferEncoded>"
DECOYS = {
    "comment": b"<!-- " + CONTENT + b" -->",
    "instruction": b"<?x " + CONTENT + b" ?>",
    "section": b"<![CDATA[" + CONTENT + b"]]>",
    "section_that_looks_like_a_comment": b"<![CDATA[<!--]]>x<![CDATA[-->" + CONTENT + b"]]>",
    "comment_that_looks_like_a_section": b"<!-- <![CDATA[ --><!-- " + CONTENT + b"]]> -->",
    "references": b"&lt;edXML:ContentTransferEncoded&gt;QUJD&lt;/edXML:ContentTransferEncoded&gt;",
}


@pytest.mark.parametrize("decoy", DECOYS.values(), ids=DECOYS.keys())
def test_what_only_looks_like_an_attachment_is_text(decoy: bytes) -> None:
    result = read_bytes(with_subject(b"a " + decoy + b" b"))
    assert not result.is_refused, result.findings
    assert isinstance(result.packet, Packet)
    (attachment,) = result.packet.attachments
    assert attachment.sniffed == "pdf"
    assert result.packet.subject.startswith("a ")
    assert result.packet.subject.endswith(" b")
    assert read(Slow(with_subject(b"a " + decoy + b" b"), 1)).packet == result.packet


def test_floods_are_refused_before_a_tree_of_them_stands() -> None:
    for name in ("elements", "attributes", "huge_texts"):
        assert not read_bytes(HOSTILE[name][0] + b" " * PIECE * 8).is_complete, name


def test_ten_thousand_recipients_are_too_many() -> None:
    to = GOOD[GOOD.index(b"<edXML:To>") : GOOD.index(b"</edXML:To>") + len(b"</edXML:To>")]
    for one in (b"<edXML:To><edXML:OrganId>H99</edXML:OrganId></edXML:To>", to):
        result = read_bytes(GOOD.replace(to, one * 10_000))
        assert "edxml.too_many_recipients" in codes(result)


def test_lines_and_paths_point_at_the_fault() -> None:
    result = read_bytes(GOOD.replace(b"<edXML:OrganId>000.00.01.H99", b"<edXML:OrganId>!!"))
    (finding,) = result.findings
    assert finding.code == "edxml.organ_id_malformed"
    assert finding.place.path == "edXML/edXMLEnvelope/edXMLHeader/MessageHeader/To"
    assert GOOD.decode().splitlines()[(finding.place.line or 0) - 1].strip() == "<edXML:To>"


class Blanks(io.RawIOBase):
    """Hundreds of megabytes out of nothing: a head, a filler repeated, a tail."""

    def __init__(self, head: bytes, filler: bytes, times: int, tail: bytes) -> None:
        super().__init__()
        self._parts = self._all(head, filler, times, tail)
        self.given = 0

    @staticmethod
    def _all(head: bytes, filler: bytes, times: int, tail: bytes) -> Iterator[bytes]:
        yield head
        for _ in range(times):
            yield filler
        yield tail

    def read(self, size: int = -1, /) -> bytes:
        piece = next(self._parts, b"")
        self.given += len(piece)
        return piece


def grown(run: Callable[[], ReadResult]) -> tuple[ReadResult, int, int]:
    """The result, the peak of Python's memory meanwhile, and how much the process's own peak grew (KiB)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        result = run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


SPOTS = {
    "at_the_beginning": (b"", GOOD),
    "in_a_text": (HEAD + b"<edXML:Subject>", TAIL),
    "after_the_end": (GOOD, b""),
    "in_a_tag": (HEAD + b"<edXML:Subject ", TAIL),
}


@pytest.mark.parametrize(("head", "tail"), SPOTS.values(), ids=SPOTS.keys())
def test_a_gigabyte_of_blanks_is_refused_early_with_flat_memory(head: bytes, tail: bytes) -> None:
    stream = Blanks(head, b" " * PIECE, (1 << 30) // PIECE, tail)
    result, peak, process = grown(lambda: read(stream))
    assert result.is_refused
    assert stream.given < 16 << 20
    assert peak < 16 << 20
    assert process < 32 << 10


def test_two_hundred_megabytes_of_attachment_pass_with_flat_memory() -> None:
    marker = GOOD.index(b"JVBERi")
    end = GOOD.index(b"<", marker)
    head, tail = GOOD[:marker], GOOD[end:]
    line = (b"QUJD" * 19 + b"\r\n") * (PIECE // 78)
    times = (200 << 20) // len(line)
    result, peak, process = grown(lambda: read(Blanks(head, line, times, tail)))
    assert not result.is_refused
    assert result.packet is not None
    (attachment,) = result.packet.attachments  # type: ignore[union-attr]
    assert attachment.length == times * (PIECE // 78) * 57
    assert peak < 4 << 20
    assert process < 32 << 10


def test_blanks_inside_an_attachment_cost_no_memory() -> None:
    marker = GOOD.index(b"JVBERi")
    stream = Blanks(GOOD[:marker], b" " * PIECE, (64 << 20) // PIECE, GOOD[marker:])
    result, peak, _ = grown(lambda: read(stream))
    assert not result.is_refused
    assert peak < 4 << 20


def test_a_packet_beyond_the_limit_is_refused_while_it_comes() -> None:
    stream = Blanks(GOOD[: GOOD.index(b"JVBERi")], b"QUJD" * 1024, 10_000, b"")
    result = read(stream, limits=Limits(packet=1 << 20))
    assert codes(result) == {"edxml.packet_too_large"}
    assert stream.given < (1 << 20) + 10_000


def test_findings_about_the_same_thing_over_and_over_are_cut() -> None:
    many = b"<edXML:Nothing/>" * 20_000
    result = read_bytes(GOOD.replace(b"<edXML:Subject>", many + b"<edXML:Subject>"))
    assert len(result.findings) == DEFAULT_LIMITS.findings
    assert result.findings[-1].place.path.endswith("MessageHeader/Nothing[1000]")
