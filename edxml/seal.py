"""The seal (dấu niêm phong) of an accepted packet: a small signed statement of what was accepted, when and by whom.

A seal is an XAdES-BES signature, ECDSA P-256 with SHA-256, over a statement of the packet's digest and size, each
attachment's digest and length, sender and recipients as written, the time of acceptance and the repairs made in
reading.  It costs the same for 20 KB and 1 GB, since only digests are signed, and it travels beside the packet, whose
bytes stay untouched.  Any XAdES verifier accepts it; `verify_seal` accepts nothing but this one form.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree

from edxml._seal_text import (
    FORM,
    SEAL_NAMESPACE,
    frame,
    signed_info,
    signed_properties,
    stamp,
    statement,
    statement_leaf,
)
from edxml.errors import SealInvalid
from edxml.messages import Evidence
from edxml.sign.algorithms import SignatureAlgorithm, is_right_signature
from edxml.sign.certificates import check_use, der_of, find_path, load_certificates
from edxml.sign.names import name_text
from edxml.sign.policy import SIGNING_USES
from edxml.sign.signer import Signer, SigningKeyInvalid, load_pem_signer
from edxml.sign.verdicts import CheckRefusal, Verdict
from edxml.values import hasten

__all__ = [
    "LARGEST_SEAL",
    "OpenedSeal",
    "SealKey",
    "SealStatement",
    "generate_seal_key",
    "load_seal_key",
    "make_seal",
    "open_seal",
    "seal_key_of",
    "verify_seal",
]

_ALGORITHM = SignatureAlgorithm.ECDSA_SHA256
_VERSION = "1"
_CALENDAR_END = datetime.max.replace(microsecond=0, tzinfo=UTC)
LARGEST_SEAL = 1 << 20
"""Bytes of a seal; none larger is opened.  One of 2,000 recipients and 200 attachments stays far below."""


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class SealStatement:
    """What a seal says. Digests are SHA-256 in lower-case hex, sizes bytes; `accepted_at` is an aware time."""

    packet_id: str
    node: str
    packet_digest: str
    size: int
    attachments: tuple[tuple[str, int], ...]  #: (digest, length) of each decoded file, in order
    sender: str  #: organ id as written
    recipients: tuple[str, ...]  #: organ ids as written
    accepted_at: datetime
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealKey:
    """A private key with its certificate, loaded once (loading costs more than a thousand seals)."""

    signer: Signer  #: in memory or on a token; ECDSA_SHA256 on P-256
    certificate: x509.Certificate
    certificate_text: str  #: base64 of its DER
    certificate_digest: str  #: base64 of the SHA-256 of its DER


def generate_seal_key(common_name: str, *, days: int = 3650, begins: datetime | None = None) -> tuple[bytes, bytes]:
    """A new P-256 key (PKCS#8 PEM) and a self-signed certificate (PEM) in the name of the node.

    It is for use from `begins` (aware; now where None) for so many days, and valid from a day before.  Its name tells
    the key too: other software takes the first trusted certificate of a name, and a node's keys follow each other.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"seal key {identifier.digest[:8].hex()}"),
        ]
    )
    begins = (begins or datetime.now(UTC)).replace(microsecond=0)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - timedelta(days=1))  # a neighbour's clock may run behind
        .not_valid_after(begins + min(timedelta(days=days), _CALENDAR_END - begins))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def load_seal_key(key_pem: bytes, cert_pem: bytes) -> SealKey:
    """The key to make seals with. Raises SigningKeyInvalid: it cannot be read, is not on P-256, or another's."""
    return seal_key_of(load_pem_signer(key_pem, cert_pem))


def seal_key_of(signer: Signer) -> SealKey:
    """The key to make seals with, of any signer on curve P-256. Raises SigningKeyInvalid."""
    certificate = signer.certificates[0]
    if signer.algorithm is not SignatureAlgorithm.ECDSA_SHA256 or not _is_p256(certificate.public_key()):
        raise SigningKeyInvalid("not_p256")
    der = der_of(certificate)
    return SealKey(
        signer=signer,
        certificate=certificate,
        certificate_text=b64encode(der).decode(),
        certificate_digest=_digest(der),
    )


def _is_p256(public_key: object) -> bool:
    return isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(public_key.curve, ec.SECP256R1)


