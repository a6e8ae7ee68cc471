"""Any packet that can be written reads back equal, without a repair, in both dialects; any bytes end in a verdict."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from edxml import (
    STRICT,
    Attachment,
    BusinessKind,
    Dialect,
    DocumentId,
    OrganId,
    Organization,
    OtherInfo,
    Packet,
    Priority,
    ReceiverChange,
    Replacement,
    ResponseFor,
    StaffInfo,
    StatusCode,
    StatusPacket,
    SteeringType,
    TraceHeader,
    open_decoded,
    plan_attachment,
    read,
    write,
    write_status,
)
from edxml.secrecy import CODE
from tests.support.packets import build_packet

LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="\ufffe\uffff")
TEXT = st.text(LETTERS | st.sampled_from("&<>\"'\n\t Đđ]"), max_size=40).map(str.strip)
WORDS = TEXT.filter(bool)
ORGANS = st.sampled_from(("000.00.01.H99", "H99.02", "28.22.H17", "vxp.saas.03", "H41.2.5")).map(OrganId.parse)
DAYS = st.dates(date(1945, 9, 2), date(2100, 1, 1))
TIMES = st.integers(0, 3_800_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
DOCUMENT_IDS = st.one_of(WORDS.filter(lambda t: len(t) <= 75), st.just("H99,2025/09/01,1/UBND")).map(DocumentId)
COUNTS = st.none() | st.integers(0, 999_999_999)


def lines(what: st.SearchStrategy[Any] = WORDS) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(what, max_size=3).map(tuple)


ORGANIZATIONS = st.builds(
    Organization, organ_id=ORGANS, name=TEXT, in_charge=TEXT, address=TEXT, email=TEXT, telephone=TEXT, website=TEXT
)
ANSWERED = st.builds(
    ResponseFor, organ_id=ORGANS, code=TEXT, promulgation_date=st.none() | DAYS, document_id=st.none() | DOCUMENT_IDS
)
STAFF = st.builds(StaffInfo, department=TEXT, staff=TEXT, email=TEXT, mobile=TEXT)
FILES = st.lists(
    st.tuples(
        st.tuples(WORDS, st.sampled_from(("", ".pdf", ".docx", ".zip", ".doc", ".TXT"))).map("".join),
        st.binary(max_size=300) | st.binary(max_size=50).map(b"PK\x03\x04".__add__) | st.just(b"%PDF-1.7"),
    ),
    max_size=3,
)


@st.composite
def packets(draw: st.DrawFn) -> tuple[Packet, list[bytes]]:
    files = draw(FILES)
    packet = draw(
        st.builds(
            Packet,
            sender=ORGANIZATIONS,
            recipients=st.lists(ORGANIZATIONS, min_size=1, max_size=3).map(tuple),
            document_id=DOCUMENT_IDS,
            code_number=TEXT, code_notation=TEXT,
            promulgation_place=TEXT, promulgation_date=st.none() | DAYS,
            type=TEXT, type_detail=TEXT, type_name=TEXT,
            subject=TEXT, content=TEXT,
            signer_competence=TEXT, signer_position=TEXT, signer_name=TEXT,
            due_date=st.none() | DAYS,
            priority=st.sampled_from(Priority),
            to_places=lines(),
            other=st.builds(
                OtherInfo, sphere=TEXT, typer_notation=TEXT, promulgation_amount=COUNTS, page_amount=COUNTS,
                direction=st.booleans(), appendixes=lines(), reply_fors=TEXT, reference_codes=TEXT,
            ),
            response_for=lines(ANSWERED),
            steering_type=st.none() | st.sampled_from(SteeringType),
            tasks=lines(), application_type=TEXT,
            trace=lines(st.builds(TraceHeader, organ_id=ORGANS, timestamp=st.none() | TIMES)),
            business_kind=st.sampled_from(BusinessKind), business_reason=TEXT,
            business_document_id=st.none() | DOCUMENT_IDS,
            document_changed=st.booleans(), receivers_changed=st.booleans(),
            receiver_changes=lines(st.builds(ReceiverChange, ORGANS, st.booleans())),
            replacements=lines(st.builds(Replacement, DOCUMENT_IDS, lines(ORGANS))),
            staff=STAFF, paper=st.booleans(),
            attachments=st.just(planned(files)),
        )
    )  # fmt: skip
    return packet, [data for _, data in files]


def planned(files: list[tuple[str, bytes]]) -> tuple[Attachment, ...]:
    return tuple(plan_attachment(name, io.BytesIO(data), position=at) for at, (name, data) in enumerate(files, 1))


QUIET = {
    CODE, "edxml.attachment_empty", "edxml.schema_element_missing", "edxml.zip_damaged", "edxml.zip_encrypted",
    "edxml.zip_nested",
}  # fmt: skip
"""What random texts and bytes may rightly be told of."""


@settings(max_examples=150, deadline=None)
@given(made=packets(), dialect=st.sampled_from((Dialect.A, Dialect.B)))
def test_document_built_written_and_read_is_equal(made: tuple[Packet, list[bytes]], dialect: Dialect) -> None:
    packet, files = made
    out = io.BytesIO()
    write(packet, out, open_attachment=[io.BytesIO(data) for data in files], dialect=dialect)
    again = io.BytesIO()
    write(packet, again, open_attachment=lambda a: io.BytesIO(files[a.position - 1]), dialect=dialect)
    assert again.getvalue() == out.getvalue()
    result = read(io.BytesIO(out.getvalue()), profile=STRICT)
    assert result.repairs == ()
    assert {finding.code for finding in result.findings} <= QUIET
    assert result.packet == packet
    assert isinstance(result.packet, Packet)
    for attachment, data in zip(result.packet.attachments, files, strict=True):
        assert b"".join(open_decoded(out, attachment)) == data


@settings(max_examples=100, deadline=None)
@given(
    status=st.builds(
        StatusPacket,
        sender=ORGANIZATIONS,
        response_for=ANSWERED,
        staff=STAFF,
        status_code=st.sampled_from(StatusCode),
        description=TEXT,
        timestamp=st.none() | TIMES,
    ),
    dialect=st.sampled_from((Dialect.A, Dialect.B)),
)
def test_status_built_written_and_read_is_equal(status: StatusPacket, dialect: Dialect) -> None:
    out = io.BytesIO()
    write_status(status, out, dialect=dialect)
    result = read(io.BytesIO(out.getvalue()), profile=STRICT)
    assert {finding.code for finding in result.findings} <= {CODE}
    assert result.packet == status


GOOD = build_packet(files=(("a.pdf", b"%PDF-1.7 abc"), ("b.txt", b"xin chao")))
MARKUP = st.sampled_from(
    (b"<", b">", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?x", b"?>", b"<!", b"&#13;", b"&", b'"', b"'", b"\0",
     b"<edXML:ContentTransferEncoded>", b"</edXML:ContentTransferEncoded>", b"<ContentTransferEncoded/>", b" ",
     b"QUJD", b"=", b"<a b='>'>", b"</a>", b"\xff", b"]]", b"<!DOCTYPE a>", b"xmlns:edXML='x'")
)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 30), MARKUP), min_size=1, max_size=4)


def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
    data = GOOD
    for at, length, markup in edits:
        data = data[:at] + markup + data[at + length :]
    return data


class Pieces(io.BytesIO):
    """Gives 61 bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(61)


