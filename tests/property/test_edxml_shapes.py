"""A packet of a known shape is read as lxml would have it read: the same values, places, repairs and digests."""

from __future__ import annotations

import io
import tracemalloc
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edxml import DEFAULT_LIMITS, Dialect, Limits, Packet, ReadResult, read, write
from edxml._shapes import SHAPES, look_at
from tests.property.test_edxml_roundtrip import packets
from tests.support.packets import build_packet, build_status

TODAY = date(2026, 11, 25)
DATA = Path(__file__).parents[1] / "corpus" / "data"
LINES = build_packet(files=(("a.pdf", b"%PDF-1.7 abc"), ("../b.txt", b"xin chao"))).replace(
    b"</edXML:ContentTransferEncoded>", b"\n\n</edXML:ContentTransferEncoded>"
)
"""A rule is broken behind a text of several lines."""
PLAIN = [
    build_packet(files=(("a.pdf", b"%PDF-1.7 abc"), ("b.txt", b"xin chao"))),
    build_packet(),
    build_status(),
    LINES,
    *(path.read_bytes() for path in sorted(DATA.glob("*.edxml"))),
]


class Late(io.BytesIO):
    """Gives the last byte by itself, so that the packet is never looked at whole."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(max(1, len(self.getvalue()) - 1 - self.tell()))


def judged(stream: io.BytesIO, limits: Limits = DEFAULT_LIMITS) -> ReadResult:
    return read(stream, check_schema=True, check_rules=True, today=TODAY, limits=limits)


def is_known(data: bytes, limits: Limits = DEFAULT_LIMITS) -> bool:
    sighting = look_at(data)
    return sighting is not None and SHAPES.recognise(sighting, limits) is not None


def assert_same(data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
    """By their text, which shows the fields too that do not count as equal: raw codes, spans, what files look like."""
    for _ in range(2):
        judged(io.BytesIO(data), limits)
    whole, late = judged(io.BytesIO(data), limits), judged(Late(data), limits)
    if late.is_complete:
        assert repr(whole) == repr(late)
    elif is_known(data, limits):  # more or less was read before the end
        assert repr((whole.packet, whole.findings, whole.repairs)) == repr((late.packet, late.findings, late.repairs))
    else:  # lxml's words for what is no XML hang on the pieces it gets
        assert whole.is_refused
        assert whole.packet is late.packet is None


@pytest.mark.parametrize("data", [data for data in PLAIN if b"&" not in data])
def test_what_was_read_once_is_known(data: bytes) -> None:
    read(io.BytesIO(data))
    read(io.BytesIO(data))
    assert is_known(data)
    assert_same(data)
    assert not is_known(data.replace(b"<edXML:MessageHeader>", b"<edXML:MessageHeader >"))


@settings(max_examples=100, deadline=None)
@given(made=packets(), dialect=st.sampled_from((Dialect.A, Dialect.B)))
def test_generated_packets(made: tuple[Packet, list[bytes]], dialect: Dialect) -> None:
    packet, files = made
    out = io.BytesIO()
    write(packet, out, open_attachment=[io.BytesIO(data) for data in files], dialect=dialect)
    assert_same(out.getvalue())


TEXTS = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=6)
    | st.sampled_from(
        ("", " ", "\n", "\t", "\r", "\r\n", "\u00a0", "&amp;", "&lt;", "&#13;", "&", ">", "]]>", "/>", "<", "<a>",
         "<a/>", "<!-- x -->", "<![CDATA[x]]>", "<?x y?>", "\x00", "\x0b", "\x7f", "\x85", "\ufffe", "\uffff",
         "\U0001fffe", "null", "2026/02/30", "1/9/2025", "2025/09/01", "000.00.01.H99", "MẬT", "H99", "0", "7",
         "ContentTransferEncoded", "ContentTransferEncoded>QUJD<", "=", "QUJD", "x" * 80, "x" * 70_000, "e\u0301")
    ), min_size=1, max_size=3,
).map("".join)  # fmt: skip
PLACES = st.lists(st.tuples(st.integers(0, 200), TEXTS, st.booleans()), min_size=1, max_size=3)


def with_texts(data: bytes, places: list[tuple[int, str, bool]]) -> bytes:
    """The packet with other texts behind some of its tags, or with more of them."""
    pieces = data.split(b">")
    for at, text, stays in places:
        number = at % len(pieces)
        old, bracket, tag = pieces[number].partition(b"<")
        pieces[number] = (old if stays else b"") + text.encode() + bracket + tag
    return b">".join(pieces)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLAIN), PLACES)
@example(PLAIN[0], [(7, "a>b", False)])
@example(PLAIN[0], [(0, "\n", False)])
def test_other_texts_between_the_same_tags(data: bytes, places: list[tuple[int, str, bool]]) -> None:
    assert_same(data)
    assert_same(with_texts(data, places))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLAIN), st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), min_size=1, max_size=3))
def test_other_bytes_anywhere(data: bytes, changes: list[tuple[int, int]]) -> None:
    assert_same(data)
    changed = bytearray(data)
    for at, byte in changes:
        changed[at % len(data)] = byte
    assert_same(bytes(changed))


def test_lines_count_those_within_attachments() -> None:
    assert_same(LINES)
    (finding,) = [each for each in judged(io.BytesIO(LINES)).findings if each.code == "edxml.attachment_name_unsafe"]
    assert finding.place.line == 1 + LINES[: LINES.index(b"<AttachmentName>../b.txt")].count(b"\n")


def test_every_text_may_be_another() -> None:
    """Each gap between two tags in turn: blank, filled, with what XML must judge."""
    for data in PLAIN[:3]:
        for at in range(data.count(b">") + 1):
            for text in ("", " x ", "&amp;", "a>b"):
                assert_same(with_texts(data, [(at, text, False)]))


LIMITS = (
    Limits(packet=900), Limits(header=900), Limits(depth=3), Limits(elements=20), Limits(attributes=2),
    Limits(markup=40), Limits(text=20), Limits(recipients=1), Limits(attachments=1), Limits(findings=1),
)  # fmt: skip


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_limits_hold_for_what_is_known(limits: Limits) -> None:
    for data in PLAIN:
        for _ in range(2):
            read(io.BytesIO(data))
        whole, late = judged(io.BytesIO(data), limits), judged(Late(data), limits)
        assert repr((whole.packet, whole.findings, whole.repairs)) == repr((late.packet, late.findings, late.repairs))


def test_a_shape_that_comes_once_is_not_learnt() -> None:
    data = PLAIN[1].replace(b"<edXML:MessageHeader>", b'<edXML:MessageHeader b="1">')
    before = len(SHAPES)
    read(io.BytesIO(data))
    assert not is_known(data)
    assert len(SHAPES) == before
    read(io.BytesIO(data))
    assert is_known(data)


def test_what_is_remembered_is_bounded() -> None:
    """As many shapes as a hostile sender likes; one that comes again and again stays."""
    for number in range(600):
        other = PLAIN[1].replace(b"<edXML:MessageHeader>", b'<edXML:MessageHeader a="%d">' % number)
        for data in (other, other, PLAIN[1]):
            read(io.BytesIO(data))
        assert len(SHAPES) < 20_000
    assert is_known(PLAIN[1])
    assert not is_known(PLAIN[1].replace(b"<edXML:MessageHeader>", b'<edXML:MessageHeader a="1">'))
    assert len(SHAPES) > 5_000


def test_what_is_remembered_is_bounded_in_bytes_too() -> None:
    """Few elements with long attributes: the tags are what is remembered, and they are all of the packet."""
    tracemalloc.start()
    try:
        for number in range(1_200):
            text = f"{number:05d}" * 3_000
            data = f'<edXML xmlns="http://www.mic.gov.vn/TBT/QCVN_102_2016" a="{text}"/>'.encode()
            for _ in range(2):
                read(io.BytesIO(data))
            assert is_known(data)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10 << 20
