"""Our reader against one that shares no code with it: the same values and the same findings at the same places."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from edxml import DocumentId, Packet, StatusPacket, read
from tests.support.dom_reader import CODES, NS, DomReader
from tests.support.packets import build_packet, build_status, make_packet, make_status

SAMPLES = sorted((Path(__file__).parents[3] / "shared" / "samples" / "edxml").glob("*.edxml"))
KEPT = sorted((Path(__file__).parents[1] / "corpus" / "data").glob("*.edxml"))
OWN = [
    build_packet(response_for=(make_status().response_for,) * 2, due_date=make_packet().promulgation_date),
    build_packet(files=(("a.pdf", b"%PDF-1.7 abc"),), document_id=DocumentId("18661").text),
    build_status(),
    *(path.read_bytes() for path in KEPT),
]
VALUES = {
    "subject": "Subject",
    "content": "Content",
    "code_number": "Code/CodeNumber",
    "code_notation": "Code/CodeNotation",
    "promulgation_place": "PromulgationInfo/Place",
    "type": "DocumentType/Type",
    "type_name": "DocumentType/TypeName",
    "signer_position": "SignerInfo/Position",
    "signer_name": "SignerInfo/FullName",
}


def assert_same(data: bytes) -> int:
    """Compare; gives the number of findings that both made."""
    result, dom = read(io.BytesIO(data)), DomReader(data)
    ours = {(one.code, one.place.path, one.place.line) for one in result.findings if one.code in CODES}
    assert ours == dom.findings()
    if {code for code, _, _ in ours} & {"edxml.element_unknown", "edxml.element_repeated"}:
        return len(ours)  # which of two values counts is not for this reader to say
    packet = result.packet
    if isinstance(packet, StatusPacket):
        assert packet.sender.raw_organ_id == dom.text("From/OrganId")
        assert packet.response_for.code == dom.text("ResponseFor/Code")
        assert packet.description == dom.text("Description")
    elif isinstance(packet, Packet):
        assert {field: getattr(packet, field) for field in VALUES} == {f: dom.text(path) for f, path in VALUES.items()}
        assert [to.raw_organ_id for to in packet.recipients if to.raw_organ_id] == dom.texts("To/OrganId")
        assert [to.name for to in packet.recipients if to.name] == dom.texts("To/OrganName")
        assert list(packet.to_places) == dom.texts("ToPlaces/*")
        assert packet.document_id.text == dom.text("DocumentId")
    return len(ours)


@pytest.mark.parametrize("data", OWN)
def test_right_packets(data: bytes) -> None:
    assert assert_same(data) == 0


@pytest.mark.shared
@pytest.mark.skipif(not SAMPLES, reason="../shared/samples is absent")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_real_packets(path: Path) -> None:
    data = path.read_bytes()
    try:
        etree.fromstring(data, etree.XMLParser(huge_tree=True))
    except etree.XMLSyntaxError:
        pytest.skip("no well-formed XML: see tests/corpus")
    assert_same(data)


TEXTS = (
    "",
    " ",
    "0",
    "7",
    "14",
    "x",
    "H99",
    "null",
    "Sở",
    "000.00.01.H99",
    "2025/02/29",
    "1" * 80,
    "99999999999",
    " 1 ",
)


def spoil(header: Any, dice: random.Random) -> None:
    """One mistake somewhere below the header."""
    element = dice.choice([one for one in header.iter("*") if one is not header])
    parent = element.getparent()
    kind = dice.randrange(5)
    if kind == 0:
        parent.remove(element)
    elif kind == 1:
        parent.insert(dice.randrange(len(parent) + 1), etree.fromstring(etree.tostring(element, with_tail=False)))
    elif kind == 2:
        element.tag = dice.choice((f"{NS}Foo", "{urn:x}Foo", f"{NS}foo"))
    else:
        leaves = [one for one in header.iter("*") if not len(one)]
        dice.choice(leaves).text = dice.choice(TEXTS)


@pytest.mark.parametrize("seed", range(4))
def test_packets_with_mistakes(seed: int) -> None:
    dice = random.Random(seed)
    found = 0
    for _ in range(250):
        root = etree.fromstring(dice.choice(OWN))
        header = root.find(f".//{NS}MessageHeader")
        for _ in range(dice.choice((1, 1, 2, 4))):
            spoil(header, dice)
        found += assert_same(etree.tostring(root, encoding="utf-8", xml_declaration=True))
    assert found > 100
