"""The texts of XAdES in the signatures we make; whoever digests them canonicalises them first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from edxml.sign._structure import DSIG, PROPERTIES_TYPE, XADES
from edxml.sign.algorithms import Canonicalization, DigestAlgorithm

__all__ = ["Ids", "properties", "qualifying", "reference", "time_stamp", "unsigned_properties"]

_NS: Final = f'xmlns="{DSIG}" xmlns:xades="{XADES}"'


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


def properties(ids: Ids, signing_time: datetime, algorithm: DigestAlgorithm, certificate_digest: str) -> str:
    """SignedProperties: when, and by which certificate."""
    moment = signing_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f'<xades:SignedProperties {_NS} Id="{ids.properties}">'
        f"<xades:SignedSignatureProperties><xades:SigningTime>{moment}</xades:SigningTime>"
        "<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>"
        f'<DigestMethod Algorithm="{algorithm}"/><DigestValue>{certificate_digest}</DigestValue>'
        "</xades:CertDigest></xades:Cert></xades:SigningCertificateV2></xades:SignedSignatureProperties>"
        f'<xades:SignedDataObjectProperties><xades:DataObjectFormat ObjectReference="#{ids.reference}">'
        "<xades:MimeType>text/xml</xades:MimeType></xades:DataObjectFormat></xades:SignedDataObjectProperties>"
        "</xades:SignedProperties>"
    )


def reference(ids: Ids, algorithm: DigestAlgorithm, digest: str) -> str:
    """What puts the properties under the signature."""
    return (
        f'<Reference {_NS} Type="{PROPERTIES_TYPE}" URI="#{ids.properties}">'
        f'<Transforms><Transform Algorithm="{Canonicalization.EXCLUSIVE}"/></Transforms>'
        f'<DigestMethod Algorithm="{algorithm}"/><DigestValue>{digest}</DigestValue></Reference>'
    )


def qualifying(ids: Ids, properties: str) -> str:
    """The Object around the properties."""
    return (
        f'<Object {_NS}><xades:QualifyingProperties Target="#{ids.stem}">{properties}'
        "</xades:QualifyingProperties></Object>"
    )


def time_stamp(token: str) -> str:
    """The time stamp over the signature value; `token` is the base64 of an RFC 3161 token. Nobody signs this part."""
    return (
        f"<xades:SignatureTimeStamp {_NS}>"
        f'<CanonicalizationMethod Algorithm="{Canonicalization.EXCLUSIVE}"/>'
        f"<xades:EncapsulatedTimeStamp>{token}</xades:EncapsulatedTimeStamp>"
        "</xades:SignatureTimeStamp>"
    )


def unsigned_properties(content: str) -> str:
    """What XAdES adds to a signature after it was made."""
    return (
        f"<xades:UnsignedProperties {_NS}><xades:UnsignedSignatureProperties>{content}"
        "</xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
    )
