"""What the reader promises of real and of hostile packets and no other test shows: one case each, and the time."""

from __future__ import annotations

import base64
import io
import re
import time
import zipfile
from pathlib import Path

import pytest

from edxml import Dialect, Limits, Packet, ReadResult, open_decoded, read
from tests.corpus.test_packet_hostile import HOSTILE, PAIR, with_subject
from tests.support.packets import build_packet

SAMPLES = sorted((Path(__file__).parents[3] / "shared" / "samples" / "edxml").glob("*.edxml"))
GOOD = build_packet()
PDF = b"%PDF-1.7\nxin chao\n%%EOF\n"
NS = "http://www.mic.gov.vn/TBT/QCVN_102_2016"


def codes(result: ReadResult) -> set[str]:
    return {finding.code for finding in result.findings}


def document(data: bytes) -> Packet:
    result = read(io.BytesIO(data))
    assert not result.is_refused, result.findings
    assert isinstance(result.packet, Packet)
    return result.packet


def read_timed(data: bytes) -> ReadResult:
    """Within a second for each megabyte, or a second for less."""
    began = time.process_time()
    result = read(io.BytesIO(data))
    assert time.process_time() - began < max(1, len(data) / (1 << 20))
    return result


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def with_zip(data: bytes) -> bytes:
    text = base64.b64encode(data)
    packet = re.sub(rb"(ContentTransferEncoded[^>]*>)[^<]*<", lambda found: found[1] + text + b"<", GOOD, count=1)
    return packet.replace(b"application/pdf", b"application/zip").replace(b"van-ban.pdf", b"van-ban.doc")


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\a.doc", "x" * 60_000, "a\0b", "không"])
def test_the_name_of_a_zip_s_entry_is_ignored(name: str) -> None:
    data = with_zip(zipped(name, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99)))
    (file,) = document(data).attachments
    assert (file.name, file.encoding, file.length) == ("van-ban.doc", "zip", 107)


def test_what_comes_out_of_a_zip_has_a_size_limit_of_its_own() -> None:
    data = with_zip(zipped("x", bytes(range(256)) * 8))
    assert not read(io.BytesIO(data), limits=Limits(unzipped=2048)).is_refused
    result = read(io.BytesIO(data), limits=Limits(unzipped=2047))
    assert codes(result) == {"edxml.zip_bomb"}
    assert result.is_refused


@pytest.mark.parametrize(
    ("listed", "own"), [("cid:1", "cid:1"), ("1", "1"), ("cid:1", "1"), ("1", "cid:1"), ("CID:1", "1")]
)
def test_ids_with_and_without_cid_meet(listed: str, own: str) -> None:
    data = GOOD.replace(b"<edXML:ContentId>cid:1<", f"<edXML:ContentId>{listed}<".encode())
    data = data.replace(b"<ContentId>cid:1<", f"<ContentId>{own}<".encode()).replace(
        b"<AttachmentName>van-ban.pdf</AttachmentName>", b""
    )
    (file,) = document(data).attachments
    assert (file.content_id, file.name) == ("1", "van-ban.pdf")
    repaired = {repair.name for repair in read(io.BytesIO(data)).repairs}
    assert ("cid_prefix_mismatch" in repaired) == (listed != own)


def test_line_ends_of_windows_change_nothing() -> None:
    data = GOOD.replace(b"\n", b"\r\n")
    result = read(io.BytesIO(data))
    assert result.packet == document(GOOD)
    assert result.repairs == ()
    assert isinstance(result.packet, Packet)
    assert b"".join(open_decoded(io.BytesIO(data), result.packet.attachments[0])) == PDF


REFUSED_DIALECTS = {
    Dialect.C: (b'<EdXMLEnvelope xmlns="http://www.go.vn/eDoc"/>', b'<edXMLEnvelope xmlns="http://www.go.vn/eDoc"/>'),
    Dialect.E: (PAIR, b'<edXML:document xmlns:edXML="http://www.e-doc.vn/Schema/"/>'),
    Dialect.F: (f'<EdXMLEnvelope xmlns="{NS}"/>'.encode(), f'<edxmlenvelope xmlns="{NS}"/>'.encode()),
}


@pytest.mark.parametrize("dialect", REFUSED_DIALECTS)
def test_dialects_that_are_not_read_are_named(dialect: Dialect) -> None:
    for data in REFUSED_DIALECTS[dialect]:
        result = read(io.BytesIO(data))
        (finding,) = result.findings
        assert (result.dialect, result.packet) == (dialect, None)
        assert (finding.code, finding.params["dialect"]) == ("edxml.dialect_unsupported", str(dialect))


def namespaces(count: int) -> bytes:
    return b"".join(b' xmlns:n%d="urn:%d"' % (at, at) for at in range(count))


BOMBS = {
    "namespaces_on_one": (b"<a" + namespaces(2_000) + b"/>", ""),
    "namespaces_on_many": ((b"<a" + namespaces(2_000) + b"/>") * 11, "edxml.too_many_attributes"),
    "namespaces_within_each_other": (
        b"".join(b"<a" + namespaces(600) + b">" for _ in range(20)) + b"</a>" * 20, "",
    ),
    "one_namespace_used_by_all": (b"<a" + namespaces(1_900) + b">" + b"<n1899:b/>" * 40_000 + b"</a>", ""),
    "long_namespace": (b'<a xmlns:n="urn:' + b"x" * 60_000 + b'"/>', ""),
    "references": (b"&#65;" * 200_000, "edxml.text_too_long"),
    "sections": (b"<![CDATA[xx]]>" * 40_000, "edxml.text_too_long"),
    "comments": (b"<!-- x -->" * 100_000, ""),
    "instructions": (b"<?x y?>" * 100_000, ""),
    "angles": (b"<" * 1_000_000, "edxml.too_many_elements"),
    "quotes": (b"<a b=" + b"'\"" * 400_000, "edxml.markup_too_long"),
    "almost_content": (b"<edXML:ContentTransferEncodedX/>" * 30_000, ""),
}  # fmt: skip
"""What may stand in a subject, and what it must be refused for; empty where it is harmless, though slow elsewhere."""


@pytest.mark.parametrize(("text", "code"), BOMBS.values(), ids=BOMBS.keys())
def test_bombs_cost_no_time(text: bytes, code: str) -> None:
    result = read_timed(with_subject(text))
    if code:
        assert result.is_refused
        assert code in codes(result), codes(result)


@pytest.mark.parametrize("data", [data for data, _ in HOSTILE.values()], ids=HOSTILE.keys())
def test_whatever_is_hostile_is_refused_within_a_second_for_a_megabyte(data: bytes) -> None:
    assert read_timed(data).is_refused


@pytest.mark.shared
@pytest.mark.skipif(not SAMPLES, reason="../shared/samples is absent")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_cut_at_every_percent_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    end = whole.rindex(b">")
    for percent in range(100):
        began = time.process_time()
        result = read(io.BytesIO(whole[: end * percent // 100]))
        assert result.is_refused, percent
        assert result.findings, percent
        assert time.process_time() - began < 1, percent


def test_the_packet_whose_bytes_are_flipped_is_of_the_size_of_small_real_ones() -> None:
    assert 2_000 < len(build_packet(recipients=("000.00.01.H99",))) < 4_500
