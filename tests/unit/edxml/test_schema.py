"""Our XSD: what we write keeps it, each kind of mistake is refused and told with its place and what is allowed."""

from __future__ import annotations

import io
import random
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from edxml import BusinessKind, Dialect, DocumentId, Language, OrganId, ReceiverChange, Replacement, Severity
from edxml.schema import DOCUMENT, STATUS, check, check_stream, is_valid
from edxml.schema.explain import FORMS
from scripts.packet_schema import Part, load_part
from tests.support.packets import build_packet, build_status, make_packet, make_status

BOTH = (Dialect.A, Dialect.B)
UPDATE = {
    "business_kind": BusinessKind.UPDATE,
    "receivers_changed": True,
    "receiver_changes": (ReceiverChange(OrganId.parse("H99.03"), True),),
    "response_for": (make_status().response_for,) * 2,
    "tasks": ("1", "2"),
}
REPLACEMENT = {
    "business_kind": BusinessKind.REPLACEMENT,
    "replacements": (Replacement(DocumentId("1"), (OrganId.parse("H99.03"),)),) * 2,
    "other": replace(make_packet().other, appendixes=("Phụ lục 1",), page_amount=2, sphere="Toàn tỉnh"),
}


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize("changes", [{}, UPDATE, REPLACEMENT], ids=["new", "update", "replacement"])
def test_documents_that_we_write_keep_it(changes: dict[str, Any], dialect: Dialect) -> None:
    data = build_packet(dialect=dialect, **changes)
    assert check_stream(io.BytesIO(data)) == ()
    assert check(etree.fromstring(data)) == ()  # with the text of its attachment too


@pytest.mark.parametrize("dialect", BOTH)
def test_statuses_that_we_write_keep_it(dialect: Dialect) -> None:
    assert check_stream(io.BytesIO(build_status(dialect=dialect))) == ()


def edited(right: str, wrong: str, data: bytes) -> bytes:
    assert right.encode() in data
    return data.replace(right.encode(), wrong.encode(), 1)


HEADER = "edXML/edXMLEnvelope/edXMLHeader/MessageHeader"
SUBJECT = "<edXML:Subject>V/v kết nối, liên thông phần mềm quản lý văn bản</edXML:Subject>"
NUMBER = "<edXML:CodeNumber>123</edXML:CodeNumber>"
WRONG: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
    "unknown element": (NUMBER, NUMBER + "<edXML:Foo/>", "schema_element_unexpected", "Code/Foo",
                        {"name": "Foo", "allowed": "CodeNumber, CodeNotation"}),
    "element within a value": (NUMBER, "<edXML:CodeNumber>123<b/></edXML:CodeNumber>", "schema_element_unexpected",
                               "Code/CodeNumber/b", {"allowed": "-"}),
    "missing element": (NUMBER, "", "schema_element_missing", "Code/CodeNumber", {"inside": "Code"}),
    "missing in the sequence": (SUBJECT, "", "schema_element_missing", "Subject", {"inside": "MessageHeader"}),
    "twice": (NUMBER, NUMBER * 2, "schema_element_repeated", "Code/CodeNumber[2]", {"most": 1}),
    "out of order": ("<edXML:Code>", SUBJECT.replace("V/v", "Về việc") + "<edXML:Code>", "schema_element_misplaced",
                     "Subject[1]", {"name": "Subject"}),
    "empty": (NUMBER, "<edXML:CodeNumber> </edXML:CodeNumber>", "schema_value_empty", "Code/CodeNumber", {}),
    "long": ("<edXML:DocumentId>", "<edXML:DocumentId>" + "1" * 60, "schema_value_long", "DocumentId",
             {"limit": 75, "length": 96}),
    "not listed": ("<edXML:Priority>0", "<edXML:Priority>Khẩn", "schema_value_unlisted", "OtherInfo/Priority",
                   {"text": "Khẩn", "allowed": "0, 1, 2, 3, 4"}),
    "no date": ("2025/09/01</edXML:PromulgationDate>", "01/09/2025</edXML:PromulgationDate>", "schema_value_form",
                "PromulgationInfo/PromulgationDate", {"form": "yyyy/MM/dd"}),
    "impossible date": ("2025/09/01</edXML:PromulgationDate>", "2025/09/31</edXML:PromulgationDate>",
                        "schema_value_form", "PromulgationInfo/PromulgationDate", {"text": "2025/09/31"}),
    "no organ id": ("<edXML:OrganId>H99.02", "<edXML:OrganId>Sở Tài chính", "schema_value_form", "To[2]/OrganId",
                    {"text": "Sở Tài chính"}),
    "no namespace": (NUMBER, '<CodeNumber xmlns="">123</CodeNumber>' + NUMBER, "schema_namespace",
                     "Code/CodeNumber[1]", {"name": "CodeNumber"}),
    "attribute": ("<edXML:Code>", "<edXML:Code id='1'>", "schema_attribute", "Code", {"attribute": "id"}),
    "text between": ("<edXML:Code>", "<edXML:Code>số", "schema_text", "Code", {"name": "Code"}),
    "text after": (NUMBER, NUMBER + "số", "schema_text", "Code", {"name": "Code"}),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "code", "path", "params"), WRONG.values(), ids=WRONG.keys())
