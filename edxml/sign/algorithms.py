"""Algorithms of signatures as closed lists of their URIs, and the arithmetic behind them.

What is not listed here does not exist for us: no HMAC (a shared secret proves nothing about who signed, and a public
key passed off as one is an old trick), no DSA, no transforms.  SHA-1 and MD5 are known by name only, to be refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

__all__ = [
    "WEAK_URIS",
    "Canonicalization",
    "DigestAlgorithm",
    "SignatureAlgorithm",
    "fits_key",
    "is_right_signature",
    "make_signature",
    "new_hash",
]

_DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_MORE_2007: Final = "http://www.w3.org/2007/05/xmldsig-more#"


class SignatureAlgorithm(StrEnum):
    """How the signature value is computed (RFC 6931). The value is the URI."""

    RSA_SHA256 = _MORE + "rsa-sha256"
    RSA_SHA384 = _MORE + "rsa-sha384"
    RSA_SHA512 = _MORE + "rsa-sha512"
    RSA_PSS_SHA256 = _MORE_2007 + "sha256-rsa-MGF1"
    RSA_PSS_SHA384 = _MORE_2007 + "sha384-rsa-MGF1"
    RSA_PSS_SHA512 = _MORE_2007 + "sha512-rsa-MGF1"
    ECDSA_SHA256 = _MORE + "ecdsa-sha256"
    ECDSA_SHA384 = _MORE + "ecdsa-sha384"
    ECDSA_SHA512 = _MORE + "ecdsa-sha512"


class DigestAlgorithm(StrEnum):
    """How parts are digested. The value is the URI."""

    SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
    SHA384 = _MORE + "sha384"
    SHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"


class Canonicalization(StrEnum):
    """In which form XML is digested. The variants with comments are not taken: what nobody reads need not be signed."""

    C14N_10 = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
    C14N_11 = "http://www.w3.org/2006/12/xml-c14n11"
    EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"


WEAK_URIS: Final = frozenset(
    {
        _DSIG + "rsa-sha1",
        _DSIG + "dsa-sha1",
        _DSIG + "hmac-sha1",
        _DSIG + "sha1",
        _MORE + "ecdsa-sha1",
        _MORE + "rsa-md5",
        _MORE + "md5",
        _MORE + "hmac-md5",
        _MORE + "rsa-ripemd160",
        _MORE_2007 + "sha1-rsa-MGF1",
        _MORE_2007 + "rsa-pss",
    }
)
"""Algorithms that were broken: they get a verdict of their own, since so many old systems still use them."""

_HASHES: Final[dict[str, type[hashes.SHA256] | type[hashes.SHA384] | type[hashes.SHA512]]] = {
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}
_HASHLIB: Final[dict[DigestAlgorithm, Callable[[], Any]]] = {
    DigestAlgorithm.SHA256: hashlib.sha256,
    DigestAlgorithm.SHA384: hashlib.sha384,
    DigestAlgorithm.SHA512: hashlib.sha512,
}


def new_hash(algorithm: DigestAlgorithm) -> Any:
    """A fresh hashlib object."""
    return _HASHLIB[algorithm]()


def fits_key(algorithm: SignatureAlgorithm, public_key: object) -> bool:
    """Whether the key is of the kind that the algorithm works with."""
    kind = ec.EllipticCurvePublicKey if algorithm.name.startswith("ECDSA") else rsa.RSAPublicKey
    return isinstance(public_key, kind)


@cache
def _hash_of(algorithm: SignatureAlgorithm) -> hashes.HashAlgorithm:
    return _HASHES[algorithm.name.rpartition("_")[2]]()


@cache
def _padding_of(algorithm: SignatureAlgorithm) -> padding.AsymmetricPadding:
    if not algorithm.name.startswith("RSA_PSS"):
        return padding.PKCS1v15()
    digest = _hash_of(algorithm)
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)


@cache
def _ecdsa_of(algorithm: SignatureAlgorithm) -> ec.ECDSA:
    return ec.ECDSA(_hash_of(algorithm))


def make_signature(
    algorithm: SignatureAlgorithm, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, data: bytes
) -> bytes:
    """The signature value as XML-DSig writes it: for ECDSA both numbers at full length, not ASN.1."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _padding_of(algorithm), _hash_of(algorithm))
    r, s = decode_dss_signature(key.sign(data, _ecdsa_of(algorithm)))
    width = (key.curve.key_size + 7) // 8
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def is_right_signature(algorithm: SignatureAlgorithm, public_key: object, value: bytes, data: bytes) -> bool:
    """Whether `value` is the key's signature over `data`. False also where the key is of another kind."""
    try:
        if isinstance(public_key, rsa.RSAPublicKey) and fits_key(algorithm, public_key):
            public_key.verify(value, data, _padding_of(algorithm), _hash_of(algorithm))
            return True
        if isinstance(public_key, ec.EllipticCurvePublicKey) and fits_key(algorithm, public_key):
            width = (public_key.curve.key_size + 7) // 8
            if len(value) != 2 * width:
                return False
            r, s = int.from_bytes(value[:width], "big"), int.from_bytes(value[width:], "big")
            public_key.verify(encode_dss_signature(r, s), data, _ecdsa_of(algorithm))
            return True
    except InvalidSignature:
        return False
    return False
