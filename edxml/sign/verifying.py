"""Checking a packet's signature: what was signed, by whom, and whether a policy believes it.

The order is that of growing trust: can it be read, is there one signature at a place where it may stand, is it built
as it must be, with algorithms that hold, by a certificate; then the arithmetic over what it refers to; and only then
who the certificate is.  The first that fails is the verdict.  Nothing that the bytes are raises.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edxml._mime import is_multipart, take_opening
from edxml._notes import Notes
from edxml._soap import Message
from edxml._xml import Element
from edxml.findings import Refusal
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits
from edxml.sign._arithmetic import check_arithmetic
from edxml.sign._references import (
    canonicalization_of,
    check_coverage,
    digest_algorithm_of,
    resolve_references,
    signed_files,
)
from edxml.sign._skeleton import Skeleton, read_skeleton
from edxml.sign._structure import (
    DSIG,
    ENCODED_KEY,
    PROPERTIES_TYPE,
    SignatureParts,
    XadesParts,
    locate,
    take_apart,
)
from edxml.sign.algorithms import WEAK_URIS, SignatureAlgorithm, fits_key, new_hash
from edxml.sign.certificates import check_key, der_of, key_der, load_certificates, own_certificate
from edxml.sign.judging import check_certificate
from edxml.sign.policy import Policy
from edxml.sign.time_stamps import check_time_stamp
from edxml.sign.verdicts import CheckRefusal, Form, SignedPart, Verdict, Verification

__all__ = ["verify_packet"]

_DS: Final = "{" + DSIG + "}"
_DS11: Final = "{http://www.w3.org/2009/xmldsig11#}"
_METHODS: Final = {str(algorithm): algorithm for algorithm in SignatureAlgorithm}
_TOO_LARGE: Final = frozenset(
    {
        "edxml.packet_too_large",
        "edxml.header_too_large",
        "edxml.markup_too_long",
        "edxml.too_many_elements",
        "edxml.too_many_attributes",
        "edxml.too_many_names",
        "edxml.too_many_attachments",
        "edxml.text_too_long",
        "edxml.encoding_unsupported",
    }
)
"""Reasons not to read a packet that say nothing about its signature."""


def verify_packet(
    stream: BinaryIO,
    *,
    policy: Policy,
    at: datetime | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Verification:
    """What the signature of the packet in `stream` (which must be able to seek) proves under `policy`.

    `at` (aware) is the moment by which the signature is known to have existed: when the packet came, as its seal says;
    now where None.  Certificates are judged for that moment, or for that of a trusted time stamp, which may be
    earlier.  What the signer claims about the time moves nothing: a stolen key could claim any.
    """
    at = at or datetime.now(UTC)
    evidence: dict[str, Any] = {"policy": policy.name, "judged_at": at}
    try:
        packet = _readable(stream, limits)
        evidence |= {"wire_digest": packet.wire_digest, "size": packet.size}
        _check(packet, policy, at, evidence)
    except CheckRefusal as refusal:
        return Verification(verdict=refusal.verdict, detail=refusal.detail, finding=refusal.finding, **evidence)
    return Verification(verdict=Verdict.VALID, **evidence)


def _readable(stream: BinaryIO, limits: Limits) -> Skeleton:
    try:
        stream.seek(0)
        if is_multipart(take_opening(iter(lambda: stream.read(PIECE), b""))):
            raise CheckRefusal(*_look_into_message(stream, limits))
        return read_skeleton(stream, limits)
    except Refusal as refusal:
        finding = refusal.finding
        verdict = Verdict.NOT_CHECKED if finding.code in _TOO_LARGE else Verdict.UNREADABLE
        raise CheckRefusal(verdict, finding.code, finding) from None


def _look_into_message(stream: BinaryIO, limits: Limits) -> tuple[Verdict, str]:
    """What is said of a packet of dialect D: whether there is a signature, not what it is worth. Raises Refusal."""
    message = Message(limits=limits, sink=None, notes=Notes(limits))
    stream.seek(0)
    while piece := stream.read(PIECE):
        message.feed(piece)
    is_signed = any(True for _ in message.close().iter("{*}Signature"))
    return (Verdict.NOT_CHECKED, "SOAP, MIME") if is_signed else (Verdict.ABSENT, "")


def _check(packet: Skeleton, policy: Policy, at: datetime, evidence: dict[str, Any]) -> None:
    """Every check in order; what is found goes into `evidence`. Raises CheckRefusal at the first that fails."""
    parts = take_apart(locate(packet.root))
    if any(one is parts.element for content in packet.contents for one in content.iterancestors()):
        raise CheckRefusal(Verdict.MALFORMED, "ContentTransferEncoded")  # an attachment that nobody signed
    xades = parts.xades
    evidence["form"] = Form.PLAIN if xades is None else Form.T if xades.time_stamps else Form.BES
    algorithm = _algorithm(parts, policy)
    certificates = _certificates(parts)
    certificate = _signer(certificates, parts, policy)
    evidence["certificate"] = certificate
    _check_key(certificate, parts, algorithm, policy)
    form = canonicalization_of(parts.canonicalization.uri, policy, Verdict.ALGORITHM_NOT_ALLOWED)
    packet.check_computable(parts.info, form, parts.canonicalization.prefixes)
    value_forms = _stamped_texts(packet, parts, policy)
    signed = resolve_references(parts, packet, policy)
    check_arithmetic(parts, packet, certificate)
    evidence |= {"signed": signed, "files": signed_files(signed, packet)}
    evidence["covers_whole"] = check_coverage(signed, packet, policy)
    if xades is not None:
        _check_properties_signed(parts, xades, signed)
        evidence["signing_time"] = xades.signing_time
    judged_at = _judged_at(value_forms, xades, policy, at, evidence)
    evidence["judged_at"] = judged_at
    check_certificate(certificate, certificates, policy, judged_at, evidence)


def _algorithm(parts: SignatureParts, policy: Policy) -> SignatureAlgorithm:
    """The signature's algorithm; digests are looked at too, so that SHA-1 is named before anything is computed."""
    algorithm = _METHODS.get(parts.method_uri)
    if algorithm is None or algorithm not in policy.signature_algorithms:
        is_weak = parts.method_uri in WEAK_URIS
        raise CheckRefusal(Verdict.WEAK_ALGORITHM if is_weak else Verdict.ALGORITHM_NOT_ALLOWED, parts.method_uri)
    for reference in parts.references:
        digest_algorithm_of(reference.digest_uri, policy)
    return algorithm


