"""Who signed and whether he is believed: the arithmetic by pyHanko, the judgement by `edxml.sign`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from asn1crypto import cms, core
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import validate_sig_integrity
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from edxml.sign.certificates import der_of
from edxml.sign.judging import Judgement, judge_certificate, judge_stamp_authority, judge_time_stamp
from edxml.sign.names import name_text
from edxml.sign.policy import Policy, RevocationMode
from edxml.sign.revocation import CachedRevocations
from edxml.sign.verdicts import Verdict
from gateway.inspector.revisions import Seen
from gateway.model.inspection import CertificateState, PdfSignature, PdfVerdict, StampState
from gateway.model.instants import VIETNAM, as_datetime, as_instant

__all__ = ["Embedded", "judge_signature", "judge_stamp"]

_NOBODY: Final = "no trust anchors"
_WEAK_DIGESTS: Final = ("md2", "md5", "sha1")
_STATES: Final = {
    Verdict.VALID: CertificateState.GOOD,
    Verdict.CERTIFICATE_REVOKED: CertificateState.REVOKED,
    Verdict.CERTIFICATE_EXPIRED: CertificateState.EXPIRED,
    Verdict.CERTIFICATE_NOT_YET_VALID: CertificateState.NOT_YET_VALID,
    Verdict.CERTIFICATE_WRONG_USE: CertificateState.WRONG_USE,
    Verdict.CERTIFICATE_SELF_SIGNED: CertificateState.UNTRUSTED,
    Verdict.CHAIN_BROKEN: CertificateState.UNTRUSTED,
    Verdict.NOT_TRUSTED: CertificateState.UNTRUSTED,
    Verdict.WEAK_KEY: CertificateState.WEAK,
    Verdict.WEAK_ALGORITHM: CertificateState.WEAK,
}
_VERDICTS: Final = {
    CertificateState.GOOD: PdfVerdict.VALID,
    CertificateState.REVOKED: PdfVerdict.REVOKED,
    CertificateState.EXPIRED: PdfVerdict.EXPIRED,
    CertificateState.NOT_YET_VALID: PdfVerdict.NOT_YET_VALID,
    CertificateState.WRONG_USE: PdfVerdict.WRONG_USE,
    CertificateState.UNTRUSTED: PdfVerdict.UNTRUSTED,
    CertificateState.WEAK: PdfVerdict.WEAK,
    CertificateState.UNKNOWN: PdfVerdict.UNCHECKED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Revocation lists and answers (DER) that came within the file."""

    lists: tuple[bytes, ...] = ()
    answers: tuple[bytes, ...] = ()


def judge_signature(
    found: EmbeddedPdfSignature, seen: Seen, policy: Policy, embedded: Embedded, came_at: int, field: str
) -> PdfSignature:
    """A person's or an agency's signature. Judged for the moment of a good time stamp, else for `came_at`."""
    is_right = _is_right(found, "data", found.compute_digest())
    told, value = _with(policy, embedded), found.signer_info["signature"].native
    stamps = [judge_time_stamp(token, value, told, as_datetime(came_at)) for token in _tokens(found)]
    stamped = min((one.stamped_at for one in stamps if one.stamped_at is not None), default=None)
    at = as_datetime(came_at) if stamped is None else min(stamped, as_datetime(came_at))
    judged = _judge(found, told, at)
    made = _made(found, seen, judged, is_right, policy, field)
    return replace(
        made,
        judged_at=as_instant(at),
        claimed_at=_claimed_at(found),
        stamp=_stamp_state(stamps),
        stamped_at=None if stamped is None else as_instant(stamped),
    )


def judge_stamp(
    found: EmbeddedPdfSignature, seen: Seen, policy: Policy, embedded: Embedded, came_at: int, field: str
) -> PdfSignature:
    """A time stamp over the whole file (document time stamp): an authority's word for when it existed."""
    content = found.signed_data["encap_content_info"]["content"]
    told = content.parsed
    raw = hashlib.new(found.md_algorithm, bytes(content)).digest()
    is_over = told["message_imprint"]["hashed_message"].native == found.compute_digest()
    is_right = is_over and _is_right(found, "tst_info", raw)
    at: datetime = told["gen_time"].native
    trusting = replace(
        policy,
        anchors=policy.time_stamp_anchors,
        uses=frozenset({ExtendedKeyUsageOID.TIME_STAMPING}),
        revocation=RevocationMode.SOFT,  # as for time stamps within signatures: what is not known is not held against
    )
    others = [one.dump() for one in found.other_embedded_certs]
    known = _with(trusting, embedded)
    judged = judge_stamp_authority(found.signer_cert.dump(), others, known, at, as_datetime(came_at))
    made = _made(found, seen, judged, is_right, trusting, field)
    is_good = made.verdict is PdfVerdict.VALID
    state = StampState.GOOD if is_good else StampState.UNCHECKED if made.verdict is PdfVerdict.UNCHECKED else None
    return replace(
        made,
        is_stamp=True,
        judged_at=as_instant(min(at, as_datetime(came_at))),
        claimed_at=as_instant(at),
        stamp=state or StampState.INVALID,
        stamped_at=as_instant(at) if is_good else None,
    )


