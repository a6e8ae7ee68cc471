"""Under which conditions a signature is believed: a frozen value, safe by default; every loosening is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from edxml.sign.algorithms import Canonicalization, DigestAlgorithm, SignatureAlgorithm
from edxml.sign.verdicts import Revocation

__all__ = ["SIGNING_USES", "Coverage", "Policy", "RevocationMode", "RevocationSource"]

SIGNING_USES = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # document signing, RFC 9336
        x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),  # the same before the RFC
    }
)
"""Extended key usages of which a signer's certificate must have one, if it has any: Vietnamese authorities issue
signing certificates for e-mail and client authentication."""


class Coverage(StrEnum):
    """What must be under the signature."""

    WHOLE = "whole"  #: all of the packet but the signature itself, attachments included (Reference URI="")
    HEADER = "header"  #: at least the MessageHeader that a reader of the packet takes


class RevocationMode(StrEnum):
    """What is done about revocation."""

    OFF = "off"  #: nobody is asked
    SOFT = "soft"  #: revoked is refused; unknown is noted in the evidence
    HARD = "hard"  #: unknown ends in REVOCATION_UNKNOWN


class RevocationSource(Protocol):
    """Where revocation is looked up: what is at hand, never the network."""

    def look_up(self, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> Revocation:
        """What is known of `certificate` for the moment `at`. Never raises for what the evidence is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is believed. The defaults are the safe ones."""

    name: str = "default"
    anchors: tuple[x509.Certificate, ...] = ()
    """Certificates that are trusted as they are: roots, or single certificates of known agencies. None is trusted
    unless it is here; their own validity is looked at like that of the others."""
    intermediates: tuple[x509.Certificate, ...] = ()
    """Known certificates between signers and anchors, for signatures that leave them out; not trusted by themselves."""
    time_stamp_anchors: tuple[x509.Certificate, ...] = ()
    """Trusted time-stamp authorities. Without any, a time stamp is not taken as proof of time and not held against."""
    coverage: Coverage = Coverage.WHOLE
    signature_algorithms: frozenset[SignatureAlgorithm] = frozenset(SignatureAlgorithm)
    digest_algorithms: frozenset[DigestAlgorithm] = frozenset(DigestAlgorithm)
    canonicalizations: frozenset[Canonicalization] = frozenset(Canonicalization)
    smallest_rsa: int = 2048
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1", "secp521r1"})
    uses: frozenset[x509.ObjectIdentifier] = SIGNING_USES
    requires_xades: bool = False
    """Whether a signature must sign its own certificate and time (XAdES). Where it does not, another certificate for
    the same key could be put in; both then name the holder of one key."""
    revocation: RevocationMode = RevocationMode.SOFT
    revocation_source: RevocationSource | None = None
    clock_skew: timedelta = field(default=timedelta(minutes=5))
    """By how much a signer's clock may run ahead."""

    @property
    def asked(self) -> RevocationSource | None:
        """Where revocation is looked up; None where nobody is asked."""
        return None if self.revocation is RevocationMode.OFF else self.revocation_source

    @staticmethod
    def trusting(anchors: Sequence[x509.Certificate], *, name: str = "default") -> Policy:
        """The default policy with these anchors."""
        return Policy(name=name, anchors=tuple(anchors))
