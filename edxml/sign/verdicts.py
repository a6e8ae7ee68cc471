"""What the check of a signature ends in: one verdict of a closed list, and the evidence for it.

VALID                 it proves what `signed` lists
a BAD verdict         it proves nothing, and why
an OPEN verdict       nobody knows: there is none, or it could not be checked; never counted as a forgery
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography import x509

from edxml.findings import Finding
from edxml.messages import Evidence, Language, text
from edxml.sign.names import name_text
from edxml.zone import iso_in_vietnam

__all__ = [
    "OPEN",
    "CheckRefusal",
    "Form",
    "Revocation",
    "SignedFile",
    "SignedPart",
    "Standing",
    "Verdict",
    "Verification",
    "text_code",
]


class Verdict(StrEnum):
    """What the signature is worth."""

    VALID = "valid"  #: right, by a trusted certificate, over what the policy asks for

    ABSENT = "absent"  #: the packet bears no signature
    NOT_XMLDSIG = "not_xmldsig"  #: elements that look like a signature but are none: the decoration of the field
    NOT_CHECKED = "not_checked"  #: beyond our limits, or a form that we do not compute: nothing is said about it
    REVOCATION_UNKNOWN = "revocation_unknown"  #: right, but nobody could say whether the certificate was revoked

    UNREADABLE = "unreadable"  #: the packet is no XML that may be read (DTD, entities, not well-formed)
    MALFORMED = "malformed"  #: not built as XML-DSig says
    MISPLACED = "misplaced"  #: stands elsewhere than at the end of the header, as a wrapped signature does
    SEVERAL = "several"  #: more than one signature: which would count?
    FORBIDDEN_REFERENCE = "forbidden_reference"  #: outside the packet, XPointer, to nothing or to no single element
    FORBIDDEN_TRANSFORM = "forbidden_transform"  #: XSLT, XPath, base64 or others that make other content of it
    DUPLICATE_ID = "duplicate_id"  #: two elements bear the id that is signed
    INCOMPLETE = "incomplete"  #: right, but does not cover what the policy asks for
    WEAK_ALGORITHM = "weak_algorithm"  #: SHA-1, MD5
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"  #: HMAC, DSA, unknown ones, or not in the policy's list
    WEAK_KEY = "weak_key"  #: RSA under 2048 bits, or a curve that is not taken
    NO_CERTIFICATE = "no_certificate"  #: a bare key, a name, or nothing
    CERTIFICATE_UNREADABLE = "certificate_unreadable"
    CERTIFICATE_MISMATCH = "certificate_mismatch"  #: not the one whose digest was signed, or KeyValue is another key
    KEY_MISMATCH = "key_mismatch"  #: the certificate's key is of another kind than the algorithm
    INVALID_DIGEST = "invalid_digest"  #: what was signed has been altered
    INVALID_SIGNATURE = "invalid_signature"  #: not made by the certificate's key
    SIGNED_IN_FUTURE = "signed_in_future"  #: claims a time that had not come
    TIME_STAMP_INVALID = (
        "time_stamp_invalid"  #: the time stamp is not for this signature, or not by a trusted authority
    )
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_WRONG_USE = "certificate_wrong_use"  #: a CA's, a server's, one that may not sign
    CERTIFICATE_SELF_SIGNED = "certificate_self_signed"
    CHAIN_BROKEN = "chain_broken"  #: an issuer is missing, or is none
    NOT_TRUSTED = "not_trusted"  #: the chain ends at a root that is not ours

    @property
    def is_open(self) -> bool:
        """Whether it says neither yes nor no."""
        return self in OPEN

    @property
    def is_bad(self) -> bool:
        """Whether something was found wrong."""
        return self is not Verdict.VALID and self not in OPEN

    @property
    def standing(self) -> str:
        """valid, bad, open (nobody can say), absent, or decorative (looks like a signature and is none)."""
        if self in _PLAIN:
            return _PLAIN[self]
        return "open" if self.is_open else "bad"


OPEN = frozenset({Verdict.ABSENT, Verdict.NOT_XMLDSIG, Verdict.NOT_CHECKED, Verdict.REVOCATION_UNKNOWN})
"""Verdicts that say neither yes nor no."""

_PLAIN = {Verdict.VALID: "valid", Verdict.ABSENT: "absent", Verdict.NOT_XMLDSIG: "decorative"}


class Form(StrEnum):
    """How much the signature says about itself."""

    PLAIN = "xmldsig"  #: XML-DSig
    BES = "xades-bes"  #: signs its time and its certificate too (ETSI TS 101 903, XAdES-BES)
    T = "xades-t"  #: and bears the time stamp of an authority (RFC 3161)


class Standing(StrEnum):
    """What is known of a certificate's revocation at the moment that counts."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"  #: no list or answer at hand that covers the moment
    NOT_ASKED = "not_asked"  #: the policy does not ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What one certificate's issuer said, and by what it was known."""

    standing: Standing
    since: datetime | None = None  #: when it was revoked
    evidence: str = ""  #: "crl" or "ocsp" and its time, or why nothing is known
    reason: str = ""  #: why it was revoked (RFC 5280 5.3.1: "keyCompromise"), as far as it was said


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPart:
    """One part of the packet whose digest is under the signature and was computed anew."""

    uri: str  #: as the signature refers to it: "" is the whole packet but the signature itself
    path: str  #: of the element: "/edXML", "/edXML/edXMLEnvelope/edXMLHeader/MessageHeader"
    is_own: bool  #: a part of the signature itself (its properties, its key), not of the packet
    digest_algorithm: str
    digest: str  #: lower-case hex


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """A decoded attachment within what was signed: SHA-256 in hex and length, as edxml.read gives them."""

    digest: str
    length: int


