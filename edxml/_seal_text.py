"""The text of a seal: XML that is in canonical form by construction (Canonical XML 1.1), so nothing is canonicalised.

What is digested is each part as it is canonicalised for itself: the same text, whose outermost tag also names the
namespaces that its ancestors declare.  Rules kept here: no blanks between elements, start and end tags always both,
namespace declarations before attributes, the default one first, attributes in order, double quotes, and the
character references of Canonical XML.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from edxml.characters import is_xml_text
from edxml.errors import WriteRefused

__all__ = [
    "FORM",
    "SEAL_NAMESPACE",
    "frame",
    "signed_info",
    "signed_properties",
    "stamp",
    "statement",
    "statement_leaf",
]

SEAL_NAMESPACE = "urn:truc:seal:1"
_DS = "http://www.w3.org/2000/09/xmldsig#"
_XADES = "http://uri.etsi.org/01903/v1.3.2#"
_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
_C14N = "http://www.w3.org/2006/12/xml-c14n11"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
_IN_SEAL = f' xmlns="{SEAL_NAMESPACE}"'
_IN_SIGNATURE = f'{_IN_SEAL} xmlns:ds="{_DS}"'
_IN_XADES = f'{_IN_SIGNATURE} xmlns:xades="{_XADES}"'

_SPECIAL = re.compile(r"[&<>\r]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}


def statement_leaf(name: str, text: str) -> str:
    """One element with text. Raises WriteRefused where XML cannot carry the text."""
    if not is_xml_text(text):
        raise WriteRefused(what=name, why="character that XML cannot carry")
    if _SPECIAL.search(text):
        text = _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)
    return f"<{name}>{text}</{name}>"


def stamp(moment: datetime) -> str:
    """An aware time in UTC with microseconds: 2025-09-01T02:00:00.000000Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def statement(body: str, *, alone: bool) -> str:
    """The signed statement, as it stands in the seal or `alone`, as it is digested."""
    return f'<Statement{_IN_SEAL if alone else ""} Id="statement">{body}</Statement>'


def signed_properties(signing_time: str, certificate_digest: str, *, alone: bool) -> str:
    """The XAdES properties: when, and by which certificate."""
    return (
        f'<xades:SignedProperties{_IN_XADES if alone else ""} Id="signed-properties">'
        "<xades:SignedSignatureProperties>"
        f"<xades:SigningTime>{signing_time}</xades:SigningTime>"
        "<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>"
        f'<ds:DigestMethod Algorithm="{_SHA256}"></ds:DigestMethod>'
        f"<ds:DigestValue>{certificate_digest}</ds:DigestValue>"
        "</xades:CertDigest></xades:Cert></xades:SigningCertificateV2>"
        "</xades:SignedSignatureProperties>"
        "<xades:SignedDataObjectProperties>"
        '<xades:DataObjectFormat ObjectReference="#statement-reference">'
        "<xades:MimeType>text/xml</xades:MimeType></xades:DataObjectFormat>"
        "</xades:SignedDataObjectProperties>"
        "</xades:SignedProperties>"
    )


def signed_info(statement_digest: str, properties_digest: str, *, alone: bool) -> str:
    """What the key signs: the digests of both parts."""
    return (
        f"<ds:SignedInfo{_IN_SIGNATURE if alone else ''}>"
        f'<ds:CanonicalizationMethod Algorithm="{_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{_ECDSA}"></ds:SignatureMethod>'
        + _reference('Id="statement-reference" URI="#statement"', statement_digest)
        + _reference(f'Type="{_PROPERTIES}" URI="#signed-properties"', properties_digest)
        + "</ds:SignedInfo>"
    )


def _reference(attributes: str, digest: str) -> str:
    return (
        f"<ds:Reference {attributes}>"
        f'<ds:Transforms><ds:Transform Algorithm="{_C14N}"></ds:Transform></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{_SHA256}"></ds:DigestMethod>'
        f"<ds:DigestValue>{digest}</ds:DigestValue>"
        "</ds:Reference>"
    )


def frame(*, statement: str, info: str, properties: str, signature: str, certificate: str) -> str:
    """The whole seal from its parts as they stand in it."""
    return (
        f"<Seal{_IN_SEAL}>{statement}"
        f'<ds:Signature xmlns:ds="{_DS}" Id="seal">{info}'
        f"<ds:SignatureValue>{signature}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        f'<ds:Object><xades:QualifyingProperties xmlns:xades="{_XADES}" Target="#seal">{properties}'
        "</xades:QualifyingProperties></ds:Object></ds:Signature></Seal>"
    )


_BASE64 = "[A-Za-z0-9+/]+={0,2}"
_HOLES = ("\x01", "\x02", "\x03", "\x04", "\x05", "\x06", "\x07")
FORM = re.compile(
    re.escape(
        frame(
            statement=statement(_HOLES[0], alone=False),
            info=signed_info(_HOLES[1], _HOLES[2], alone=False),
            properties=signed_properties(_HOLES[3], _HOLES[4], alone=False),
            signature=_HOLES[5],
            certificate=_HOLES[6],
        )
    )
    .replace("\x01", "(?P<statement>.*?)")
    .replace("\x02", f"(?P<statement_digest>{_BASE64})")
    .replace("\x03", f"(?P<properties_digest>{_BASE64})")
    .replace("\x04", r"(?P<signing_time>[0-9TZ:.\-]{20,32})")
    .replace("\x05", f"(?P<certificate_digest>{_BASE64})")
    .replace("\x06", f"(?P<signature>{_BASE64})")
    .replace("\x07", f"(?P<certificate>{_BASE64})")
    + r"\Z",
    re.DOTALL,
)
"""The one form that a seal has; whatever differs by a byte is not a seal of ours, so nothing can be wrapped."""
