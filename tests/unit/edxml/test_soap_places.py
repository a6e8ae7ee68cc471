"""Dialect D: lines and paths, known packets and signatures of messages in MIME."""

from __future__ import annotations

import io
import re
from datetime import date

from edxml import (
    Finding,
    read,
)
from edxml.sign import Policy, Verdict, verify_packet
from tests.support.packets import build_packet, make_packet
from tests.support.soap import soap_envelope, soap_message
from tests.unit.edxml.test_soap import FILE, GOOD, ROOT, START, codes, read_bytes, with_block


def test_lines_and_paths_are_those_of_the_message() -> None:
    data = soap_message([FILE.replace(b"xin", b"\n\n\n"), ROOT.replace(b"000.00.01.H99", b"!!")], head=START)
    (finding,) = read_bytes(data).findings
    assert isinstance(finding, Finding)
    assert finding.place.path == "Envelope/Header/MessageHeader/To[1]"
    assert data.split(b"\n")[(finding.place.line or 0) - 1].strip() == b"<edXML:To>"
    broken = data.replace(b"</edXML:Subject>", b"</edXML:Subjekt>")
    (finding,) = read_bytes(broken).findings
    assert finding.code == "edxml.malformed"
    assert b"Subjekt" in broken.split(b"\n")[(finding.place.line or 0) - 1]


def test_a_rule_finds_its_line() -> None:
    data = GOOD.replace(b"V/v k\xe1\xba\xbft n\xe1\xbb\x91i, li", b"").replace(
        b"<edXML:Subject>", b"<edXML:Subject>   "
    )
    data = re.sub(rb"<edXML:Subject>.*?</edXML:Subject>", b"<edXML:Subject/>", data)
    result = read(io.BytesIO(data), today=date(2025, 9, 2), check_rules=True)
    (finding,) = (one for one in result.findings if one.code == "edxml.subject_missing")
    assert b"<edXML:Subject/>" in data.split(b"\n")[(finding.place.line or 0) - 1]


def test_what_was_read_before_changes_nothing() -> None:
    plain = build_packet()
    for _ in range(3):
        assert not read_bytes(plain).is_refused
        assert codes(read_bytes(b"--B\r\nContent-Type: text/xml\r\n\r\n" + plain)) == {"edxml.mime_root_unknown"}
        assert not read_bytes(GOOD).is_refused
        assert not read_bytes(soap_envelope(make_packet())).is_refused


def test_signatures_of_this_form_are_seen_and_not_judged() -> None:
    policy = Policy()
    assert verify_packet(io.BytesIO(GOOD), policy=policy).verdict is Verdict.ABSENT
    signed = with_block(b'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo/></Signature>')
    assert verify_packet(io.BytesIO(signed), policy=policy).verdict is Verdict.NOT_CHECKED
    assert verify_packet(io.BytesIO(GOOD[:-20]), policy=policy).verdict is Verdict.UNREADABLE