def test_each_mistake_is_told_alone(right: str, wrong: str, code: str, path: str, params: dict[str, Any]) -> None:
    data = edited(right, wrong, build_packet())
    findings = check_stream(io.BytesIO(data))
    if code == "schema_element_misplaced":  # a second Subject is one too many as well
        findings = tuple(finding for finding in findings if finding.code != "edxml.schema_element_repeated")
    (finding,) = findings
    assert (finding.code, finding.severity) == (f"edxml.{code}", Severity.ERROR)
    assert finding.place.path == f"{HEADER}/{path}"
    assert params.items() <= finding.params.items()
    assert finding.place.line is not None
    for language in Language:
        assert "{" not in finding.text(language)


def test_other_places() -> None:
    def codes(right: str, wrong: str, data: bytes) -> list[tuple[str, str]]:
        findings = check_stream(io.BytesIO(edited(right, wrong, data)))
        return [(finding.code.removeprefix("edxml.schema_"), finding.place.path.split("/")[-1]) for finding in findings]

    packet, status = build_packet(), build_status()
    assert codes("<edXML:StatusCode>01", "<edXML:StatusCode>07", status) == [("value_unlisted", "StatusCode")]
    assert codes("<edXML:StatusCode>", "<edXML:To/><edXML:StatusCode>", status) == [("element_unexpected", "To")]
    assert codes("<AttachmentName>van-ban.pdf</AttachmentName>", "", packet) == [("element_missing", "AttachmentName")]
    business = packet.replace(b"TraceHeader>", b"Hop>").replace(b"TraceHeader>", b"Hop>")
    assert ("element_unexpected", "Hop") in codes("<edXML:Paper>0", "<edXML:Paper>1", business)
    root = packet.replace(b"<edXML xmlns=", b"<EDXML xmlns=").replace(b"</edXML>", b"</EDXML>")
    assert [f.code for f in check_stream(io.BytesIO(root))] == ["edxml.schema_root"]
    bare = packet.replace(b' xmlns="', b' xmlns:x="').replace(b"edXML:", b"")
    assert [f.code for f in check_stream(io.BytesIO(bare))] == ["edxml.schema_namespace"]
    assert [f.code for f in check_stream(io.BytesIO(packet[:-20]))] == ["edxml.truncated"]


def test_every_violation_is_told_with_its_line() -> None:
    data = build_packet()
    for right, wrong in (
        (NUMBER, ""),
        ("<edXML:Priority>0", "<edXML:Priority>9"),
        ("<edXML:Paper>0", "<edXML:Paper>x"),
    ):
        data = edited(right, wrong, data)
    data = edited("2025/09/01 09:00:00", "hôm qua", data)
    findings = check_stream(io.BytesIO(data))
    lines = data.decode().splitlines()
    told = {finding.code.removeprefix("edxml.schema_"): finding.place.line for finding in findings}
    assert [finding.code.removeprefix("edxml.schema_") for finding in findings] == [
        "element_missing", "value_unlisted", "value_form", "value_unlisted",
    ]  # fmt: skip
    assert told["element_missing"] == next(n for n, line in enumerate(lines, 1) if "<edXML:Code>" in line)
    assert told["value_form"] == next(n for n, line in enumerate(lines, 1) if "hôm qua" in line)


