"""Time stamps of an authority (RFC 3161): a token proves that what it is over existed at its time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from edxml.sign._der import INTEGER, OCTETS, OID, SEQUENCE, SET, TIME, Node, NotDer, parse
from edxml.sign.certificates import der_of, extension_of, find_path, load_certificates
from edxml.sign.names import name_text
from edxml.sign.policy import RevocationSource
from edxml.sign.verdicts import CheckRefusal, Standing, Verdict

__all__ = ["check_time_stamp", "read_time_stamp", "token_nonce"]

_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_ESS_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"
_ESS_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
_CONTEXT_0: Final = 0xA0
_KEY_IDENTIFIER: Final = 0x80
_HASHES: Final[dict[str, tuple[str, hashes.HashAlgorithm]]] = {
    "2.16.840.1.101.3.4.2.1": ("sha256", hashes.SHA256()),
    "2.16.840.1.101.3.4.2.2": ("sha384", hashes.SHA384()),
    "2.16.840.1.101.3.4.2.3": ("sha512", hashes.SHA512()),
}
_SIGNATURE_HASHES: Final[dict[str, str | None]] = {
    "1.2.840.113549.1.1.1": None,  # RSA: the hash is that of the signer's digestAlgorithm
    "1.2.840.113549.1.1.11": "2.16.840.1.101.3.4.2.1",
    "1.2.840.113549.1.1.12": "2.16.840.1.101.3.4.2.2",
    "1.2.840.113549.1.1.13": "2.16.840.1.101.3.4.2.3",
    "1.2.840.10045.4.3.2": "2.16.840.1.101.3.4.2.1",
    "1.2.840.10045.4.3.3": "2.16.840.1.101.3.4.2.2",
    "1.2.840.10045.4.3.4": "2.16.840.1.101.3.4.2.3",
}

_HARMLESS: Final = frozenset({"unspecified", "affiliationChanged", "superseded", "cessationOfOperation"})
"""Reasons of revocation after which earlier tokens stay good (RFC 3161, 4); no reason is none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """What a token is made of."""

    info: bytes  #: DER of TSTInfo
    certificates: tuple[x509.Certificate, ...]
    signer: Node  #: SignerIdentifier
    digest_oid: str
    attributes: dict[str, Node]
    signed: bytes  #: the attributes as they were signed
    signature_oid: str
    signature: bytes


def check_time_stamp(
    token: bytes,
    text: bytes,
    anchors: Sequence[x509.Certificate],
    *,
    revocations: RevocationSource | None = None,
    at: datetime | None = None,
) -> datetime:
    """The moment that `token` (DER) proves for `text`. Raises CheckRefusal (TIME_STAMP_INVALID).

    With `revocations` also where the authority's certificate is known to be revoked by `at` (now where None): then a
    token proves nothing, whatever time it states, unless the reason says that the key was never in other hands and
    the token is older (RFC 3161, 4).  What is not known of revocation is not held against it.
    """
    moment, certificate, others = _read(token, text)
    try:
        chain = find_path(certificate, others, anchors, moment)
    except CheckRefusal as refusal:
        raise _invalid(f"{refusal.verdict}: {refusal.detail}") from None
    if revocations is not None and (lost := lost_to_others(chain, moment, revocations, at or datetime.now(UTC))):
        raise _invalid(f"{Verdict.CERTIFICATE_REVOKED}: {name_text(lost.subject)}")
    return moment


def lost_to_others(
    chain: Sequence[x509.Certificate], moment: datetime, revocations: RevocationSource, at: datetime
) -> x509.Certificate | None:
    """The certificate of a time-stamp authority's chain whose revocation, known by `at`, takes all worth from a stamp
    that states `moment`; None where there is none: the rule of `check_time_stamp`."""
    for one, issuer in pairwise(chain):
        known = revocations.look_up(one, issuer, at)
        if known.standing is Standing.REVOKED and not (
            known.reason in _HARMLESS and known.since is not None and moment < known.since
        ):
            return one
    return None


def read_time_stamp(token: bytes, text: bytes) -> datetime:
    """The moment that `token` states for `text`, right in itself, whoever's it is. Raises CheckRefusal as above."""
    return _read(token, text)[0]


def token_nonce(token: bytes) -> int | None:
    """The number by which a token answers one question. Raises CheckRefusal (TIME_STAMP_INVALID)."""
    try:
        info = parse(_take_apart(parse(token)).info).children()
    except NotDer:
        raise _invalid("form") from None
    return next((int.from_bytes(one.content, "big") for one in info[5:] if one.tag == INTEGER), None)


def _read(token: bytes, text: bytes) -> tuple[datetime, x509.Certificate, tuple[x509.Certificate, ...]]:
    """(moment, the authority's certificate, those that came with it), all but who stands behind them checked."""
    try:
        parts = _take_apart(parse(token))
        moment = _check_info(parts, text)
        certificate = _certificate(parts)
        _check_signature(parts, certificate)
    except NotDer:
        raise _invalid("form") from None
    uses = extension_of(certificate, x509.ExtendedKeyUsage)
    if uses is None or list(uses) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise _invalid("ExtendedKeyUsage")
    return moment, certificate, parts.certificates


