"""Signatures of packets: made as any XML-DSig software can check them, checked so that nobody can be fooled.

    signer = load_pkcs12_signer(open("co-quan.p12", "rb").read(), password=b"…")
    with open("van-ban.edxml", "rb") as packet, open("da-ky.edxml", "wb") as signed:
        sign_packet(packet, signed, signer)

    with open("da-ky.edxml", "rb") as signed:
        result = verify_packet(signed, policy=Policy.trusting([root]))
    print(result.verdict, result.signer, result.text(Language.VI))

What the field calls a signature is mostly decoration (elements in the wrong namespace, SHA-1, truncated certificates):
that has its own verdict, and is no forgery.  The guide is docs/reference/signatures.md.
"""

from edxml.sign.algorithms import Canonicalization, DigestAlgorithm, SignatureAlgorithm
from edxml.sign.policy import SIGNING_USES, Coverage, Policy, RevocationMode, RevocationSource
from edxml.sign.revocation import CachedRevocations
from edxml.sign.signer import KeySigner, Signer, SigningKeyInvalid, load_pem_signer, load_pkcs12_signer
from edxml.sign.signing import SigningRefused, TimeStamper, sign_packet
from edxml.sign.stamping import add_time_stamp, asking
from edxml.sign.tokens import TokenKey, TokenSigner, open_token_signer
from edxml.sign.verdicts import Form, Revocation, SignedFile, SignedPart, Standing, Verdict, Verification
from edxml.sign.verifying import verify_packet

__all__ = [
    "SIGNING_USES",
    "CachedRevocations",
    "Canonicalization",
    "Coverage",
    "DigestAlgorithm",
    "Form",
    "KeySigner",
    "Policy",
    "Revocation",
    "RevocationMode",
    "RevocationSource",
    "SignatureAlgorithm",
    "SignedFile",
    "SignedPart",
    "Signer",
    "SigningKeyInvalid",
    "SigningRefused",
    "Standing",
    "TimeStamper",
    "TokenKey",
    "TokenSigner",
    "Verdict",
    "Verification",
    "add_time_stamp",
    "asking",
    "load_pem_signer",
    "load_pkcs12_signer",
    "open_token_signer",
    "sign_packet",
    "verify_packet",
]
