"""A MIME message taken apart: each way to write boundaries and headers, in pieces of any size, with exact offsets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from edxml import DEFAULT_LIMITS, Limits
from edxml._base64 import Garbage
from edxml._mime import Multipart, is_multipart, take_opening
from edxml._mime_head import PartHead, read_head, split_parameters
from edxml._transfer import new_decoder
from edxml.findings import Refusal
from tests.support.soap import soap_message, soap_part

LONG = b"mot" * 6_000  # longer than the opening, which is looked at in one piece
ONE = soap_part(LONG, "binary", "Content-Type: text/xml", "Content-ID: <a@x>")
TWO = soap_part(b"hai\r\n--Khac\r\n", "binary", "Content-Location: b.bin")
PLAIN = soap_message([ONE, TWO])


class Parts:
    """Keeps the parts and checks that their offsets are those of their bytes."""

    def __init__(self) -> None:
        self.heads: list[PartHead] = []
        self.contents: list[bytes] = []
        self.spans: list[tuple[int, int]] = []
        self._start = 0

    def begin(self, head: PartHead, offset: int) -> None:
        self.heads.append(head)
        self.contents.append(b"")
        self._start = offset

    def write(self, content: bytes) -> None:
        self.contents[-1] += content

    def end(self, offset: int) -> None:
        self.spans.append((self._start, offset))


def take(data: bytes, size: int = 1 << 20, limits: Limits = DEFAULT_LIMITS) -> tuple[Parts, dict[str, int]]:
    parts, repairs = Parts(), dict[str, int]()
    message = Multipart(limits=limits, parts=parts, repaired=repairs.__setitem__)
    for at in range(0, len(data), size):
        message.feed(data[at : at + size])
    message.close()
    assert [data[start:end] for start, end in parts.spans] == parts.contents
    return parts, repairs


def refused(data: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[str, int | None]:
    found = set()
    for size in (1, 7, 1 << 20):
        with pytest.raises(Refusal) as caught:
            take(data, size, limits)
        found.add((caught.value.finding.code, caught.value.finding.place.line))
    assert len({code for code, _ in found}) == 1
    return max(found, key=str)


HEAD = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\ttype="text/xml"; boundary="%b"; start="<a@x>"\r\n\r\n'
)
FORMS = {
    "bare": (PLAIN, set()),
    "header": (HEAD % b"Boundary" + PLAIN, set()),
    "header_of_another_case": ((HEAD % b"Boundary").replace(b"Content-Type", b"CONTENT-TYPE") + PLAIN, set()),
    "boundary_with_blanks_and_marks": (soap_message([ONE, TWO], boundary="=_a b'()+,./:=?c"), set()),
    "boundary_that_begins_another": (soap_message([ONE, TWO], boundary="K"), set()),
    "no_line_end_after_the_last": (PLAIN[:-2], set()),
    "blanks_after_boundaries": (PLAIN.replace(b"--Boundary\r\n", b"--Boundary \t\r\n"), set()),
    "blank_lines_first": (b"\r\n\r\n" + PLAIN, set()),
    "blank_lines_last": (PLAIN + b"\r\n \r\n", set()),
    "preamble": (b"Mot thong diep.\r\n" + PLAIN, {"mime_text_outside"}),
    "preamble_behind_header": (HEAD % b"Boundary" + b"Mot thong diep.\r\n\r\n" + PLAIN, {"mime_text_outside"}),
    "epilogue": (PLAIN + b"Het.\r\n", {"mime_text_outside"}),
    "bom": (b"\xef\xbb\xbf" + PLAIN, {"bom"}),
    "boundary_undeclared": ((HEAD % b"x").replace(b'boundary="x"; ', b"") + PLAIN, {"mime_boundary_undeclared"}),
}


@pytest.mark.parametrize("size", [1, 2, 13, 1 << 20])
@pytest.mark.parametrize(("data", "repairs"), FORMS.values(), ids=FORMS.keys())
def test_forms_of_one_message(data: bytes, repairs: set[str], size: int) -> None:
    parts, told = take(data, size)
    assert parts.contents == [LONG, b"hai\r\n--Khac\r\n"]
    assert set(told) == repairs
    assert [head.content_id for head in parts.heads] == ["a@x", ""]
    assert parts.heads[1].location == "b.bin"
    assert data.splitlines()[parts.heads[1].line - 1] == b"Content-Location: b.bin"
    assert is_multipart(data)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_line_ends_belong_to_boundaries_and_not_to_contents(size: int) -> None:
    parts, told = take(PLAIN.replace(b"\r\n", b"\n"), size)
    assert parts.contents == [LONG, b"hai\n--Khac\n"]
    assert told == {"mime_bare_lf": 1}
    mixed = PLAIN.replace(b"mot\r\n--", b"mot\n--")
    parts, told = take(mixed, size)
    assert parts.contents[0] == LONG
    assert told == {"mime_bare_lf": 6}
    ends_in_cr = soap_message([soap_part(b"a\r", "binary", "Content-Type: text/xml", end=b"\n")], end=b"\n")
    assert take(ends_in_cr, size)[0].contents == [b"a\r"]


INSIDE = {
    "no_line_of_its_own": b"x--Boundary\r\n",
    "longer": b"\r\n--Boundary2\r\nx",
    "one_dash": b"\r\n--Boundary-\r\nx",
    "text_behind": b"\r\n--Boundary x\r\n",
    "many": b"\r\n--Boundary2" * 5_000,
    "endless_blanks": b"\r\n--Boundary" + b" " * 70 + b"\r\n",
    "cr_alone": b"\r--Boundary\r",
}


@pytest.mark.parametrize("size", [3, 64, 1 << 20])
@pytest.mark.parametrize("content", INSIDE.values(), ids=INSIDE.keys())
def test_what_only_looks_like_a_boundary_is_content(content: bytes, size: int) -> None:
    parts, _ = take(soap_message([ONE, soap_part(content, "binary", "Content-Type: text/xml")]), size)
    assert parts.contents == [LONG, content]


def test_parts_may_be_empty_and_have_no_header() -> None:
    parts, _ = take(soap_message([b"\r\nnoi dung", b"Content-ID: <b>\r\n\r\n"]))
    assert parts.contents == [b"noi dung", b""]
    assert parts.heads[0].media_type == ""
    parts, _ = take(b"--B\r\nContent-ID: <b>\r\n\r\n--B--")
    assert parts.contents == [b""]


REFUSED = {
    "no_closing_boundary": (soap_message([ONE, TWO], tail=b""), "edxml.truncated"),
    "half_a_closing_boundary": (soap_message([ONE, TWO], tail=b"--Boundary-"), "edxml.truncated"),
    "boundary_at_the_end": (soap_message([ONE, TWO], tail=b"--Boundary"), "edxml.truncated"),
    "cut_in_a_header": (soap_message([ONE], tail=b"--Boundary\r\nContent-Id"), "edxml.truncated"),
    "cut_in_the_first_header": (HEAD[:-6], "edxml.truncated"),
    "declared_but_absent": (HEAD % b"Other" + PLAIN, "edxml.mime_boundary_missing"),
    "no_boundary_at_all": (HEAD % b"x" + b"mot hai ba", "edxml.mime_boundary_missing"),
    "header_malformed": (soap_message([ONE, b"Content-Type text/xml\r\n\r\nx"]), "edxml.mime_header_malformed"),
    "boundary_in_binary": (
        soap_message([soap_part(b"%PDF\r\n--Boundary\r\n\x00\x01", "binary")]), "edxml.mime_header_malformed",
    ),
    "type_twice": (
        soap_message([b"Content-Type: text/xml\r\ncontent-type: a/b\r\n\r\nx"]), "edxml.mime_header_repeated",
    ),
    "header_too_large": (
        soap_message([b"X-A: " + b"x" * 20_000 + b"\r\n\r\nx"]), "edxml.mime_header_too_large",
    ),
    "own_header_too_large": (
        (HEAD % b"B").replace(b"\r\n\r\n", b"\r\nX-B: " + b"y" * 18_000) + b"\r\n\r\n" + PLAIN,
        "edxml.mime_header_too_large",
    ),
    "encoding": (soap_message([soap_part(b"x", "x-uuencode")]), "edxml.mime_encoding_unknown"),
    "part_behind_the_end": (PLAIN + b"--Boundary\r\n" + TWO, "edxml.mime_after_end"),
    "flood_behind_the_end": (PLAIN + b"\0" * 100_000, "edxml.mime_after_end"),
    "flood_before_the_first": (HEAD % b"Boundary" + b"x" * 100_000 + b"\r\n" + PLAIN, "edxml.mime_boundary_missing"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_by_name(data: bytes, code: str) -> None:
    told, line = refused(data)
    assert told == code
    assert line is not None
    assert 1 <= line <= data.count(b"\n") + 1


NO_MESSAGES = {
    "xml": b'<?xml version="1.0"?>\n<a/>',
    "xml_with_blanks": b"\xef\xbb\xbf \n<a/>",
    "junk_then_xml": b"1212<edXML/>",
    "http_header_then_xml": b"Content-Type: text/xml\r\n\r\n<edXML/>",
    "boundary_inside_xml": b"<a>\n--Boundary\r\nContent-Type: text/xml\r\n",
    "text": b"khong phai xml",
    "dashes": b"-- \n--\n",
    "pdf": b"%PDF-1.7\n",
    "nothing": b"",
}


@pytest.mark.parametrize("data", NO_MESSAGES.values(), ids=NO_MESSAGES.keys())
def test_other_bytes_are_no_message(data: bytes) -> None:
    assert not is_multipart(data)


def test_the_opening_is_all_that_is_held_back() -> None:
    given = 0

    def pieces() -> Iterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield b"x" * 1000

    assert len(take_opening(pieces())) == given < 20_000
    assert take_opening(iter((b" ", b"\n", b"<a", b"/>"))) == b" \n<a"
    assert take_opening(iter(())) == b""


NAMES = {
    'attachment; filename="van ban.pdf"': "van ban.pdf",
    "attachment; filename=vb.pdf": "vb.pdf",
    'attachment; filename="a\\"b;c.pdf"': 'a"b;c.pdf',
    'attachment; filename="Quyết định.pdf"': "Quyết định.pdf",
    "attachment; filename*=UTF-8''Quy%E1%BA%BFt%20%C4%91%E1%BB%8Bnh.pdf": "Quyết định.pdf",
    "attachment; filename=\"x.pdf\"; filename*=utf-8'vi'Quy%E1%BA%BFt.pdf": "Quyết.pdf",
    "attachment; filename*0*=UTF-8''Quy%E1%BA; filename*1*=%BFt; filename*2=\".pdf\"": "Quyết.pdf",
    'attachment; filename="=?UTF-8?B?UXV54bq/dA==?= =?UTF-8?Q?_=C4=91=E1=BB=8Bnh?="': "Quyết định",
    "attachment; filename*=x-unheard-of''a%FFb": "a\ufffdb",
    "attachment; filename=\"=?zip?B?QUJD?=\"": "ABC",
    'attachment; filename="a\x07b"': "a\ufffdb",
    "attachment": "",
    "attachment; filename": "",
}  # fmt: skip


@pytest.mark.parametrize(("field", "name"), NAMES.items())
def test_names_of_files(field: str, name: str) -> None:
    assert split_parameters(field)[1].get("filename", "") == name


def test_a_name_may_stand_in_the_type_too() -> None:
    head = read_head(b'Content-Type: Application/PDF; name="a.pdf"\r\nX-More: 1', 1)
    assert (head.media_type, head.name, head.is_ascii) == ("application/pdf", "a.pdf", True)


def test_headers_cost_little_whatever_they_hold() -> None:
    limit = 16_000
    began = time.process_time()
    for pattern in (b'; a="', b"=?a?q?", b"; a*0*=", b";", b"=?utf-8?b?", b"  ", b'\\"'):
        for name in (b"filename=", b'filename="', b""):
            read_head((b"Content-Disposition: x; " + name + pattern * limit)[:limit], 1)
    assert time.process_time() - began < 1.0, "21 headers of the largest size"


QUOTED = {
    b"=E1=BB=87 a=\r\nb": "ệ ab".encode(),
    b"a =\nb": b"a b",
    b"a  \r\nb\t": b"a\r\nb",
    b"a= \r\nb": b"ab",
    b"a=": b"a",
    b"a= ": b"a",
    b"=3d=3D": b"==",
    b"": b"",
}


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(("text", "data"), QUOTED.items())
def test_quoted_printable(text: bytes, data: bytes, size: int) -> None:
    decoder = new_decoder("quoted-printable")
    decoded = b"".join(decoder.decode(text[at : at + size]) for at in range(0, len(text), size))
    assert decoded + decoder.finish() == data


@pytest.mark.parametrize("text", [b"=G0", b"a=b\r\n", b"==", b"x" * 70_000])
def test_what_is_no_quoted_printable_is_refused(text: bytes) -> None:
    decoder = new_decoder("quoted-printable")
    with pytest.raises(Garbage):
        decoder.decode(text + b"\n" if len(text) < 100 else text)