def text_code(verdict: Verdict, *, covers_whole: bool) -> str:
    """The code of the sentence that tells a verdict: who signed a part is not said to have signed the packet."""
    is_part = verdict is Verdict.VALID and not covers_whole
    return "signature.valid_part" if is_part else f"signature.{verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verdict with its evidence. What was not reached before the verdict fell is empty.

    Only what `signed` and `files` list is proved, and only where `verdict` is VALID.  `wire_digest` (SHA-256 of all
    bytes, as edxml.read gives it) binds this to one reading of the packet: compare them before believing both.
    """

    verdict: Verdict
    detail: str = ""  #: names, URIs, dates, codes: the same in every language
    finding: Finding | None = None  #: why the packet could not be read, where that is the verdict's reason
    policy: str = ""  #: the name of the policy it was held against
    form: Form | None = None
    certificate: x509.Certificate | None = None
    chain: tuple[x509.Certificate, ...] = ()  #: from the signer's certificate to the trust anchor
    signed: tuple[SignedPart, ...] = ()
    files: tuple[SignedFile, ...] = ()  #: the attachments that stand within what was signed
    covers_whole: bool = False  #: the whole packet but the signature itself
    signing_time: datetime | None = None  #: as the signer claims
    stamped_at: datetime | None = None  #: as a trusted authority proves
    judged_at: datetime | None = None  #: the moment for which certificates were judged
    revocations: tuple[Revocation, ...] = ()  #: one per certificate of the chain but the anchor
    wire_digest: str = ""
    size: int = 0

    @property
    def is_valid(self) -> bool:
        """Whether it proves what `signed` lists."""
        return self.verdict is Verdict.VALID

    @property
    def signer(self) -> str:
        """The signer's name as its certificate has it (RFC 4514); empty where there is none."""
        return "" if self.certificate is None else name_text(self.certificate.subject)

    def text(self, language: Language) -> str:
        """What the verdict means and what to do, in `language`."""
        code = text_code(self.verdict, covers_whole=self.covers_whole)
        detail = self.detail if self.finding is None else self.finding.text(language).rstrip(".")
        return text(code, language, {"detail": Evidence(detail), "signer": self.signer})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        moments = {
            name: iso_in_vietnam(moment) if (moment := getattr(self, name)) else None
            for name in ("signing_time", "stamped_at", "judged_at")
        }
        return {
            "verdict": str(self.verdict),
            "is_valid": self.is_valid,
            "is_open": self.verdict.is_open,
            "detail": self.detail,
            "finding": None if self.finding is None else self.finding.as_dict(),
            "policy": self.policy,
            "form": str(self.form) if self.form else None,
            "signer": self.signer,
            "serial": None if self.certificate is None else f"{self.certificate.serial_number:x}",
            "covers_whole": self.covers_whole,
            "signed": [
                {"uri": part.uri, "path": part.path, "algorithm": part.digest_algorithm, "digest": part.digest}
                for part in self.signed
            ],
            "files": [{"digest": file.digest, "length": file.length} for file in self.files],
            **moments,
            "revocations": [
                {
                    "standing": str(one.standing),
                    "since": one.since and iso_in_vietnam(one.since),
                    "evidence": one.evidence,
                }
                for one in self.revocations
            ],
            "wire_digest": self.wire_digest,
            "size": self.size,
            "vi": self.text(Language.VI),
            "en": self.text(Language.EN),
        }


class CheckRefusal(Exception):
    """The check ends here with `verdict`. Never leaves this package."""

    def __init__(self, verdict: Verdict, detail: str = "", finding: Finding | None = None) -> None:
        self.verdict = verdict
        self.finding = finding
        self.detail = detail[:300]
        super().__init__(verdict)
