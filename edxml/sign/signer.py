"""Who signs: a key that is loaded once, with its certificates. A token or HSM fits by the same three members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from edxml.errors import EdxmlError
from edxml.messages import Language, text
from edxml.sign.algorithms import SignatureAlgorithm, fits_key, make_signature
from edxml.sign.names import name_text

__all__ = [
    "KeySigner",
    "Signer",
    "SigningKeyInvalid",
    "default_algorithm",
    "issuers_of",
    "load_pem_signer",
    "load_pkcs12_signer",
    "read_certificates",
]

_SMALLEST_RSA: Final = 2048
_DEFAULTS: Final = {
    "secp256r1": SignatureAlgorithm.ECDSA_SHA256,
    "secp384r1": SignatureAlgorithm.ECDSA_SHA384,
    "secp521r1": SignatureAlgorithm.ECDSA_SHA512,
}


class SigningKeyInvalid(EdxmlError):
    """A key or certificate cannot be used to sign; `reason` is one of a closed list with a text each.

    `detail` are the parameters of that text: which token, key, file or driver.
    """

    code = "edxml.signing_key_invalid"

    def __init__(self, reason: str, **detail: object) -> None:
        self.reason = f"signing.{reason}"
        self.detail = detail
        super().__init__(reason=text(self.reason, Language.EN, detail))

    def text(self, language: Language) -> str:
        """What is wrong with the key and what to do, in `language`."""
        return text(self.code, language, {"reason": text(self.reason, language, self.detail)})


class Signer(Protocol):
    """Makes signature values.  Implemented here by a key in memory; a PKCS#11 token needs no more than this."""

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """What `sign` computes."""

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The signer's own certificate first, then those of its issuers, as far as they shall travel along."""

    def sign(self, data: bytes) -> bytes:
        """The signature value over `data`, as XML-DSig writes it (ECDSA: both numbers, big-endian, at full length)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySigner:
    """A private key in memory with its certificates. Make it once: loading costs more than a hundred signatures."""

    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificates: tuple[x509.Certificate, ...]
    algorithm: SignatureAlgorithm

    def sign(self, data: bytes) -> bytes:
        """The signature value over `data`."""
        return make_signature(self.algorithm, self.private_key, data)

    def __repr__(self) -> str:
        return f"KeySigner({name_text(self.certificates[0].subject)!r}, {self.algorithm.name})"


def load_pem_signer(
    key: bytes,
    certificates: bytes,
    *,
    password: bytes | None = None,
    algorithm: SignatureAlgorithm | None = None,
) -> KeySigner:
    """The signer of a private key (PEM, PKCS#8 or traditional) and its certificates (PEM, in any order).

    Without `algorithm` it follows from the key: RSA with SHA-256, ECDSA with the hash of the curve's size.
    Raises SigningKeyInvalid.
    """
    try:
        private_key = serialization.load_pem_private_key(key, password=password)
    except (ValueError, TypeError):
        raise SigningKeyInvalid("key_unreadable") from None
    return _make_signer(private_key, read_certificates(certificates), algorithm)


def load_pkcs12_signer(
    data: bytes, *, password: bytes | None = None, algorithm: SignatureAlgorithm | None = None
) -> KeySigner:
    """The signer of a PKCS#12 file (.p12, .pfx). Raises SigningKeyInvalid."""
    try:
        private_key, certificate, others = pkcs12.load_key_and_certificates(data, password)
    except (ValueError, TypeError):
        raise SigningKeyInvalid("key_unreadable") from None
    if private_key is None:
        raise SigningKeyInvalid("key_unreadable")
    return _make_signer(private_key, [*([certificate] if certificate else []), *others], algorithm)


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM text. Raises SigningKeyInvalid where there is none."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise SigningKeyInvalid("certificate_unreadable") from None


def default_algorithm(public_key: object) -> SignatureAlgorithm:
    """What a key signs with unless told otherwise. Raises SigningKeyInvalid for kinds and sizes that are not used."""
    if isinstance(public_key, rsa.RSAPublicKey):
        if public_key.key_size < _SMALLEST_RSA:
            raise SigningKeyInvalid("key_too_small")
        return SignatureAlgorithm.RSA_SHA256
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _DEFAULTS:
        return _DEFAULTS[public_key.curve.name]
    raise SigningKeyInvalid("key_kind")


def _make_signer(
    private_key: object, certificates: Sequence[x509.Certificate], algorithm: SignatureAlgorithm | None
) -> KeySigner:
    if not isinstance(private_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SigningKeyInvalid("key_kind")
    public_key = private_key.public_key()
    default = default_algorithm(public_key)
    if not fits_key(algorithm or default, public_key):
        raise SigningKeyInvalid("algorithm_of_other_key")
    own = next((one for one in certificates if one.public_key() == public_key), None)
    if own is None:
        raise SigningKeyInvalid("certificate_of_other_key")
    return KeySigner(
        private_key=private_key,
        certificates=(own, *issuers_of(own, certificates)),
        algorithm=algorithm or default,
    )


def issuers_of(own: x509.Certificate, certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The issuers in order, without a self-signed root: who trusts it has it, who does not must not learn it here."""
    chain: list[x509.Certificate] = []
    current = own
    while len(chain) < len(certificates):
        issuer = next((one for one in certificates if one.subject == current.issuer and one != current), None)
        if issuer is None or issuer.subject == issuer.issuer or issuer in chain:
            break
        chain.append(issuer)
        current = issuer
    return chain