def _certificates(parts: SignatureParts) -> tuple[x509.Certificate, ...]:
    if not parts.certificates:
        raise CheckRefusal(Verdict.NO_CERTIFICATE, "KeyValue" if parts.key_values else "")
    return load_certificates(parts.certificates)


def _signer(certificates: tuple[x509.Certificate, ...], parts: SignatureParts, policy: Policy) -> x509.Certificate:
    """The signer's certificate: with XAdES the one whose digest the signature names, else the end of the chain."""
    if parts.xades is None or not parts.xades.certificate_digests:
        if policy.requires_xades:
            raise CheckRefusal(Verdict.INCOMPLETE, "SigningCertificate")
        return own_certificate(certificates)
    named = parts.xades.certificate_digests
    for certificate in certificates:
        if all(_is_digest_of(certificate, uri, digest, policy) for uri, digest in named):
            return certificate
    raise CheckRefusal(Verdict.CERTIFICATE_MISMATCH, "SigningCertificate")


def _is_digest_of(certificate: x509.Certificate, uri: str, digest: bytes, policy: Policy) -> bool:
    hashed = new_hash(digest_algorithm_of(uri, policy))
    hashed.update(der_of(certificate))
    return hmac.compare_digest(hashed.digest(), digest)


def _check_key(
    certificate: x509.Certificate, parts: SignatureParts, algorithm: SignatureAlgorithm, policy: Policy
) -> None:
    public_key = certificate.public_key()
    if not fits_key(algorithm, public_key):
        raise CheckRefusal(Verdict.KEY_MISMATCH, algorithm.name)
    check_key(public_key, smallest_rsa=policy.smallest_rsa, curves=policy.curves)
    for value in parts.key_values:
        if not _is_same_key(value, public_key):
            raise CheckRefusal(Verdict.CERTIFICATE_MISMATCH, "KeyValue")


