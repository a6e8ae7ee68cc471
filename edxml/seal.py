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
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
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

__all__ = ["SealKey", "SealStatement", "generate_seal_key", "load_seal_key", "make_seal", "verify_seal"]

_SHA256 = ec.ECDSA(hashes.SHA256())
_VERSION = "1"
_LARGEST = 1 << 20  # a seal of 2,000 recipients and 200 attachments stays far below


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

    private_key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    certificate_text: str  #: base64 of its DER
    certificate_digest: str  #: base64 of the SHA-256 of its DER


def generate_seal_key(common_name: str, *, days: int = 3650) -> tuple[bytes, bytes]:
    """A new P-256 key (PKCS#8 PEM) and a self-signed certificate (PEM) in the name of the node."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC).replace(microsecond=0)
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
        .not_valid_before(now - timedelta(days=1))  # a neighbour's clock may run behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def load_seal_key(key_pem: bytes, cert_pem: bytes) -> SealKey:
    """The key to make seals with. Raises SealInvalid where it is no P-256 key or the certificate is another key's."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
        certificate = x509.load_pem_x509_certificate(cert_pem)
    except (ValueError, TypeError):
        raise SealInvalid(why="key or certificate cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SealInvalid(why="the key is not on curve P-256")
    if certificate.public_key() != key.public_key():
        raise SealInvalid(why="the certificate belongs to another key")
    der = certificate.public_bytes(serialization.Encoding.DER)
    return SealKey(
        private_key=key,
        certificate=certificate,
        certificate_text=b64encode(der).decode(),
        certificate_digest=_digest(der),
    )


def make_seal(sealed: SealStatement, key: SealKey) -> bytes:
    """The seal over a statement, as UTF-8 XML of some 2 KB. Raises WriteRefused for text that XML cannot carry.

    Each call gives other bytes (ECDSA is randomised): keep the first.
    """
    body = _body(sealed)
    moment = stamp(sealed.accepted_at)
    digests = _digests(body, moment, key.certificate_digest)
    r, s = decode_dss_signature(key.private_key.sign(signed_info(*digests, alone=True).encode(), _SHA256))
    return frame(
        statement=statement(body, alone=False),
        info=signed_info(*digests, alone=False),
        properties=signed_properties(moment, key.certificate_digest, alone=False),
        signature=b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode(),
        certificate=key.certificate_text,
    ).encode()


def verify_seal(seal: bytes, *, certificates: Iterable[x509.Certificate | bytes]) -> SealStatement:
    """What the seal states, if one of the trusted `certificates` (objects or PEM) made it while it was valid.

    Raises SealInvalid otherwise.  The caller still compares the statement with the packet at hand.
    """
    found = _match(seal)
    der = _decode(found["certificate"])
    certificate = _trusted(der, certificates)
    if found["certificate_digest"] != _digest(der):
        raise SealInvalid(why="it was signed in the name of another certificate")
    body, moment = found["statement"], found["signing_time"]
    digests = (found["statement_digest"], found["properties_digest"])
    if digests != _digests(body, moment, found["certificate_digest"]):
        raise SealInvalid(why="its statement was altered")
    _check_signature(certificate, _decode(found["signature"]), signed_info(*digests, alone=True).encode())
    sealed = _parse(body)
    if _body(sealed) != body or stamp(sealed.accepted_at) != moment:
        raise SealInvalid(why="its statement is not in the one form that seals have")
    if not certificate.not_valid_before_utc <= sealed.accepted_at <= certificate.not_valid_after_utc:
        raise SealInvalid(why="its certificate was not valid at that time")
    return sealed


def _match(seal: bytes) -> re.Match[str]:
    if len(seal) > _LARGEST:
        raise SealInvalid(why="too large")
    try:
        found = FORM.match(seal.decode("utf-8"))
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise SealInvalid(why="it does not have the one form that seals have")
    return found


def _trusted(der: bytes, certificates: Iterable[x509.Certificate | bytes]) -> x509.Certificate:
    for candidate in certificates:
        if isinstance(candidate, bytes):
            candidate = x509.load_pem_x509_certificate(candidate)
        if candidate.public_bytes(serialization.Encoding.DER) == der:
            return candidate
    raise SealInvalid(why="its certificate is not one that is trusted here")


def _check_signature(certificate: x509.Certificate, signature: bytes, info: bytes) -> None:
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or len(signature) != 64:
        raise SealInvalid(why="it is not a P-256 signature")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        public_key.verify(encode_dss_signature(r, s), info, _SHA256)
    except InvalidSignature:
        raise SealInvalid(why="its signature is wrong") from None


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
        raise SealInvalid(why="its base64 is broken")
    return data


def _body(sealed: SealStatement) -> str:
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
            leaf("AcceptedAt", stamp(sealed.accepted_at)),
            *(leaf("Repair", name) for name in sealed.repairs),
        )
    )


_PARSER = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


def _parse(body: str) -> SealStatement:
    """The values of a statement whose signature is already known to be right."""
    try:
        root = etree.fromstring(statement(body, alone=True), etree.XMLParser(**_PARSER))
        texts: dict[str, list[str]] = {}
        for child in root:
            texts.setdefault(child.tag.removeprefix(f"{{{SEAL_NAMESPACE}}}"), []).append(child.text or "")
        files = tuple((part[0].text, int(part[1].text)) for part in root.iter(f"{{{SEAL_NAMESPACE}}}Attachment"))
        return SealStatement(
            packet_id=texts["PacketId"][0],
            node=texts["Node"][0],
            packet_digest=texts["PacketDigest"][0],
            size=int(texts["Size"][0]),
            attachments=files,
            sender=texts["Sender"][0],
            recipients=tuple(texts.get("Recipient", ())),
            accepted_at=datetime.fromisoformat(texts["AcceptedAt"][0]),
            repairs=tuple(texts.get("Repair", ())),
        )
    except (etree.XMLSyntaxError, LookupError, ValueError, TypeError):
        raise SealInvalid(why="its statement cannot be read") from None
