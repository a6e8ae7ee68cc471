"""Inspection (kiểm tra chữ ký trên tệp PDF): what was found out about the signatures within one attachment.

The values pass between the inspector's process, the store and whoever shows them; nothing here opens a PDF.  Names of
signers are personal data: they are shown to whoever may see the document, and are never logged or counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "INSPECTOR_VERSION", "CertificateState", "Changes", "FileInspection", "InspectionLimits", "PdfSignature",
    "PdfVerdict", "SignatureCoverage", "StampState", "worst",
]  # fmt: skip

INSPECTOR_VERSION = 3
"""Raised when the same file may get another verdict: every stored PDF is then inspected once more, behind the hops."""


class PdfVerdict(StrEnum):
    """What one signature, or one file, comes to. In order of gravity: a file is what its gravest signature is."""

    BROKEN = "broken"  #: the signature does not fit what is signed, or was not made by the certificate's key
    ALTERED = "altered"  #: right over what it covers, but the file was changed afterwards beyond what is allowed
    REVOKED = "revoked"  #: right, by a certificate that had been revoked
    UNTRUSTED = "untrusted"  #: right, by a certificate of nobody whom this node trusts
    EXPIRED = "expired"  #: right, by a certificate that had ended
    NOT_YET_VALID = "not_yet_valid"  #: right, by a certificate that had not begun
    WRONG_USE = "wrong_use"  #: right, by a certificate for other things than signing
    WEAK = "weak"  #: right, but SHA-1, MD5 or a key that is too short
    REMOVED = "removed"  #: an earlier revision of the file bore a signature, which a later one took out
    CRASHED = "crashed"  #: the inspector ended while it read the file
    MEMORY = "memory"  #: the file wants more memory than the inspector may have
    TIME = "time"  #: the file wants more time than the inspector may have
    DAMAGED = "damaged"  #: bytes of the file were replaced before it came, or it cannot be taken out of its packet
    UNREADABLE = "unreadable"  #: no PDF, or one that is built wrongly
    ENCRYPTED = "encrypted"  #: a PDF that opens with a password only
    TOO_LARGE = "too_large"  #: larger than is inspected
    TOO_MANY = "too_many"  #: beyond the files of one packet, or the signatures of one file, that are inspected
    GARBLED = "garbled"  #: a form of signature that is known, but what stands in it cannot be read
    NOT_COMPUTED = "not_computed"  #: a form of signature that is not computed here
    UNCHECKED = "unchecked"  #: right and unaltered, but the certificate could not be checked
    VALID = "valid"  #: right, unaltered, by a certificate that was good
    UNSIGNED = "unsigned"  #: a PDF without a signature

    @property
    def standing(self) -> str:
        """valid, bad, open (nobody can say) or absent (there is no signature)."""
        if self in _BAD:
            return "bad"
        return {PdfVerdict.VALID: "valid", PdfVerdict.UNSIGNED: "absent"}.get(self, "open")


_BAD = frozenset(tuple(PdfVerdict)[: tuple(PdfVerdict).index(PdfVerdict.WEAK) + 1])


def worst(verdicts: Iterable[PdfVerdict]) -> PdfVerdict:
    """The gravest; UNSIGNED of none."""
    order = tuple(PdfVerdict)
    return min(verdicts, key=order.index, default=PdfVerdict.UNSIGNED)


class SignatureCoverage(StrEnum):
    """How much of the file is under the signature."""

    WHOLE = "whole"  #: every byte but the signature itself
    REVISION = "revision"  #: all that was there when it was made; more was added after it
    PART = "part"  #: less than that: what is left out may be anything


class Changes(StrEnum):
    """What was added to the file after the signature."""

    NONE = "none"
    EVIDENCE = "evidence"  #: time stamps and revocation evidence, which change nothing that is seen
    FORMS = "forms"  #: form fields filled in, or further signatures
    NOTES = "notes"  #: annotations
    OTHER = "other"  #: anything else


class CertificateState(StrEnum):
    """What the signer's certificate was worth at the moment of the signature."""

    GOOD = "good"
    REVOKED = "revoked"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_USE = "wrong_use"
    WEAK = "weak"
    UNKNOWN = "unknown"  #: could not be checked


class StampState(StrEnum):
    """Whether a time stamp proves when the signature was made."""

    ABSENT = "absent"
    GOOD = "good"
    INVALID = "invalid"  #: not over this signature, or by no authority that is trusted here
    UNCHECKED = "unchecked"  #: no time-stamp authority is trusted here


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfSignature:
    """One signature of a PDF. What was not reached is empty; instants are in microseconds."""

    field: str  #: name of the form field that holds it
    verdict: PdfVerdict
    detail: str = ""  #: names, dates, algorithms: the same in every language
    is_stamp: bool = False  #: a time stamp over the whole file, not a person's signature
    signer: str = ""  #: RFC 4514
    serial: str = ""  #: hex
    issuer: str = ""  #: RFC 4514
    certificate: str = ""  #: SHA-256 of the certificate, hex
    valid_from: int | None = None  #: of the certificate
    valid_to: int | None = None
    state: CertificateState = CertificateState.UNKNOWN  #: of the certificate, at `judged_at`
    judged_at: int | None = None  #: the stamped time, else when the packet came: what a signer claims proves nothing
    claimed_at: int | None = None
    stamp: StampState = StampState.ABSENT
    stamped_at: int | None = None  #: where the stamp is good
    coverage: SignatureCoverage | None = None
    changes: Changes | None = None
    weaknesses: tuple[str, ...] = ()  #: "sha1", "RSA 1024"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInspection:
    """One file: its verdict, and its signatures in the order in which they were made."""

    verdict: PdfVerdict
    detail: str = ""
    signatures: tuple[PdfSignature, ...] = ()
    policy: str = ""  #: the trust that it was held against; "" where it plainly bears no signature


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionLimits:
    """What the inspector may use. Per file, unless said otherwise; sizes in bytes, spans in seconds."""

    file: int
    files: int  #: of one packet
    wall: float
    cpu: int
    memory: int  #: address space of the process
    idle: float  #: after which the process ends
    life: float = 600.0  #: after which it is started anew, so that changed lists of revocation are read
