"""Names and reasons as clerks and their software really write them."""

from __future__ import annotations

import os
import unicodedata
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.folder_names import (
    finished_name,
    is_key,
    is_packet_name,
    read_reason,
    refusal_key,
)
from edxml.file_names import number_names, safe_name

REASON = "Không thuộc thẩm quyền giải quyết của xã Nghĩa Đồng"


@pytest.mark.parametrize(
    "name", ["a.edxml", "A.EDXML", "Công văn số 12 “hỏa tốc”.edxml", "it's.edxml", 'x".edxml', "b.edxml.edxml"]
)
def test_offered_for_sending(name: str) -> None:
    assert is_packet_name(name)


@pytest.mark.parametrize(
    ("name", "future"),
    [
        ("a.edxml.part", "a.edxml"),
        ("a.edxml.TMP", "a.edxml"),
        ("a.edxml~", "a.edxml"),
        ("~a.edxml", "a.edxml"),
        ("~$a.edxml", "a.edxml"),
        (".a.edxml", "a.edxml"),
        (".~lock.a.edxml#", "a.edxml"),
        (".nfs0001", "nfs0001"),
        ("a.edxml.filepart", "a.edxml"),
    ],
)
def test_left_alone(name: str, future: str) -> None:
    assert not is_packet_name(name)
    assert finished_name(name) == future


@pytest.mark.parametrize("name", ["a.xml", "a.edxml.txt", "a.pdf", "edxml", "Thumbs.db", "desktop.ini"])
def test_none_of_our_business(name: str) -> None:
    assert not is_packet_name(name)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("k-1.edxml", "k-1"),
        ("k-1.tu-choi.txt", "k-1"),
        ("k-1.tu-choi.txt.txt", "k-1"),
        ("k-1.edxml.tu-choi.txt", "k-1"),
        ("K-1.Tu-Choi.TXT", "K-1"),
        ("k-1 (1).edxml", "k-1"),
        ("k-1 - Copy.edxml", "k-1"),
        ("k-1 - Copy (2).edxml", "k-1"),
        ("k-1 - Bản sao.edxml", "k-1"),
        (unicodedata.normalize("NFD", "k-1 - Bản sao (3).edxml"), "k-1"),
        ("k-1 (bản sao).edxml", "k-1"),
        ("k-1 copy 2.edxml", "k-1"),
        ("k-1 (1).edxml.tu-choi.txt", "k-1"),
        ("k-1.tu-choi (2).txt", "k-1"),
        ("Công văn (1).edxml", "Công văn"),
        ("k-1.json", None),
        ("ghi chú.txt", None),
        ("~$k-1.tu-choi.txt", None),
    ],
)
def test_what_a_returned_name_refuses(name: str, key: str | None) -> None:
    assert refusal_key(name) == key


@pytest.mark.parametrize(
    "content",
    [
        REASON.encode(),
        REASON.encode("utf-8-sig"),
        unicodedata.normalize("NFD", REASON).encode(),
        REASON.encode("utf-16"),
        REASON.encode("utf-16-le"),
        REASON.encode("utf-16-be"),
        b"  " + REASON.replace(" ", "\r\n\t").encode() + b"\r\n",
        f"  {REASON}\r\n".encode("utf-16"),
    ],
    ids=["utf8", "bom", "nfd", "utf16", "utf16le", "utf16be", "lines", "utf16lines"],
)
def test_a_reason_in_any_encoding(content: bytes) -> None:
    assert read_reason(content) == REASON


def test_a_reason_in_cp1258() -> None:
    """cp1258 has the letters but writes most tones as marks of their own: decomposed by hand, as Windows does."""
    content = b"".join(_to_cp1258(letter) for letter in REASON)
    assert read_reason(content) == REASON


def _to_cp1258(letter: str) -> bytes:
    try:
        return letter.encode("cp1258")
    except UnicodeEncodeError:
        decomposed = unicodedata.normalize("NFD", letter)
        tones = "\u0300\u0301\u0303\u0309\u0323"
        base = unicodedata.normalize("NFC", "".join(mark for mark in decomposed if mark not in tones))
        return (base + "".join(mark for mark in decomposed if mark in tones)).encode("cp1258")


@given(st.binary(max_size=300))
def test_a_reason_never_raises(content: bytes) -> None:
    assert "\x00" not in read_reason(content)


def test_a_reason_cut_in_a_letter_stays_utf8() -> None:
    assert read_reason("Từ chối ệ".encode()[:-1]) == "Từ chối"


@pytest.mark.parametrize(
    ("wanted", "safe"),
    [
        ("Phụ lục 1.pdf", "Phụ lục 1.pdf"),
        (unicodedata.normalize("NFD", "Quyết định.docx"), "Quyết định.docx"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Văn bản\\x.pdf", "C__Văn bản_x.pdf"),
        ("a\"b'c“d”.pdf", "a_b_c_d_.pdf"),
        ("x\x00\n.pdf", "x__.pdf"),
        ("gpj.\u202efdp", "gpj._fdp"),
        ("CON.pdf", "tep-CON.pdf"),
        ("", "tep"),
        ("...", "tep"),
        ("tên. ", "tên"),
    ],
)
def test_attachments_get_safe_names(wanted: str, safe: str) -> None:
    assert safe_name(wanted, set()) == safe


def test_the_same_name_twice_is_numbered_whatever_the_case() -> None:
    taken: set[str] = set()
    names = []
    for wanted in ("Phụ lục.pdf", "phụ lục.PDF", "Phụ lục.pdf"):
        names.append(safe_name(wanted, taken))
        taken.add(names[-1].casefold())
    assert names == ["Phụ lục.pdf", "phụ lục (2).PDF", "Phụ lục (3).pdf"]


@given(st.text(max_size=300), st.sets(st.text(max_size=5)))
def test_a_safe_name_is_one_short_path_component(wanted: str, taken: set[str]) -> None:
    name = safe_name(wanted, {each.casefold() for each in taken})
    assert 0 < len(name.encode()) <= 200
    assert not name.startswith(".")
    assert not set(name) & set("/\\\x00\"'\n")
    assert name == unicodedata.normalize("NFC", name)
    assert name.casefold() not in {each.casefold() for each in taken}


def test_long_names_are_cut_between_letters_and_keep_the_suffix() -> None:
    name = safe_name("ệ" * 300 + ".pdf", set())
    assert name.endswith("ệ.pdf")
    assert 196 <= len(name.encode()) <= 200


@given(st.binary(min_size=1, max_size=250).filter(lambda name: b"/" not in name and b"\x00" not in name))
def test_numbered_names_fit_and_differ(raw: bytes) -> None:
    names = list(islice(number_names(os.fsdecode(raw)), 12))
    assert len(set(names)) == 12
    assert all(len(os.fsencode(name)) <= 200 for name in names[1:])


@pytest.mark.parametrize(("name", "good"), [("0198f2c0-1.a_b", True), ("a b", False), ("ả", False)])
def test_keys(name: str, good: bool) -> None:
    assert is_key(name) is good
