"""The text of the signatures we make: in exclusive canonical form by construction, so nothing is canonicalised.

Exclusive canonicalisation renders a namespace only where it is used, so a part has one canonical form wherever it
stands.  Each part is laid out twice by the same function: `alone`, as it is digested, and as it stands in the
signature, where the default namespace is declared once at the top.  Rules kept here: no blanks between elements, start
and end tags always both, namespace declarations before attributes, attributes in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edxml.sign.algorithms import Canonicalization, DigestAlgorithm, SignatureAlgorithm

__all__ = [
    "DSIG",
    "ENVELOPED",
    "PROPERTIES_TYPE",
    "XADES",
    "Ids",
    "properties",
    "signature",
    "signed_info",
    "time_stamp",
    "unsigned_properties",
    "value",
]

DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
PROPERTIES_TYPE: Final = "http://uri.etsi.org/01903#SignedProperties"
ENVELOPED: Final = DSIG + "enveloped-signature"
_NS: Final = f' xmlns="{DSIG}"'
_NS_XADES: Final = f' xmlns:xades="{XADES}"'
_EXCLUSIVE: Final = Canonicalization.EXCLUSIVE


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids within one signature: unique in the packet, since `stem` is drawn at random."""

    stem: str

    @property
    def properties(self) -> str:
        """Of SignedProperties."""
        return f"{self.stem}-properties"

    @property
    def reference(self) -> str:
        """Of the reference to the packet."""
        return f"{self.stem}-reference"


def properties(ids: Ids, moment: str, digest_uri: str, certificate_digest: str, *, alone: bool) -> str:
    """The XAdES properties: when, and by which certificate."""
    ns = _NS if alone else ""
    return (
        f'<xades:SignedProperties{_NS_XADES if alone else ""} Id="{ids.properties}">'
        "<xades:SignedSignatureProperties>"
        f"<xades:SigningTime>{moment}</xades:SigningTime>"
        "<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>"
        f'<DigestMethod{ns} Algorithm="{digest_uri}"></DigestMethod>'
        f"<DigestValue{ns}>{certificate_digest}</DigestValue>"
        "</xades:CertDigest></xades:Cert></xades:SigningCertificateV2>"
        "</xades:SignedSignatureProperties>"
        "<xades:SignedDataObjectProperties>"
        f'<xades:DataObjectFormat ObjectReference="#{ids.reference}">'
        "<xades:MimeType>text/xml</xades:MimeType></xades:DataObjectFormat>"
        "</xades:SignedDataObjectProperties>"
        "</xades:SignedProperties>"
    )


def signed_info(
    ids: Ids,
    algorithm: SignatureAlgorithm,
    digest_algorithm: DigestAlgorithm,
    packet_digest: str,
    properties_digest: str | None,
    *,
    alone: bool,
) -> str:
    """What the key signs: the digest of the whole packet and, for XAdES, that of the properties."""
    own = ""
    if properties_digest is not None:
        attributes = f'Type="{PROPERTIES_TYPE}" URI="#{ids.properties}"'
        own = _reference(attributes, (_EXCLUSIVE,), digest_algorithm, properties_digest)
    return (
        f"<SignedInfo{_NS if alone else ''}>"
        f'<CanonicalizationMethod Algorithm="{_EXCLUSIVE}"></CanonicalizationMethod>'
        f'<SignatureMethod Algorithm="{algorithm}"></SignatureMethod>'
        + _reference(f'Id="{ids.reference}" URI=""', (ENVELOPED, _EXCLUSIVE), digest_algorithm, packet_digest)
        + own
        + "</SignedInfo>"
    )


def _reference(attributes: str, transforms: Sequence[str], digest_algorithm: DigestAlgorithm, digest: str) -> str:
    steps = "".join(f'<Transform Algorithm="{uri}"></Transform>' for uri in transforms)
    return (
        f"<Reference {attributes}><Transforms>{steps}</Transforms>"
        f'<DigestMethod Algorithm="{digest_algorithm}"></DigestMethod>'
        f"<DigestValue>{digest}</DigestValue></Reference>"
    )


def value(text: str, *, alone: bool) -> str:
    """The signature value: what a time stamp is over."""
    return f"<SignatureValue{_NS if alone else ''}>{text}</SignatureValue>"


def time_stamp(token: str, *, alone: bool) -> str:
    """The time stamp over the signature value; `token` is the base64 of an RFC 3161 token. Nobody signs this part."""
    return (
        f"<xades:SignatureTimeStamp{_NS_XADES if alone else ''}>"
        f'<CanonicalizationMethod{_NS if alone else ""} Algorithm="{_EXCLUSIVE}"></CanonicalizationMethod>'
        f"<xades:EncapsulatedTimeStamp>{token}</xades:EncapsulatedTimeStamp>"
        "</xades:SignatureTimeStamp>"
    )


def unsigned_properties(content: str, *, alone: bool) -> str:
    """What XAdES adds to a signature after it was made."""
    return (
        f"<xades:UnsignedProperties{_NS_XADES if alone else ''}><xades:UnsignedSignatureProperties>{content}"
        "</xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
    )


def signature(
    ids: Ids, *, info: str, value: str, certificates: Sequence[str], properties: str = "", unsigned: str = ""
) -> str:
    """The whole Signature from its parts as they stand in it."""
    held = "".join(f"<X509Certificate>{one}</X509Certificate>" for one in certificates)
    qualifying = ""
    if properties:
        qualifying = (
            f'<Object><xades:QualifyingProperties{_NS_XADES} Target="#{ids.stem}">{properties}{unsigned}'
            "</xades:QualifyingProperties></Object>"
        )
    return (
        f'<Signature{_NS} Id="{ids.stem}">{info}{value}'
        f"<KeyInfo><X509Data>{held}</X509Data></KeyInfo>{qualifying}</Signature>"
    )
