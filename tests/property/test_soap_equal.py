"""A packet written as dialect D says what it says as dialect A, in whatever way its message is put together."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from edxml import Dialect, Packet, open_decoded, read, write
from tests.property.test_edxml_roundtrip import QUIET, packets
from tests.support.soap import SOAP_11, SOAP_12, build_soap, write_soap

BOUNDARY = st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=70).filter(lambda text: not text.endswith("--"))
GOOD = build_soap(files=(("a.pdf", b"%PDF-1.7 abc"), ("b.txt", b"xin chao\r\n")), transfer="binary")
SNIPPETS = st.sampled_from(
    (b"--Boundary\r\n", b"--Boundary--", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Type: multipart/mixed\r\n",
     b"Content-ID: <1>", b"Content-Transfer-Encoding: base64\r\n", b"=3D", b"<", b"]]>", b":", b";", b'"', b"\0",
     b"\xff", b"--", b" ", b"")
)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 30), SNIPPETS), min_size=1, max_size=4)


class Pieces(io.BytesIO):
    """Gives 61 bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(61)


@settings(max_examples=150, deadline=None)
@given(
    made=packets(),
    transfer=st.sampled_from(("base64", "binary", "quoted-printable")),
    boundary=BOUNDARY,
    end=st.sampled_from((b"\r\n", b"\n")),
    namespace=st.sampled_from((SOAP_11, SOAP_12)),
    is_declared=st.booleans(),
)
def test_dialect_d_says_what_dialect_a_says(
    made: tuple[Packet, list[bytes]], transfer: str, boundary: str, end: bytes, namespace: str, is_declared: bool
) -> None:
    packet, files = made
    if any(f"--{boundary}".encode() in data for data in files):  # no writer may choose such a boundary
        return
    out = io.BytesIO()
    write(packet, out, open_attachment=[io.BytesIO(data) for data in files])
    head = f'Content-Type: multipart/related; boundary="{boundary}"\r\n\r\n'.encode() if is_declared else b""
    data = write_soap(packet, files, transfer=transfer, head=head, boundary=boundary, end=end, namespace=namespace)
    plain, soap = read(io.BytesIO(out.getvalue())), read(io.BytesIO(data))
    assert {finding.code for finding in soap.findings} <= QUIET
    assert soap.packet == plain.packet == packet
    assert soap.dialect is Dialect.D
    assert {repair.name for repair in soap.repairs} == {"soap_envelope"} | ({"mime_bare_lf"} if end == b"\n" else set())
    assert isinstance(soap.packet, Packet)
    for file, expected in zip(soap.packet.attachments, files, strict=True):
        assert b"".join(open_decoded(io.BytesIO(data), file)) == expected
    assert read(Pieces(data)).packet == soap.packet


@settings(max_examples=300, deadline=None)
@given(EDITS)
def test_whatever_stands_in_a_message_ends_in_a_verdict(edits: list[tuple[int, int, bytes]]) -> None:
    data = GOOD
    for at, length, snippet in edits:
        data = data[:at] + snippet + data[at + length :]
    result, in_pieces = read(io.BytesIO(data)), read(Pieces(data))
    assert in_pieces.packet == result.packet
    assert in_pieces.is_refused == result.is_refused
    if isinstance(result.packet, Packet) and not result.is_refused:
        for file in result.packet.attachments:
            assert sum(map(len, open_decoded(io.BytesIO(data), file))) == file.length