def _take_apart(root: Node) -> _Token:
    kind, holder = root.expect(OID, _CONTEXT_0)[:2]
    if kind.oid() != _SIGNED_DATA:
        raise NotDer
    _, _, content, *rest = holder.expect(SEQUENCE)[0].expect(INTEGER, SET, SEQUENCE)
    content_kind, content_holder = content.expect(OID, _CONTEXT_0)[:2]
    signers = rest[-1].expect(SEQUENCE) if rest and rest[-1].tag == SET else []
    if content_kind.oid() != _TST_INFO or len(signers) != 1:
        raise NotDer
    held = [one for one in rest if one.tag == _CONTEXT_0]
    ders = [one.whole for one in held[0].children() if one.tag == SEQUENCE] if held else []
    _, signer, digest, attributes, algorithm, signature, *_ = _signer_info(signers[0])
    return _Token(
        info=content_holder.expect(OCTETS)[0].content,
        certificates=load_certificates(ders),
        signer=signer,
        digest_oid=digest.expect(OID)[0].oid(),
        attributes=_attributes(attributes),
        signed=bytes((SET,)) + attributes.whole[1:],  # signed as a SET, written with an implicit tag
        signature_oid=algorithm.expect(OID)[0].oid(),
        signature=signature.content,
    )


def _signer_info(node: Node) -> list[Node]:
    parts = node.children()
    tags = tuple(one.tag for one in parts[:6])
    if tags not in (
        (INTEGER, SEQUENCE, SEQUENCE, _CONTEXT_0, SEQUENCE, OCTETS),
        (INTEGER, _KEY_IDENTIFIER, SEQUENCE, _CONTEXT_0, SEQUENCE, OCTETS),
    ):
        raise NotDer
    return parts


def _attributes(node: Node) -> dict[str, Node]:
    """OID → its one value. Raises NotDer where one stands twice or has several values."""
    found: dict[str, Node] = {}
    for attribute in node.children():
        kind, values = attribute.expect(OID, SET)[:2]
        if kind.oid() in found or len(values.children()) != 1:
            raise NotDer
        found[kind.oid()] = values.children()[0]
    return found


def _check_info(token: _Token, text: bytes) -> datetime:
    """The token's time, once it is clear that it is over `text`."""
    _, _, imprint, _, moment, *_ = parse(token.info).expect(INTEGER, OID, SEQUENCE, INTEGER, TIME)
    algorithm, digest = imprint.expect(SEQUENCE, OCTETS)[:2]
    name, _ = _hash(algorithm.expect(OID)[0].oid())
    if not hmac.compare_digest(hashlib.new(name, text).digest(), digest.content):
        raise _invalid("messageImprint")
    kind, own = token.attributes.get(_CONTENT_TYPE), token.attributes.get(_MESSAGE_DIGEST)
    name, _ = _hash(token.digest_oid)
    if kind is None or kind.oid() != _TST_INFO or own is None:
        raise NotDer
    if not hmac.compare_digest(hashlib.new(name, token.info).digest(), own.content):
        raise _invalid("messageDigest")
    try:
        written = moment.content.decode("ascii")
        if not written.endswith("Z"):  # RFC 3161: UTC, written so
            raise NotDer
        return datetime.strptime(written[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise NotDer from None


def _certificate(token: _Token) -> x509.Certificate:
    """The authority's certificate: whom the signer names, and whose digest it signed."""
    for certificate in token.certificates:
        if _is_named(token.signer, certificate) and _is_vouched(token.attributes, certificate):
            return certificate
    raise _invalid("certificate")


def _is_named(signer: Node, certificate: x509.Certificate) -> bool:
    if signer.tag == _KEY_IDENTIFIER:
        identifier = extension_of(certificate, x509.SubjectKeyIdentifier)
        return identifier is not None and identifier.digest == signer.content
    issuer, serial = signer.expect(SEQUENCE, INTEGER)[:2]
    number = int.from_bytes(serial.content, "big")
    return issuer.whole == certificate.issuer.public_bytes() and number == certificate.serial_number


def _is_vouched(attributes: dict[str, Node], certificate: x509.Certificate) -> bool:
    for kind in (_ESS_CERTIFICATE_V2, _ESS_CERTIFICATE):
        if kind not in attributes:
            continue
        first = attributes[kind].expect(SEQUENCE)[0].expect(SEQUENCE)[0].children()
        name = "sha256" if kind == _ESS_CERTIFICATE_V2 else "sha1"  # SHA-1 only points here, it proves nothing
        if first and first[0].tag == SEQUENCE:
            name, _ = _hash(first.pop(0).expect(OID)[0].oid())
        digest = hashlib.new(name, der_of(certificate), usedforsecurity=name != "sha1").digest()
        return bool(first) and first[0].content == digest
    return False


def _check_signature(token: _Token, certificate: x509.Certificate) -> None:
    if token.signature_oid not in _SIGNATURE_HASHES:
        raise _invalid(token.signature_oid)
    _, algorithm = _hash(_SIGNATURE_HASHES[token.signature_oid] or token.digest_oid)
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            key.verify(token.signature, token.signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(token.signature, token.signed, ec.ECDSA(algorithm))
        else:
            raise _invalid("key")
    except InvalidSignature:
        raise _invalid("signature") from None


def _hash(oid: str) -> tuple[str, hashes.HashAlgorithm]:
    if oid not in _HASHES:
        raise _invalid(oid)
    return _HASHES[oid]


def _invalid(detail: str) -> CheckRefusal:
    return CheckRefusal(Verdict.TIME_STAMP_INVALID, detail)