@settings(max_examples=300, deadline=None)
@given(EDITS)
def test_whatever_is_accepted_a_whole_parser_reads_the_same_way(edits: list[tuple[int, int, bytes]]) -> None:
    """The splitter and lxml never disagree: no attachment that a parser of the whole packet would not see."""
    data = edited(edits)
    result = read(io.BytesIO(data))
    in_pieces = read(Pieces(data))
    assert in_pieces.packet == result.packet
    assert in_pieces.is_refused == result.is_refused
    if not isinstance(result.packet, Packet) or result.is_refused:  # of two faults either may be met first
        return
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, remove_comments=True, huge_tree=True)
    root = etree.fromstring(data[data.find(b"<") :], parser)
    texts = [element.text or "" for element in root.iter("{*}ContentTransferEncoded")]
    assert len(texts) == len(result.packet.attachments)
    for text, attachment in zip(texts, result.packet.attachments, strict=True):
        start, end = attachment.span
        spanned = data[start:end].replace(b"&#13;", b"\r").replace(b"\r\n", b"\n").decode()
        assert "".join(spanned.split()) == "".join(text.split())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_verdict(data: bytes) -> None:
    assert read(io.BytesIO(data)).is_refused
    marker = GOOD.index(b"<edXML:Subject>")
    read(io.BytesIO(GOOD[:marker] + data + GOOD[marker:]))


@settings(max_examples=60, deadline=None)
@given(st.timedeltas(timedelta(0), timedelta(days=30_000)))
def test_times_survive_the_local_form(offset: timedelta) -> None:
    moment = datetime(1980, 1, 1, tzinfo=UTC) + timedelta(seconds=int(offset.total_seconds()))
    out = io.BytesIO()
    status = StatusPacket(
        sender=Organization(organ_id=OrganId.parse("H99")),
        response_for=ResponseFor(organ_id=OrganId.parse("H99.1"), code="1/A"),
        status_code=StatusCode.ARRIVED,
        timestamp=moment,
    )
    write_status(status, out)
    assert read(io.BytesIO(out.getvalue())).packet == status
