"""A signature over a part of the packet proves that part, and nobody is told more."""

from __future__ import annotations

import pytest
from lxml import etree

from edxml.messages import Language
from edxml.sign import Policy
from edxml.sign.policy import Coverage
from edxml.sign.verdicts import Verdict
from tests.support.certificates import Authority
from tests.unit.edxml.sign.forge import C14N, EXCLUSIVE, check, forge, parse, q, signed, unparse, with_id

ROOT = Authority()
WHO = ROOT.issue()
HEADER = Policy(anchors=(ROOT.certificate,), coverage=Coverage.HEADER)
HEADER_SIGNED = forge(with_id(), WHO, targets=[("#m1", (EXCLUSIVE,))])


def exchanged(packet: bytes) -> bytes:
    """The packet with another file in the place of its own."""
    root = parse(packet)
    root.find(f".//{q('ContentTransferEncoded')}").text = "S2jDoWM="
    return unparse(root)


@pytest.mark.parametrize("language", list(Language))
def test_who_signed_the_header_is_not_said_to_have_signed_the_files(language: Language) -> None:
    """Any file could stand there, was listed as signed, and the sentence said that the whole packet was."""
    for packet in (HEADER_SIGNED, exchanged(HEADER_SIGNED)):
        found = check(packet, policy=HEADER)
        assert (found.verdict, found.covers_whole, found.files) == (Verdict.VALID, False, ())
        whole = check(signed(WHO), policy=HEADER)
        assert (whole.verdict, whole.covers_whole, len(whole.files)) == (Verdict.VALID, True, 1)
        assert found.text(language) != whole.text(language)
        assert found.signer in found.text(language)


def test_a_part_that_is_too_little_lists_no_file_either() -> None:
    found = check(HEADER_SIGNED, ROOT)
    assert (found.verdict, found.files) == (Verdict.INCOMPLETE, ())
    assert [part.path for part in found.signed] == ["/edXML/edXMLEnvelope/edXMLHeader/MessageHeader"]


def test_a_file_that_was_signed_beside_the_header_is_listed() -> None:
    root = with_id()
    root.find(f".//{q('Attachment')}").set("Id", "a1")
    packet = forge(root, WHO, targets=[("#m1", (EXCLUSIVE,))])
    assert check(packet, policy=HEADER).files == ()
    root = with_id()
    root.find(f"{q('AttachmentEncoded')}/{q('Attachment')}").set("Id", "a1")
    packet = forge(root, WHO, targets=[("#m1", (EXCLUSIVE,)), ("#a1", (EXCLUSIVE,))])
    found = check(packet, policy=HEADER)
    assert (found.verdict, found.covers_whole, len(found.files)) == (Verdict.VALID, False, 1)
    assert check(exchanged(packet), policy=HEADER).verdict is Verdict.INVALID_DIGEST


@pytest.mark.parametrize("form", [EXCLUSIVE, C14N])
def test_a_part_with_vietnamese_element_names_is_checked_like_any_other(form: str) -> None:
    """`<Ghi_chú>` within what a reference names by its id; an altered one must not end in "nobody can say"."""
    root = with_id()
    etree.SubElement(root.find(f".//{q('MessageHeader')}"), q("Ghi_chú")).text = "Kèm phụ lục"
    packet = forge(root, WHO, targets=[("#m1", (form,))], form=form)
    assert check(packet, policy=HEADER).verdict is Verdict.VALID
    altered = packet.replace("Kèm".encode(), "Không".encode())
    assert altered != packet
    assert check(altered, policy=HEADER).verdict is Verdict.INVALID_DIGEST
