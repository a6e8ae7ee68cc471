"""Certificates judged for one moment: which one signed, and whether a path leads from it to a trust anchor.

The checks are RFC 5280's as far as signing certificates need them, written here and not taken from
`cryptography.x509.verification`, which judges servers and clients of the web and gives one kind of refusal: an operator
needs to know whether a certificate is expired, for another use or from nowhere.  What is not computed (name
constraints, unknown critical extensions) breaks the chain and says so; nothing is passed over that a CA marked
critical.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID

from edxml.sign.names import name_text
from edxml.sign.verdicts import CheckRefusal, Verdict

__all__ = [
    "check_key",
    "check_use",
    "der_of",
    "extension_of",
    "find_path",
    "key_der",
    "load_certificates",
    "own_certificate",
    "validity_problem",
]

_LARGEST: Final = 64 * 1024  # bytes of one certificate
_LONGEST: Final = 8  # certificates from signer to anchor
_MOST_TRIED: Final = 64  # signatures checked while a path is looked for
_KNOWN_CRITICAL: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.OCSP_NO_CHECK,
    }
)
_CA_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # what the library will refuse, where warnings are errors
)
_STRONG: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def load_certificates(ders: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates of a KeyInfo. Raises CheckRefusal where one cannot be read."""
    if any(len(der) > _LARGEST for der in ders):
        raise CheckRefusal(Verdict.NOT_CHECKED, "certificate too large")
    try:
        return tuple(map(_load, ders))
    except _UNREADABLE:
        raise CheckRefusal(Verdict.CERTIFICATE_UNREADABLE) from None


@lru_cache(maxsize=128)
def _load(der: bytes) -> x509.Certificate:
    """The certificate, with all that is read late read once: what fails must fail here. Senders use few, again and
    again, so they are kept."""
    certificate = x509.load_der_x509_certificate(der)
    if certificate.serial_number <= 0:  # RFC 5280 4.1.2.2; the library only warns as yet
        raise ValueError("serial number")
    _ = (certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer)
    return certificate


def check_key(public_key: object, *, smallest_rsa: int, curves: frozenset[str]) -> None:
    """Raises CheckRefusal (WEAK_KEY) for a key that is too small or on a curve that is not taken."""
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size < smallest_rsa:
        raise CheckRefusal(Verdict.WEAK_KEY, f"RSA {public_key.key_size}")
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name not in curves:
        raise CheckRefusal(Verdict.WEAK_KEY, public_key.curve.name)


