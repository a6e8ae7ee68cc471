"""Revocation looked up in lists (CRL) and answers (OCSP) that were fetched before: no network, no waiting.

Whatever does not bind is not believed: a list or answer that the issuer (or for OCSP its delegate) did not sign, or
that does not cover the moment asked about.  Then nothing is known, and that is what is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from edxml.sign.certificates import extension_of, validity_problem
from edxml.sign.verdicts import Revocation, Standing

__all__ = ["CachedRevocations"]

_KNOWN_CRITICAL: Final = frozenset({ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER})
_STRONG: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRevocations:
    """Lists and answers at hand. Those that do not bind are passed over, so a cache may hold anybody's."""

    lists: tuple[x509.CertificateRevocationList, ...] = ()
    answers: tuple[ocsp.OCSPResponse, ...] = ()

    @staticmethod
    def load(*, lists: Iterable[bytes] = (), answers: Iterable[bytes] = ()) -> CachedRevocations:
        """From the bytes of CRLs (DER or PEM) and OCSP responses (DER). Raises ValueError for what is neither."""
        return CachedRevocations(
            lists=tuple(map(_load_list, lists)), answers=tuple(map(ocsp.load_der_ocsp_response, answers))
        )

    def look_up(self, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> Revocation:
        """What is known of `certificate` for the moment `at`; a revocation found anywhere outweighs all else."""
        found = [
            *(_by_answer(answer, certificate, issuer, at) for answer in self.answers),
            *(_by_list(one, certificate, issuer, at) for one in self.lists),
        ]
        known = [one for one in found if one is not None]
        for standing in (Standing.REVOKED, Standing.GOOD):
            for one in known:
                if one.standing is standing:
                    return one
        return known[0] if known else Revocation(standing=Standing.UNKNOWN, evidence="no crl, no ocsp")


def _load_list(data: bytes) -> x509.CertificateRevocationList:
    if data.lstrip().startswith(b"-----BEGIN"):
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)


def _by_list(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> Revocation | None:
    """What a list says; None where it is not the issuer's."""
    try:
        if crl.issuer != issuer.subject or not isinstance(crl.signature_hash_algorithm, _STRONG):
            return None
        usage = extension_of(issuer, x509.KeyUsage)
        public_key = issuer.public_key()
        if usage is not None and not usage.crl_sign:
            return None
        if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            return None
        if not crl.is_signature_valid(public_key):
            return None
        if any(one.critical and one.oid not in _KNOWN_CRITICAL for one in crl.extensions):
            return Revocation(standing=Standing.UNKNOWN, evidence="crl: partial")  # delta or indirect: not computed
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    evidence = f"crl {crl.last_update_utc:%Y-%m-%dT%H:%M:%SZ}"
    if entry is not None and entry.revocation_date_utc <= at:
        return Revocation(
            standing=Standing.REVOKED, since=entry.revocation_date_utc, evidence=evidence, reason=_reason(entry)
        )
    if crl.next_update_utc is None or crl.next_update_utc < at:
        return Revocation(standing=Standing.UNKNOWN, evidence=f"{evidence}: too old")
    if certificate.not_valid_after_utc < crl.last_update_utc:  # lists forget certificates that have expired
        return Revocation(standing=Standing.UNKNOWN, evidence=f"{evidence}: after expiry")
    return Revocation(standing=Standing.GOOD, evidence=evidence)


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except (x509.ExtensionNotFound, ValueError):
        return ""


def _by_answer(
    answer: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> Revocation | None:
    """What an answer says; None where it is about another certificate or by nobody who may say."""
    try:
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL or not _is_about(
            answer, certificate, issuer
        ):
            return None
        if not _is_signed(answer, issuer):
            return None
        status, since = answer.certificate_status, answer.revocation_time_utc
        this_update, next_update = answer.this_update_utc, answer.next_update_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return None
    evidence = f"ocsp {this_update:%Y-%m-%dT%H:%M:%SZ}"
    if status is ocsp.OCSPCertStatus.REVOKED and since is not None and since <= at:
        reason = answer.revocation_reason
        return Revocation(
            standing=Standing.REVOKED, since=since, evidence=evidence, reason=reason.value if reason else ""
        )
    if status is ocsp.OCSPCertStatus.UNKNOWN:
        return Revocation(standing=Standing.UNKNOWN, evidence=evidence)
    if (next_update or this_update) < at:
        return Revocation(standing=Standing.UNKNOWN, evidence=f"{evidence}: too old")
    if certificate.not_valid_after_utc < this_update:  # as lists do, responders forget (RFC 6960 4.4.4)
        return Revocation(standing=Standing.UNKNOWN, evidence=f"{evidence}: after expiry")
    return Revocation(standing=Standing.GOOD, evidence=evidence)


def _is_about(answer: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, answer.hash_algorithm).build()
    return (answer.serial_number, answer.issuer_name_hash, answer.issuer_key_hash) == (
        request.serial_number,
        request.issuer_name_hash,
        request.issuer_key_hash,
    )


def _is_signed(answer: ocsp.OCSPResponse, issuer: x509.Certificate) -> bool:
    """By the issuer itself, or by whom it gave a certificate for just that (RFC 6960, 4.2.2.2).

    The delegate's certificate is judged for the moment of the answer, not for the one that is asked about: authorities
    give their responders new ones every few weeks, and a revocation that is told later still happened then.
    """
    return any(
        (responder == issuer or _is_delegate(responder, issuer, answer.produced_at_utc))
        and _verifies(responder.public_key(), answer)
        for responder in (issuer, *answer.certificates)
    )


def _is_delegate(responder: x509.Certificate, issuer: x509.Certificate, at: datetime) -> bool:
    uses = extension_of(responder, x509.ExtendedKeyUsage)
    usage = extension_of(responder, x509.KeyUsage)
    if uses is None or ExtendedKeyUsageOID.OCSP_SIGNING not in uses or validity_problem(responder, at):
        return False
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return False
    try:
        if not isinstance(responder.signature_hash_algorithm, _STRONG):
            return False
        responder.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verifies(key: object, answer: ocsp.OCSPResponse) -> bool:
    algorithm = answer.signature_hash_algorithm
    if not isinstance(algorithm, _STRONG):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True
