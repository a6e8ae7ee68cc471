"""A signature over the whole packet leaves itself out, so nothing that a reader takes may stand within it."""

from __future__ import annotations

import copy
import io
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree

from edxml.read import ReadResult, read
from edxml.sign.certificates import der_of, key_der
from edxml.sign.verdicts import Verdict
from tests.support.certificates import Authority, Issued
from tests.support.packets import build_packet
from tests.unit.edxml.sign.forge import DS, NS, check, forge, parse, q, signed, unparse

ROOT = Authority()
WHO = ROOT.issue()
SIGNED = signed(WHO)


def planted(part: Any, place: str, packet: bytes = SIGNED) -> bytes:
    """A signed packet with `part` in a place of its signature that is under nobody's signature."""
    root = parse(packet)
    signature = next(root.iter(f"{{{DS}}}Signature"))
    if place == "Object":
        etree.SubElement(signature, f"{{{DS}}}Object").append(part)
    else:
        next(signature.iter(f"{{{DS}}}{place}")).append(part)
    return unparse(root)


def strange_parts() -> Iterator[Any]:
    """Every part of the packet, with other texts; with our namespace and without one."""
    for element in parse(build_packet()).iter("*"):
        part = copy.deepcopy(element)
        part.tail = None
        for leaf in part.iter("*"):
            leaf.text = "666" if len(leaf) == 0 and leaf.text else leaf.text
        yield part
        bare = copy.deepcopy(part)
        for one in bare.iter("*"):
            one.tag = etree.QName(one).localname
        yield bare


def values(packet: bytes) -> Any:
    """What a reader takes from a packet, without where it stood; None where it refuses it."""
    result: ReadResult = read(io.BytesIO(packet))
    if result.is_refused:
        return None
    found = result.packet
    files = [(one.name, one.digest, one.content_type, one.encoding) for one in getattr(found, "attachments", ())]
    return [getattr(found, name) for name in ("sender", "recipients", "document_id", "subject", "references")], files


@pytest.mark.parametrize("place", ["Object", "KeyInfo", "X509Data"])
def test_nothing_within_a_valid_signature_changes_what_is_read(place: str) -> None:
    expected = values(SIGNED)
    taken = 0
    for part in strange_parts():
        packet = planted(part, place)
        verdict = check(packet, ROOT)
        if verdict.verdict is Verdict.VALID:
            taken += 1
            assert len(verdict.files) == 1, part.tag
            assert values(packet) == expected, part.tag
    assert taken > 50


@pytest.mark.parametrize("under", ["edXMLHeader", "edXMLEnvelope", "edXML"])
@pytest.mark.parametrize("text", ["UEZE", ""])
def test_an_attachment_within_the_signature_is_refused_by_verifier_and_reader(under: str, text: str) -> None:
    part = etree.fromstring(
        f'<e:Attachment xmlns:e="{NS}"><e:ContentType>application/pdf</e:ContentType><e:AttachmentName>them.pdf'
        f"</e:AttachmentName><e:ContentTransferEncoded>{text}</e:ContentTransferEncoded></e:Attachment>"
    )
    packet = planted(part, "Object", forge(build_packet(), WHO, under=under))
    assert check(packet, ROOT).verdict is Verdict.MALFORMED
    assert "edxml.attachment_misplaced" in [finding.code for finding in read(io.BytesIO(packet)).findings]


def test_a_line_of_the_manifest_within_the_signature_describes_no_file() -> None:
    """Whether a ZIP is unwrapped hangs on the name of the file, which may stand in the manifest alone."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("van-ban.txt", "Kính gửi")
    root = parse(build_packet(files=(("van-ban.zip", data.getvalue()),)))
    for name in ("AttachmentName", "ContentType"):
        own = root.find(f"{q('AttachmentEncoded')}/{q('Attachment')}/{q(name)}")
        own.getparent().remove(own)
    honest = forge(root, WHO)
    line = etree.fromstring(
        f'<Reference xmlns="{NS}"><ContentId>1</ContentId><ContentType>application/pdf</ContentType>'
        "<AttachmentName>van-ban.pdf</AttachmentName></Reference>"
    )
    packet = planted(line, "Object", honest)
    assert check(packet, ROOT).verdict is Verdict.VALID
    assert values(honest)[1]
    assert values(packet) == values(honest)


def test_an_encoded_key_beside_the_certificate_must_be_its_own() -> None:
    """Other software (xmlsec1) takes DEREncodedKeyValue; then it must not name another than the certificate does."""

    def beside(who: Issued) -> bytes:
        key = b64encode(key_der(who.key.public_key())).decode()
        certificate = b64encode(der_of(WHO.certificate)).decode()
        return forge(
            build_packet(),
            WHO,
            key_info=f"<X509Data><X509Certificate>{certificate}</X509Certificate></X509Data>"
            f'<d:DEREncodedKeyValue xmlns:d="http://www.w3.org/2009/xmldsig11#">{key[:30]}\n{key[30:]}'
            "</d:DEREncodedKeyValue>",
        )

    assert check(beside(WHO), ROOT).verdict is Verdict.VALID
    assert check(beside(ROOT.issue()), ROOT).verdict is Verdict.CERTIFICATE_MISMATCH
