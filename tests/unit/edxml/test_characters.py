"""What XML can carry is what the parser takes: compared with it, character by character at every border."""

from __future__ import annotations

import pytest
from lxml import etree

from edxml.characters import is_xml_text

BORDERS = (
    0x0,
    0x8,
    0x9,
    0xA,
    0xB,
    0xC,
    0xD,
    0xE,
    0x1F,
    0x20,
    0x7F,
    0xD7FF,
    0xE000,
    0xFFFD,
    0xFFFE,
    0xFFFF,
    0x10000,
    0x10FFFF,
)


@pytest.mark.parametrize("point", BORDERS, ids=hex)
def test_a_character_is_xml_text_exactly_where_the_parser_takes_it(point: int) -> None:
    try:
        etree.fromstring(f"<a>{chr(point)}</a>".encode())
        is_taken = True
    except etree.XMLSyntaxError:
        is_taken = False
    assert is_xml_text(f"Công văn {chr(point)}") is is_taken


def test_half_of_a_surrogate_pair_is_no_xml_text() -> None:
    assert not is_xml_text("\ud800")
    assert is_xml_text("")