def check_use(certificate: x509.Certificate, uses: frozenset[x509.ObjectIdentifier]) -> None:
    """Raises CheckRefusal (CERTIFICATE_WRONG_USE) for a certificate that was not issued for signing documents."""
    constraints = extension_of(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise CheckRefusal(Verdict.CERTIFICATE_WRONG_USE, "CA")
    usage = extension_of(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CheckRefusal(Verdict.CERTIFICATE_WRONG_USE, "KeyUsage")
    extended = extension_of(certificate, x509.ExtendedKeyUsage)
    if extended is not None and not uses & set(extended):
        raise CheckRefusal(Verdict.CERTIFICATE_WRONG_USE, ", ".join(one.dotted_string for one in extended))


def validity_problem(certificate: x509.Certificate, at: datetime) -> CheckRefusal | None:
    """Why the certificate is not valid at that moment, if it is not."""
    if at < certificate.not_valid_before_utc:
        return CheckRefusal(
            Verdict.CERTIFICATE_NOT_YET_VALID, f"{_name(certificate)}: {certificate.not_valid_before_utc:%Y-%m-%d}"
        )
    if at > certificate.not_valid_after_utc:
        return CheckRefusal(
            Verdict.CERTIFICATE_EXPIRED, f"{_name(certificate)}: {certificate.not_valid_after_utc:%Y-%m-%d}"
        )
    return None


def find_path(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
) -> tuple[x509.Certificate, ...]:
    """The certificates from the signer's to an anchor, each valid at `at`.

    Raises CheckRefusal with the verdict that says most: of all paths, the problem of the one that came furthest.
    """
    problems: list[CheckRefusal] = []
    budget = [_MOST_TRIED]
    for path in _paths((certificate,), others, anchors, problems, budget):
        problem = _path_problem(path, at)
        if problem is None:
            return path
        problems.insert(0, problem)
    if problems:
        raise problems[0]
    if certificate.subject == certificate.issuer:
        raise CheckRefusal(Verdict.CERTIFICATE_SELF_SIGNED, _name(certificate))
    raise CheckRefusal(Verdict.CHAIN_BROKEN, name_text(certificate.issuer))


def _paths(
    path: tuple[x509.Certificate, ...],
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    problems: list[CheckRefusal],
    budget: list[int],
) -> Iterator[tuple[x509.Certificate, ...]]:
    """Every path that ends at an anchor; why the others do not is added to `problems`."""
    last = path[-1]
    if last in anchors:
        yield path
        return
    if len(path) >= _LONGEST:
        return
    is_root = last.subject == last.issuer
    if is_root and len(path) > 1:
        problems.append(CheckRefusal(Verdict.NOT_TRUSTED, _name(last)))
        return
    found = False
    for issuer in (*anchors, *others):
        if issuer.subject != last.issuer or issuer in path:
            continue
        found = True
        if budget[0] <= 0:
            problems.append(CheckRefusal(Verdict.NOT_CHECKED, "too many possible issuers"))
            return
        budget[0] -= 1
        problem = _issue_problem(last, issuer)
        if problem is not None:
            problems.append(problem)
            continue
        yield from _paths((*path, issuer), others, anchors, problems, budget)
    if not found and not is_root:
        problems.append(CheckRefusal(Verdict.CHAIN_BROKEN, name_text(last.issuer)))


def _issue_problem(certificate: x509.Certificate, issuer: x509.Certificate) -> CheckRefusal | None:
    """Why `issuer` did not issue the certificate, or may not have: whoever holds a signing certificate could try."""
    constraints = extension_of(issuer, x509.BasicConstraints)
    usage = extension_of(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        return CheckRefusal(Verdict.CHAIN_BROKEN, f"{_name(issuer)}: no CA")
    try:
        algorithm = certificate.signature_hash_algorithm
        if not isinstance(algorithm, _STRONG):
            return CheckRefusal(Verdict.WEAK_ALGORITHM, f"{_name(certificate)}: {algorithm.name if algorithm else '?'}")
    except UnsupportedAlgorithm:
        return CheckRefusal(Verdict.CHAIN_BROKEN, _name(certificate))
    return None if _is_issued_by(certificate, issuer) else CheckRefusal(Verdict.CHAIN_BROKEN, _name(certificate))


@lru_cache(maxsize=256)
def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key are on it: a fact about two values, so computed once."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _path_problem(path: tuple[x509.Certificate, ...], at: datetime) -> CheckRefusal | None:
    for depth, certificate in enumerate(path):
        if problem := validity_problem(certificate, at):
            return problem
        for extension in certificate.extensions:
            is_passed_over = extension.oid in _KNOWN_CRITICAL or not extension.critical
            if not is_passed_over or extension.oid == ExtensionOID.NAME_CONSTRAINTS:  # a CA may forget to mark these
                return CheckRefusal(Verdict.CHAIN_BROKEN, f"{_name(certificate)}: {extension.oid.dotted_string}")
        constraints = extension_of(certificate, x509.BasicConstraints)
        limit = constraints.path_length if constraints is not None and depth else None
        below = sum(one.subject != one.issuer for one in path[1:depth])  # the signer's own is not counted
        if limit is not None and below > limit:
            return CheckRefusal(Verdict.CHAIN_BROKEN, f"{_name(certificate)}: pathLen {limit}")
        if depth:
            try:
                check_key(certificate.public_key(), smallest_rsa=2048, curves=_CA_CURVES)
            except CheckRefusal as refusal:
                return refusal
    return None


def own_certificate(certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """The signer's certificate among those of a KeyInfo, in any order: the one that issued none of the others."""
    issuers = {one.issuer for one in certificates if one.subject != one.issuer}
    return next((one for one in certificates if one.subject not in issuers), certificates[0])


def der_of(certificate: x509.Certificate) -> bytes:
    """The certificate's DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def key_der(public_key: Any) -> bytes:
    """A public key's DER (SubjectPublicKeyInfo)."""
    der: bytes = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def extension_of(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """The certificate's extension of that kind, if it has one."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    return name_text(certificate.subject)