def _is_same_key(element: Element, public_key: object) -> bool:
    """Whether a KeyValue beside a certificate is its key; another software might believe the KeyValue."""
    found = list(element)
    if element.tag == ENCODED_KEY:
        return not found and _bytes(element.text or "") == key_der(public_key)
    if len(found) != 1:
        return False
    texts = {str(one.tag).rpartition("}")[2]: "".join((one.text or "").split()) for one in found[0]}
    numbers = {name: _number(text) for name, text in texts.items() if name in ("Modulus", "Exponent", "PublicKey")}
    if isinstance(public_key, rsa.RSAPublicKey) and found[0].tag == _DS + "RSAKeyValue":
        own = public_key.public_numbers()
        return (numbers.get("Modulus"), numbers.get("Exponent")) == (own.n, own.e)
    if isinstance(public_key, ec.EllipticCurvePublicKey) and found[0].tag == _DS11 + "ECKeyValue":
        point = public_key.public_numbers()
        width = (public_key.curve.key_size + 7) // 8
        encoded = b"\x04" + point.x.to_bytes(width, "big") + point.y.to_bytes(width, "big")
        return numbers.get("PublicKey") == int.from_bytes(encoded, "big")
    return False


def _number(text: str) -> int | None:
    data = _bytes(text)
    return None if data is None else int.from_bytes(data, "big")


def _bytes(text: str) -> bytes | None:
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None


def _check_properties_signed(parts: SignatureParts, xades: XadesParts, signed: tuple[SignedPart, ...]) -> None:
    """XAdES says something only if its properties are under the signature, and named as such (TS 101 903, 6.3.1)."""
    uri = f"#{xades.properties.get('Id')}"
    named = {reference.uri for reference in parts.references if reference.type == PROPERTIES_TYPE}
    if named != {uri} or not any(part.is_own and part.uri == uri for part in signed):
        raise CheckRefusal(Verdict.INCOMPLETE, "SignedProperties")


def _stamped_texts(packet: Skeleton, parts: SignatureParts, policy: Policy) -> list[tuple[bytes, bytes]]:
    """(what each time stamp is over, its token)."""
    texts = []
    for step, token in parts.xades.time_stamps if parts.xades else ():
        uri = step.uri if step else "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
        form = canonicalization_of(uri, policy, Verdict.ALGORITHM_NOT_ALLOWED)
        texts.append((packet.canonical(parts.value_element, form, prefixes=step.prefixes if step else ()), token))
    return texts


def _judged_at(
    stamped: list[tuple[bytes, bytes]],
    xades: XadesParts | None,
    policy: Policy,
    at: datetime,
    evidence: dict[str, Any],
) -> datetime:
    """The earliest moment at which the signature is proved to have existed."""
    moments = [at]
    if policy.time_stamp_anchors:
        for text, token in stamped:
            moment = check_time_stamp(token, text, policy.time_stamp_anchors, revocations=policy.asked, at=at)
            evidence["stamped_at"] = min(moment, evidence.get("stamped_at") or moment)
            moments.append(moment)
    judged = min(moments)
    if xades is not None and xades.signing_time is not None and xades.signing_time > judged + policy.clock_skew:
        raise CheckRefusal(Verdict.SIGNED_IN_FUTURE, xades.signing_time.isoformat())
    return judged
