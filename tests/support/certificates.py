"""Authorities and certificates for tests: a CA of our own that issues what real ones do, and what they never should."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edxml.sign import KeySigner, SignatureAlgorithm

__all__ = ["NOW", "Authority", "Issued", "key_usage", "name", "new_key"]

NOW = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
"""The moment at which tests judge: certificates here are valid a year around it."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def new_key(kind: str = "ec") -> PrivateKey:
    """A fresh key: "ec", "ec384", "ec521", "rsa" (2048), "rsa1024"."""
    curves: dict[str, ec.EllipticCurve] = {"ec": ec.SECP256R1(), "ec384": ec.SECP384R1(), "ec521": ec.SECP521R1()}
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    return _rsa_key(int(kind.removeprefix("rsa") or 2048))


@cache
def _rsa_key(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def name(common_name: str) -> x509.Name:
    """A distinguished name."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def key_usage(*uses: str) -> x509.KeyUsage:
    """A KeyUsage with just these bits."""
    known = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: use in uses for use in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with its key and the authorities above it (nearest first)."""

    key: PrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()

    @property
    def key_pem(self) -> bytes:
        """PKCS#8, without a password."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def certificate_pem(self) -> bytes:
        """PEM of the certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """PEM of the certificate and those above."""
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (self.certificate, *self.above))

    def signer(self, algorithm: SignatureAlgorithm | None = None, *, chain: bool = True) -> KeySigner:
        """A signer with this key, without any of the checks that loading one makes."""
        default = (
            SignatureAlgorithm.RSA_SHA256
            if isinstance(self.key, rsa.RSAPrivateKey)
            else SignatureAlgorithm.ECDSA_SHA256
        )
        between = tuple(one for one in self.above if one.subject != one.issuer) if chain else ()
        return KeySigner(
            private_key=self.key, certificates=(self.certificate, *between), algorithm=algorithm or default
        )


class Authority:
    """A certification authority: a root of its own, or below another."""

    def __init__(self, common_name: str = "Test root", *, parent: Authority | None = None, **options: Any) -> None:
        options.setdefault("ca", True)
        options.setdefault("usage", key_usage("key_cert_sign", "crl_sign"))
        options.setdefault("days", (3650, 3650))
        self.common_name = common_name
        if parent is None:
            self.issued = _issue(common_name, None, options)
        else:
            self.issued = parent.issue(common_name, **options)

    @property
    def certificate(self) -> x509.Certificate:
        """Its own certificate."""
        return self.issued.certificate

    def issue(self, common_name: str = "UBND xã Thử Nghiệm", **options: Any) -> Issued:
        """A certificate; options: kind, key, days (before, after NOW), ca, path_length, usage, uses, critical, hash."""
        return _issue(common_name, self.issued, options)

    def crl(
        self,
        revoked: Iterable[tuple[x509.Certificate, datetime]] = (),
        *,
        at: datetime = NOW,
        days: int = 7,
        key: PrivateKey | None = None,
    ) -> bytes:
        """Its list of revoked certificates (DER), as of `at`, for so many days."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at)
            .next_update(at + timedelta(days=days))
        )
        for certificate, since in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(since)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key or self.issued.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def ocsp(
        self,
        certificate: x509.Certificate,
        *,
        revoked_at: datetime | None = None,
        at: datetime = NOW,
        hours: int = 24,
        responder: Issued | None = None,
    ) -> bytes:
        """Its answer about a certificate (DER), signed by itself or by `responder`."""
        who = responder or self.issued
        status = ocsp.OCSPCertStatus.REVOKED if revoked_at else ocsp.OCSPCertStatus.GOOD
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=certificate,
                issuer=self.certificate,
                algorithm=hashes.SHA256(),
                cert_status=status,
                this_update=at,
                next_update=at + timedelta(hours=hours),
                revocation_time=revoked_at,
                revocation_reason=x509.ReasonFlags.key_compromise if revoked_at else None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, who.certificate)
            .certificates([who.certificate])
        )
        return builder.sign(who.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _issue(common_name: str, issuer: Issued | None, options: dict[str, Any]) -> Issued:
    key: PrivateKey = options.get("key") or new_key(options.get("kind", "ec"))
    before, after = options.get("days", (365, 365))
    subject = name(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=before))
        .not_valid_after(NOW + timedelta(days=after))
    )
    is_ca = options.get("ca", False)
    path_length = options.get("path_length") if is_ca else None
    usage = options.get("usage", key_usage("digital_signature", "content_commitment"))
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_ca, path_length=path_length), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    if usage is not None:
        extensions.append((usage, True))
    uses: Sequence[x509.ObjectIdentifier] = options.get(
        "uses", () if is_ca else (ExtendedKeyUsageOID.EMAIL_PROTECTION,)
    )
    if uses:
        extensions.append((x509.ExtendedKeyUsage(uses), options.get("uses_critical", False)))
    if options.get("critical"):
        extensions.append((x509.UnrecognizedExtension(x509.ObjectIdentifier(options["critical"]), b"\x05\x00"), True))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(issuer.key if issuer else key, options.get("hash", hashes.SHA256()))
    above = (issuer.certificate, *issuer.above) if issuer else ()
    return Issued(key=key, certificate=certificate, above=above)