# --- the arithmetic ----------------------------------------------------------------------------------------------


def _is_right(found: EmbeddedPdfSignature, kind: str, digest: bytes) -> bool:
    """Whether the signature is over this digest and was made by its certificate's key."""
    try:
        is_intact, is_valid = validate_sig_integrity(
            found.signer_info, found.signer_cert, expected_content_type=kind, actual_digest=digest
        )
    except SignatureValidationError:
        return False
    return is_intact and is_valid


def _weak_digest(found: EmbeddedPdfSignature) -> str:
    algorithm = str(found.signer_info["signature_algorithm"]["algorithm"].native)
    names = (found.md_algorithm, algorithm.partition("_")[0])
    return next((name for name in names if name in _WEAK_DIGESTS), "")


# --- whom it is by -----------------------------------------------------------------------------------------------


def _judge(found: EmbeddedPdfSignature, policy: Policy, at: datetime) -> Judgement:
    others = [one.dump() for one in found.other_embedded_certs]
    return judge_certificate(found.signer_cert.dump(), others, policy, at)


def _with(policy: Policy, embedded: Embedded) -> Policy:
    """The policy that also looks into what came within the file."""
    source = policy.revocation_source
    known = source if isinstance(source, CachedRevocations) else CachedRevocations()
    lists = _readable(embedded.lists, lambda der: CachedRevocations.load(lists=[der]))
    answers = _readable(embedded.answers, lambda der: CachedRevocations.load(answers=[der]))
    more = (known, *lists, *answers)
    return replace(
        policy,
        revocation_source=CachedRevocations(
            lists=tuple(one for held in more for one in held.lists),
            answers=tuple(one for held in more for one in held.answers),
        ),
    )


def _readable(ders: Iterable[bytes], load: Callable[[bytes], CachedRevocations]) -> Iterator[CachedRevocations]:
    for der in ders:
        try:
            yield load(der)
        except ValueError:
            continue  # what cannot be read is no evidence


def _made(
    found: EmbeddedPdfSignature, seen: Seen, judged: Judgement, is_right: bool, policy: Policy, field: str
) -> PdfSignature:
    """What holds of any signature. Where nobody is trusted, nothing is said of the certificate but what was seen."""
    state = _STATES.get(judged.verdict, CertificateState.UNKNOWN) if policy.anchors else CertificateState.UNKNOWN
    is_weak_key = judged.verdict in (Verdict.WEAK_KEY, Verdict.WEAK_ALGORITHM)
    weaknesses = tuple(one for one in (_weak_digest(found), judged.detail if is_weak_key else "") if one)
    verdict = _VERDICTS[state]
    detail = judged.detail if policy.anchors else _NOBODY
    if weaknesses:
        verdict, detail = min(verdict, PdfVerdict.WEAK, key=tuple(PdfVerdict).index), ", ".join(weaknesses)
    if not seen.is_allowed:
        verdict, detail = PdfVerdict.ALTERED, str(seen.changes)
    if not is_right:
        verdict, detail = PdfVerdict.BROKEN, ""
    return PdfSignature(
        field=field, verdict=verdict, detail=detail, state=state, coverage=seen.coverage, changes=seen.changes,
        weaknesses=weaknesses, **_named(judged.certificate),
    )  # fmt: skip


def _named(certificate: x509.Certificate | None) -> dict[str, Any]:
    if certificate is None:
        return {}
    return {
        "signer": name_text(certificate.subject),
        "serial": f"{certificate.serial_number:x}",
        "issuer": name_text(certificate.issuer),
        "certificate": hashlib.sha256(der_of(certificate)).hexdigest(),
        "valid_from": as_instant(certificate.not_valid_before_utc),
        "valid_to": as_instant(certificate.not_valid_after_utc),
    }


# --- when --------------------------------------------------------------------------------------------------------


def _tokens(found: EmbeddedPdfSignature) -> Iterator[bytes]:
    """Time stamps of the signature, as DER."""
    attributes = found.signer_info["unsigned_attrs"]
    if isinstance(attributes, core.Void):
        return
    for attribute in attributes:
        if attribute["type"].native == "signature_time_stamp_token":
            for token in attribute["values"]:
                assert isinstance(token, cms.ContentInfo)
                yield token.dump()


def _stamp_state(stamps: list[Judgement]) -> StampState:
    if not stamps:
        return StampState.ABSENT
    if any(one.stamped_at is not None for one in stamps):
        return StampState.GOOD
    is_open = any(one.verdict is Verdict.NOT_CHECKED for one in stamps)
    return StampState.UNCHECKED if is_open else StampState.INVALID


def _claimed_at(found: EmbeddedPdfSignature) -> int | None:
    try:
        claimed = found.self_reported_timestamp
        if claimed is None:
            return None
        aware = claimed if claimed.tzinfo is not None else claimed.replace(tzinfo=VIETNAM)
        return as_instant(aware.astimezone(UTC))  # a zone may lead out of the calendar
    except Exception:  # noqa: BLE001 - a date that is none, in bytes of anybody
        return None