def make_seal(sealed: SealStatement, key: SealKey) -> bytes:
    """The seal over a statement, as UTF-8 XML of some 2 KB.

    Raises WriteRefused for text that XML cannot carry, and what signing raises.

    Each call gives other bytes (ECDSA is randomised): keep the first.
    """
    moment = stamp(sealed.accepted_at)
    body = _body(sealed, moment)
    digests = _digests(body, moment, key.certificate_digest)
    value = key.signer.sign(signed_info(*digests, alone=True).encode())
    return frame(
        statement=statement(body, alone=False),
        info=signed_info(*digests, alone=False),
        properties=signed_properties(moment, key.certificate_digest, alone=False),
        signature=b64encode(value).decode(),
        certificate=key.certificate_text,
    ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSeal:
    """A seal that is right: what it states, and by whom."""

    statement: SealStatement
    certificate: x509.Certificate  #: whose key sealed; says by itself when that key was in use
    chain: tuple[x509.Certificate, ...]  #: from it to the one that is trusted, which may be itself


def verify_seal(seal: bytes, *, certificates: Iterable[x509.Certificate | bytes]) -> SealStatement:
    """What the seal states, if one of the trusted `certificates` (objects or PEM) made it while it was valid, or issued
    the certificate that did.

    Raises SealInvalid otherwise.  The caller still compares the statement with the packet at hand.
    """
    known = [x509.load_pem_x509_certificate(one) if isinstance(one, bytes) else one for one in certificates]
    return open_seal(seal, trusted=known).statement


def open_seal(seal: bytes, *, trusted: Sequence[x509.Certificate]) -> OpenedSeal:
    """The same with the certificate. `trusted` are seal certificates themselves, or authorities above them.

    Certificates are judged for the moment that the seal states: whoever holds the key of a trusted certificate could
    state any, so a certificate whose key was stolen must be taken out of what is trusted.
    """
    found = _match(seal)
    der = _decode(found["certificate"])
    if found["certificate_digest"] != _digest(der):
        raise SealInvalid("other_certificate")
    body, moment = found["statement"], found["signing_time"]
    digests = (found["statement_digest"], found["properties_digest"])
    if digests != _digests(body, moment, found["certificate_digest"]):
        raise SealInvalid("altered")
    certificate = _certificate(der)
    if not _is_p256(certificate.public_key()):
        raise SealInvalid("algorithm")
    info = signed_info(*digests, alone=True).encode()
    if not is_right_signature(_ALGORITHM, certificate.public_key(), _decode(found["signature"]), info):
        raise SealInvalid("signature")
    sealed = _parse(body)
    if stamp(sealed.accepted_at) != moment or _body(sealed, moment) != body:
        raise SealInvalid("form")
    return OpenedSeal(
        statement=sealed, certificate=certificate, chain=_trusted(certificate, trusted, sealed.accepted_at)
    )


def _match(seal: bytes) -> re.Match[str]:
    if len(seal) > LARGEST_SEAL:
        raise SealInvalid("form")
    try:
        found = FORM.match(seal.decode("utf-8"))
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise SealInvalid("form")
    return found


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return load_certificates([der])[0]
    except CheckRefusal:
        raise SealInvalid("certificate") from None


def _trusted(
    certificate: x509.Certificate, trusted: Sequence[x509.Certificate], at: datetime
) -> tuple[x509.Certificate, ...]:
    try:
        check_use(certificate, SIGNING_USES)
        return find_path(certificate, (), trusted, at)
    except CheckRefusal as refusal:
        if refusal.verdict in (Verdict.CERTIFICATE_EXPIRED, Verdict.CERTIFICATE_NOT_YET_VALID):
            raise SealInvalid("not_valid_then", at=at, detail=Evidence(refusal.detail)) from None
        name = name_text(certificate.subject)
        raise SealInvalid("untrusted", name=name, detail=str(refusal.verdict)) from None


def _digests(body: str, moment: str, certificate_digest: str) -> tuple[str, str]:
    return (
        _digest(statement(body, alone=True).encode()),
        _digest(signed_properties(moment, certificate_digest, alone=True).encode()),
    )


def _digest(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()


def _decode(text: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        data = b""
    if b64encode(data).decode() != text:  # unused bits set: the same bytes in a second spelling
        raise SealInvalid("base64")
    return data


def _body(sealed: SealStatement, moment: str) -> str:
    leaf = statement_leaf
    return "".join(
        (
            leaf("Version", _VERSION),
            leaf("PacketId", sealed.packet_id),
            leaf("Node", sealed.node),
            leaf("PacketDigest", sealed.packet_digest),
            leaf("Size", str(sealed.size)),
            *(
                f"<Attachment>{leaf('Digest', digest)}{leaf('Length', str(length))}</Attachment>"
                for digest, length in sealed.attachments
            ),
            leaf("Sender", sealed.sender),
            *(leaf("Recipient", organ) for organ in sealed.recipients),
            leaf("AcceptedAt", moment),
            *(leaf("Repair", name) for name in sealed.repairs),
        )
    )


_PARSER = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}


def _parse(body: str) -> SealStatement:
    """The values of a statement whose signature is already known to be right."""
    try:
        root = etree.fromstring(statement(body, alone=True), etree.XMLParser(**_PARSER))
        texts: dict[str, list[str]] = {}
        for child in root:
            texts.setdefault(child.tag.removeprefix(f"{{{SEAL_NAMESPACE}}}"), []).append(child.text or "")
        files = tuple((part[0].text or "", int(part[1].text)) for part in root.iter(f"{{{SEAL_NAMESPACE}}}Attachment"))
        accepted_at = datetime.fromisoformat(texts["AcceptedAt"][0])
        stamp(accepted_at)  # a zone may lead out of the calendar
        return SealStatement(
            packet_id=texts["PacketId"][0],
            node=texts["Node"][0],
            packet_digest=texts["PacketDigest"][0],
            size=int(texts["Size"][0]),
            attachments=files,
            sender=texts["Sender"][0],
            recipients=tuple(texts.get("Recipient", ())),
            accepted_at=accepted_at,
            repairs=tuple(texts.get("Repair", ())),
        )
    except (etree.XMLSyntaxError, LookupError, ValueError, TypeError, OverflowError):
        raise SealInvalid("form") from None
