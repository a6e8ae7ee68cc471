"""Whoever alters, wraps, redirects or disguises: each gets the verdict that names the trick, none gets VALID."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from edxml.limits import DEFAULT_LIMITS
from edxml.messages import Language
from edxml.sign import Coverage, Policy, Verdict
from tests.support.certificates import Authority
from tests.support.packets import build_packet
from tests.unit.edxml.sign.forge import (
    C14N,
    C14N11,
    DS,
    ENVELOPED,
    EXCLUSIVE,
    NS,
    check,
    forge,
    parse,
    q,
    signed,
    unparse,
    with_id,
)

ROOT = Authority()
WHO = ROOT.issue()
RSA_WHO = ROOT.issue(kind="rsa")
OTHER = ROOT.issue("UBND xã Khác")
PACKET = build_packet()
SIGNED = signed(WHO)
HEADER_POLICY = Policy(anchors=(ROOT.certificate,), coverage=Coverage.HEADER)


HEADER_SIGNED = forge(with_id(), WHO, targets=[("#m1", (EXCLUSIVE,))])


def test_what_is_right_is_valid() -> None:
    """The ground that all attacks stand on: nothing here is refused for another reason than the attack."""
    assert check(SIGNED, ROOT).verdict is Verdict.VALID
    assert check(forge(PACKET, WHO), ROOT).verdict is Verdict.VALID
    assert check(forge(PACKET, RSA_WHO), ROOT).verdict is Verdict.VALID
    header = check(HEADER_SIGNED, policy=HEADER_POLICY)
    assert (header.verdict, header.covers_whole) == (Verdict.VALID, False)
    assert [part.path for part in header.signed] == ["/edXML/edXMLEnvelope/edXMLHeader/MessageHeader"]


@pytest.mark.parametrize("form", [C14N, C14N11, EXCLUSIVE])
@pytest.mark.parametrize("steps", [(ENVELOPED,), (ENVELOPED, C14N), (ENVELOPED, C14N11), (ENVELOPED, EXCLUSIVE)])
def test_every_canonical_form_is_computed(form: str, steps: tuple[str, ...]) -> None:
    assert check(forge(PACKET, WHO, targets=[("", steps)], form=form), ROOT).verdict is Verdict.VALID


# ---- altered -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"123</edXML:CodeNumber>", b"124</edXML:CodeNumber>"),
        (b"<AttachmentName>van-ban.pdf", b"<AttachmentName>van-ban.exe"),
        (b"JVBERi0xLjc", b"JVBERi0xLjY"),  # the attachment's bytes
        (b"JVBERi0xLjc", b"JVBERi0x\nLjc"),  # the same bytes, written otherwise
        (b"H99.02", b"H99.03"),
        (b"</edXML>", b"<!-- -->x</edXML>"),
        (b"</edXML>", b"<?pi?></edXML>"),
        (b"</edXML>", b"</edXML><?pi?>"),
        (b' xmlns:edXML="', b' xmlns:x="urn:x" x:y="" xmlns:edXML="'),
    ],
)
def test_altered_after_signing(old: bytes, new: bytes) -> None:
    assert old in SIGNED
    assert check(SIGNED.replace(old, new, 1), ROOT).verdict is Verdict.INVALID_DIGEST


def test_a_comment_changes_nothing_for_reader_and_signature_alike() -> None:
    """Canonical XML leaves comments out, and so does the reader: "a<!-- -->b" is "ab" for both."""
    split = SIGNED.replace(b"123</edXML:CodeNumber>", b"12<!-- x -->3</edXML:CodeNumber>")
    assert split != SIGNED
    assert check(split, ROOT).verdict is Verdict.VALID


def test_every_single_bit_of_a_signature_counts() -> None:
    """No byte of SignedInfo, of the value or of the properties may change and leave it valid."""
    start, end = SIGNED.index(b"<SignedInfo"), SIGNED.index(b"</Signature>")
    for at in range(start, end, 3):
        flipped = SIGNED[:at] + bytes((SIGNED[at] ^ 1,)) + SIGNED[at + 1 :]
        assert not check(flipped, ROOT).is_valid, (at, SIGNED[at - 20 : at + 20])


def test_signed_by_another_key() -> None:
    forged = forge(PACKET, WHO, value=lambda info: OTHER.signer().sign(info))
    assert check(forged, ROOT).verdict is Verdict.INVALID_SIGNATURE


# ---- wrapped: the nine ways of moving what was signed, for a signature over the MessageHeader only -----------------


def wrap(number: int) -> bytes:
    """HEADER_SIGNED with its signed header moved away, byte for byte, and a forged one in its place."""
    start = HEADER_SIGNED.index(b"<edXML:MessageHeader")
    end = HEADER_SIGNED.index(b"</edXML:MessageHeader>") + len(b"</edXML:MessageHeader>")
    original = HEADER_SIGNED[start:end]
    evil = original.replace(b">123<", b">666<")
    bare = evil.replace(b' Id="m1"', b"")
    assert len({original, evil, bare}) == 3
    bind = f' xmlns:edXML="{NS}"'.encode()
    hidden = b"<Object" + bind + b">%s</Object></Signature>"
    before, after = HEADER_SIGNED[:start], HEADER_SIGNED[end:]
    signature = after[after.index(b"<Signature") : after.index(b"</Signature>") + len(b"</Signature>")]
    if number == 1:  # into the signature, as an enveloping one has it
        return before + bare + after.replace(b"</Signature>", hidden % original)
    if number == 2:  # detached: beside the signature
        return before + bare + after.replace(b"</Signature>", b"</Signature>" + original)
    if number == 3:  # behind the forged one
        return before + bare + original + after
    if number == 4:  # into the forged one
        return before + bare.replace(b"</edXML:MessageHeader>", original + b"</edXML:MessageHeader>") + after
    if number == 5:  # both bear the id, the original comes last
        return before + evil + after.replace(b"</edXML>", b"<x" + bind + b">" + original + b"</x></edXML>")
    if number == 6:  # both bear the id, the original within the signature
        return before + evil + after.replace(b"</Signature>", hidden % original)
    if number == 7:  # into an extension
        return (
            before
            + bare
            + after.replace(b"</edXML>", b"<Extensions" + bind + b">" + original + b"</Extensions></edXML>")
        )
    if number == 8:  # both bear the id, the forged one within the signature
        return before + original + after.replace(b"</Signature>", hidden % evil)
    second = b"<edXML:edXMLEnvelope" + bind + b"><edXML:edXMLHeader>" + original + signature
    second += b"</edXML:edXMLHeader></edXML:edXMLEnvelope></edXML>"
    return before + bare + after.replace(signature, b"").replace(b"</edXML>", second)  # a second envelope


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        (1, Verdict.INCOMPLETE),
        (2, Verdict.INCOMPLETE),
        (3, Verdict.INCOMPLETE),
        (4, Verdict.INCOMPLETE),
        (5, Verdict.DUPLICATE_ID),
        (6, Verdict.DUPLICATE_ID),
        (7, Verdict.INCOMPLETE),
        (8, Verdict.DUPLICATE_ID),
        (9, Verdict.INCOMPLETE),
    ],
)
def test_wrapped(number: int, verdict: Verdict) -> None:
    assert check(wrap(number), policy=HEADER_POLICY).verdict is verdict


@pytest.mark.parametrize("spelling", ["ID", "id", "{http://www.w3.org/XML/1998/namespace}id", "{urn:x}Id"])
def test_an_id_in_another_spelling_is_the_same_id(spelling: str) -> None:
    root = parse(HEADER_SIGNED)
    etree.SubElement(root, "other").set(spelling, "m1")
    assert check(unparse(root), policy=HEADER_POLICY).verdict is Verdict.DUPLICATE_ID


def test_a_header_of_no_namespace_before_the_signed_one() -> None:
    """A lenient reader takes an element without a namespace for ours, so it must not stand before the signed one."""
    root = parse(HEADER_SIGNED)
    header = root.find(f".//{q('MessageHeader')}")
    evil = etree.fromstring("<MessageHeader><Code/></MessageHeader>")
    header.addprevious(evil)
    assert check(unparse(root), policy=HEADER_POLICY).verdict is Verdict.INCOMPLETE


def test_a_second_header_behind_the_signed_one() -> None:
    """Our reader takes the first; another software may take the last."""
    second = b"</edXML:MessageHeader><edXML:MessageHeader/>"
    packet = HEADER_SIGNED.replace(b"</edXML:MessageHeader>", second)
    assert check(packet, policy=HEADER_POLICY).verdict is Verdict.INCOMPLETE


def test_the_whole_signed_packet_within_a_forged_one() -> None:
    forged = parse(build_packet(number="666"))
    original = parse(SIGNED)
    signature = original.find(f".//{{{DS}}}Signature")
    forged.find(f".//{q('edXMLHeader')}").append(copy.deepcopy(signature))
    assert check(unparse(forged), ROOT).verdict is Verdict.INVALID_DIGEST
    etree.SubElement(forged.find(f".//{{{DS}}}Signature"), f"{{{DS}}}Object").append(original)
    assert check(unparse(forged), ROOT).verdict is Verdict.SEVERAL


def test_a_signature_out_of_place() -> None:
    root = parse(SIGNED)
    signature = root.find(f".//{{{DS}}}Signature")
    root.find(f".//{q('MessageHeader')}").append(signature)
    assert check(unparse(root), ROOT).verdict is Verdict.MISPLACED
    assert check(forge(PACKET, WHO, under="Attachment"), ROOT).verdict is Verdict.MISPLACED


def test_two_signatures() -> None:
    root = parse(SIGNED)
    signature = root.find(f".//{{{DS}}}Signature")
    signature.addnext(copy.deepcopy(signature))
    assert check(unparse(root), ROOT).verdict is Verdict.SEVERAL


# ---- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "http://example.org/van-ban.xml",
        "file:///etc/passwd",
        "van-ban.xml#m1",
        "cid:1",
        "#xpointer(/)",
        "#xpointer(id('m1'))",
        "#nothing",
        "#",
        "##m1",
    ],
)
def test_references_that_are_not_followed(uri: str | None) -> None:
    result = check(forge(with_id(), WHO, targets=[(uri, (EXCLUSIVE,))]), policy=HEADER_POLICY)
    assert result.verdict is Verdict.FORBIDDEN_REFERENCE


def test_no_reference_at_all() -> None:
    assert check(forge(PACKET, WHO, targets=[]), ROOT).verdict is Verdict.FORBIDDEN_REFERENCE


def test_more_references_than_anybody_needs() -> None:
    many = [("", (ENVELOPED, EXCLUSIVE)), *[("#m1", (EXCLUSIVE,))] * 16]
    assert check(forge(with_id(), WHO, targets=many), ROOT).verdict is Verdict.FORBIDDEN_REFERENCE
    twice = [("", (ENVELOPED, EXCLUSIVE))] * 2
    assert check(forge(PACKET, WHO, targets=twice), ROOT).verdict is Verdict.FORBIDDEN_REFERENCE


def test_a_reference_to_the_signed_info_itself() -> None:
    def mark(signature: Any) -> None:
        signature[0].set("Id", "info")

    forged = forge(PACKET, WHO, targets=[("#info", (EXCLUSIVE,))], edit=mark)
    assert check(forged, policy=HEADER_POLICY).verdict is Verdict.FORBIDDEN_REFERENCE


def test_a_reference_to_an_empty_corner_covers_nothing() -> None:
    root = with_id()
    etree.SubElement(root, "corner").set("Id", "corner")
    forged = forge(root, WHO, targets=[("#corner", (EXCLUSIVE,))])
    assert check(forged, ROOT).verdict is Verdict.INCOMPLETE
    assert check(forged, policy=HEADER_POLICY).verdict is Verdict.INCOMPLETE


def test_only_the_header_is_not_the_whole_packet() -> None:
    assert check(HEADER_SIGNED, ROOT).verdict is Verdict.INCOMPLETE


def test_several_references_are_all_checked() -> None:
    root = with_id()
    root.find(f".//{q('edXMLBody')}").set("Id", "body")
    both = forge(root, WHO, targets=[("#m1", (EXCLUSIVE,)), ("#body", (EXCLUSIVE,))])
    assert check(both, policy=HEADER_POLICY).verdict is Verdict.VALID
    altered = both.replace(b"<edXML:ContentType>application/pdf", b"<edXML:ContentType>application/exe")
    assert altered != both
    assert check(altered, policy=HEADER_POLICY).verdict is Verdict.INVALID_DIGEST


# ---- hostile documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE edXML>",
        b'<!DOCTYPE edXML [<!ENTITY a "666">]>',
        b"<!DOCTYPE edXML [<!ATTLIST MessageHeader Id ID #IMPLIED>]>",
        b'<!DOCTYPE edXML SYSTEM "http://example.org/x.dtd">',
    ],
)
def test_a_document_type_is_never_read(doctype: bytes) -> None:
    at = SIGNED.index(b"<edXML")
    result = check(SIGNED[:at] + doctype + SIGNED[at:], ROOT)
    assert result.verdict is Verdict.UNREADABLE
    assert result.detail == "edxml.dtd_forbidden"
    assert result.finding is not None
    for language in Language:
        assert result.finding.text(language).rstrip(".") in result.text(language)


@pytest.mark.parametrize("packet", [b"", b"x", b"<edXML", SIGNED[:1000], SIGNED[:-3], b"\xff\xfe<\x00"])
def test_what_is_no_xml(packet: bytes) -> None:
    assert check(packet, ROOT).verdict in (Verdict.UNREADABLE, Verdict.NOT_CHECKED)


def test_beyond_the_limits_nothing_is_said() -> None:
    for limits in (
        replace(DEFAULT_LIMITS, packet=1000),
        replace(DEFAULT_LIMITS, header=1000),
        replace(DEFAULT_LIMITS, elements=5),
        replace(DEFAULT_LIMITS, attachments=0),
    ):
        result = check(SIGNED, ROOT, limits=limits)
        assert result.verdict is Verdict.NOT_CHECKED
        assert result.verdict.is_open


def test_no_signature_is_no_forgery() -> None:
    assert check(PACKET, ROOT).verdict is Verdict.ABSENT
    assert check(PACKET, ROOT).verdict.is_open


def test_the_decoration_of_the_field() -> None:
    """As VNPT's library writes it: right names in the packet's own namespace, SHA-1, a truncated certificate."""
    decoration = (
        "<Signature><SignedInfo><CanonicalizationMethod Algorithm='http://www.w3.org/TR/2001/REC-xml-c14n-20010315'/>"
        "<SignatureMethod Algorithm='http://www.w3.org/2000/09/xmldsig#rsa-sha1'/><Reference URI=''><Transforms>"
        "<Transform Algorithm='http://www.w3.org/TR/xml-exc-c14n#'/></Transforms></Reference></SignedInfo>"
        "<SignatureValue>AAAA</SignatureValue><KeyInfo><X509Data><X509Certificate>MIIFqTCCBJG</X509Certificate>"
        "</X509Data></KeyInfo></Signature></edXML:edXMLHeader>"
    )
    packet = PACKET.replace(b"</edXML:edXMLHeader>", decoration.encode())
    result = check(packet, ROOT)
    assert (result.verdict, result.verdict.is_open) == (Verdict.NOT_XMLDSIG, True)
    empty = PACKET.replace(b"</edXML:edXMLHeader>", b"<edXML:DigitalSignature/></edXML:edXMLHeader>")
    assert check(empty, ROOT).verdict is Verdict.ABSENT


@pytest.mark.parametrize("steps", [(ENVELOPED,), (ENVELOPED, C14N), (ENVELOPED, EXCLUSIVE)])
def test_namespaces_that_would_take_minutes(steps: tuple[str, ...]) -> None:
    """libxml2 compares all namespaces in scope with each other at every element, in the inclusive forms."""
    declared = " ".join(f'xmlns:n{at}="urn:{at}"' for at in range(2000))
    bomb = f"<x {declared}>{'<a/>' * 5000}</x></edXML>".encode()
    packet = forge(PACKET, WHO, targets=[("", steps)]).replace(b"</edXML>", bomb)
    began = time.process_time()
    verdict = check(packet, ROOT).verdict
    assert time.process_time() - began < 1.0
    assert verdict is (Verdict.INVALID_DIGEST if EXCLUSIVE in steps else Verdict.NOT_CHECKED)


@pytest.mark.parametrize(("count", "verdict"), [(5, Verdict.VALID), (1000, Verdict.NOT_CHECKED)])
def test_prefixes_that_would_take_minutes(count: int, verdict: Verdict) -> None:
    """A list of prefixes makes an exclusive form inclusive again."""

    def put(signature: Any) -> None:
        method = next(signature.iter(f"{{{DS}}}CanonicalizationMethod"))
        prefixes = " ".join(f"n{at}" for at in range(count))
        etree.SubElement(method, f"{{{EXCLUSIVE}}}InclusiveNamespaces", PrefixList=prefixes)

    assert check(forge(PACKET, WHO, edit=put), ROOT).verdict is verdict


SAMPLES = Path(__file__).parents[5] / "shared/samples/edxml"
SHARED = pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/samples/edxml is absent")


@pytest.mark.shared
@SHARED
def test_the_official_samples_are_decorated_or_bare() -> None:
    """None of them is signed by anybody, none is a forgery, and none raises."""
    said = {path.name: check(path.read_bytes(), ROOT).verdict for path in sorted(SAMPLES.rglob("*.edxml*"))}
    assert len(said) > 3
    assert set(said.values()) <= {Verdict.NOT_XMLDSIG, Verdict.ABSENT, Verdict.UNREADABLE, Verdict.WEAK_ALGORITHM}
    assert Verdict.NOT_XMLDSIG in said.values()


def test_every_verdict_has_a_text_in_both_languages() -> None:
    result = check(SIGNED, ROOT)
    for verdict in Verdict:
        texts = {replace(result, verdict=verdict, detail="x").text(language) for language in Language}
        assert len(texts) == 2
        assert not any(text.startswith("signature.") or "{" in text for text in texts)