def test_lines_behind_an_attachment_are_those_of_the_packet() -> None:
    files = (("a.pdf", b"%PDF-1.7 " + b"x" * 500), ("b.pdf", b"%PDF-1.7"))
    data = build_packet(files=files)
    text = data.decode()
    start = text.index("ContentTransferEncoded xmlns")
    broken = text[: start + 200] + "\n\n\n" + text[start + 200 :]
    broken = broken.replace("<AttachmentName>b.pdf</AttachmentName>", "<Foo/>")
    findings = check_stream(io.BytesIO(broken.encode()))
    line = next(n for n, line in enumerate(broken.splitlines(), 1) if "<Foo/>" in line)
    assert {finding.place.line for finding in findings if finding.params.get("name") == "Foo"} == {line}


def test_a_signature_of_either_namespace_and_dialect_b_attributes_may_stand() -> None:
    packet = build_packet()
    for signature in (
        '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X/></ds:Signature>',
        "<Signature><SignedInfo a='1'>x</SignedInfo></Signature>",
        "<edXML:DigitalSignature/>",
    ):
        data = edited("</edXML:edXMLHeader>", f"{signature}</edXML:edXMLHeader>", packet)
        assert check_stream(io.BytesIO(data)) == ()
    foreign = edited("</edXML:edXMLHeader>", '<x xmlns="urn:other"/></edXML:edXMLHeader>', packet)
    assert [finding.code for finding in check_stream(io.BytesIO(foreign))] == ["edxml.schema_element_unexpected"]


def test_a_schema_that_a_packet_points_to_is_never_read(tmp_path: Path) -> None:
    hint = tmp_path / "other.xsd"
    hint.write_text("this is no schema")
    location = f'xsi:schemaLocation="urn:x {hint.as_uri()}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    data = edited("<edXML xmlns=", f"<edXML {location} xmlns=", build_packet())
    assert check_stream(io.BytesIO(data)) == ()


def mutate(root: Any, dice: random.Random) -> None:
    """One random mistake somewhere."""
    elements = list(root.iter())
    element = dice.choice(elements)
    parent = element.getparent()
    kind = dice.randrange(8)
    if kind == 0 and parent is not None:
        parent.remove(element)
    elif kind == 1 and parent is not None:
        parent.insert(dice.randrange(len(parent) + 1), deepcopy(element))
    elif kind == 2 and parent is not None:
        parent.insert(dice.randrange(len(parent)), element)
    elif kind == 3:
        element.tag = dice.choice((dice.choice(elements).tag, etree.QName(element).localname, "{urn:x}Code"))
    elif kind == 4:
        element.text = dice.choice(("", "0", "x", "2025/02/29", "2024/02/29", "H99", "01", "true", "1" * 80, " 0 "))
    elif kind == 5:
        element.set(dice.choice(("id", "version", "{http://www.w3.org/1999/xlink}href", "{urn:x}y")), "1")
    elif kind == 6:
        element.append(etree.SubElement(element, dice.choice(elements).tag))
    else:
        element.tail = dice.choice(("x", "\n", ""))


@pytest.mark.parametrize("seed", range(4))
def test_the_explainer_finds_something_exactly_where_libxml2_refuses(seed: int) -> None:
    dice = random.Random(seed)
    originals = [
        etree.fromstring(data, etree.XMLParser(remove_blank_text=True))
        for data in (build_packet(**UPDATE), build_packet(dialect=Dialect.B, **REPLACEMENT), build_status())
    ]
    refused = 0
    for _ in range(400):
        root = deepcopy(dice.choice(originals))
        for _ in range(dice.choice((1, 1, 2, 3))):
            mutate(root, dice)
        findings = check(root)
        assert bool(findings) is not is_valid(root), etree.tostring(root).decode()
        assert "edxml.schema_other" not in {finding.code for finding in findings}, etree.tostring(root).decode()
        refused += bool(findings)
    assert 100 < refused < 400


def parts(part: Part) -> list[Part]:
    below = [one for order in part.orders for particle in order for one in parts(particle.part)]
    return [part, *below]


@pytest.mark.parametrize("kind", [DOCUMENT, STATUS])
def test_every_element_and_value_is_documented_in_both_languages(kind: str) -> None:
    for part in parts(load_part(kind)):
        if part.type_name == "xs:any":
            continue
        assert set(part.about) == set(Language), part.name
        assert all(part.about.values())
        if part.facets is not None:
            assert set(part.facets.about) == set(Language), part.facets.name
            assert part.facets.pattern is None or part.facets.name in FORMS
