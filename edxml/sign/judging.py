"""Certificates and time stamps judged by themselves, for signatures that stand in other files than packets (PDF).

The checks are those of `verify_packet`, so that one policy means the same wherever somebody signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from cryptography import x509

from edxml.sign.certificates import check_key, check_use, find_path, load_certificates
from edxml.sign.names import name_text
from edxml.sign.policy import Policy, RevocationMode
from edxml.sign.time_stamps import check_time_stamp, lost_to_others
from edxml.sign.verdicts import CheckRefusal, Revocation, Standing, Verdict

__all__ = ["Judgement", "check_certificate", "judge_certificate", "judge_stamp_authority", "judge_time_stamp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a certificate or a time stamp is worth, and the evidence. What was not reached is empty."""

    verdict: Verdict
    detail: str = ""  #: names, dates: the same in every language
    certificate: x509.Certificate | None = None
    chain: tuple[x509.Certificate, ...] = ()  #: from the certificate to the trust anchor
    revocations: tuple[Revocation, ...] = ()  #: one per certificate of the chain but the anchor
    stamped_at: datetime | None = None  #: a time stamp's own moment


def judge_certificate(der: bytes, others: Sequence[bytes], policy: Policy, at: datetime) -> Judgement:
    """What a signer's certificate (DER) was worth at the moment `at`; `others` came with it and prove nothing alone.

    Never raises for what the bytes are.
    """
    evidence: dict[str, Any] = {}
    try:
        certificate, *rest = load_certificates([der, *others])
        evidence["certificate"] = certificate
        check_key(certificate.public_key(), smallest_rsa=policy.smallest_rsa, curves=policy.curves)
        check_certificate(certificate, rest, policy, at, evidence)
    except CheckRefusal as refusal:
        return Judgement(verdict=refusal.verdict, detail=refusal.detail, **evidence)
    return Judgement(verdict=Verdict.VALID, **evidence)


def judge_time_stamp(token: bytes, text: bytes, policy: Policy, at: datetime | None = None) -> Judgement:
    """Whether `token` (DER, RFC 3161) is over `text` and by a time-stamp authority of the policy, not revoked by `at`.

    NOT_CHECKED where the policy trusts none.  Never raises for what the bytes are.
    """
    if not policy.time_stamp_anchors:
        return Judgement(verdict=Verdict.NOT_CHECKED)
    try:
        moment = check_time_stamp(token, text, policy.time_stamp_anchors, revocations=policy.asked, at=at)
    except CheckRefusal as refusal:
        return Judgement(verdict=refusal.verdict, detail=refusal.detail)
    return Judgement(verdict=Verdict.VALID, stamped_at=moment)


def judge_stamp_authority(
    der: bytes, others: Sequence[bytes], policy: Policy, moment: datetime, at: datetime
) -> Judgement:
    """What a time-stamp authority's certificate (DER) is worth for a stamp that states `moment`, as known by `at`.

    As `judge_certificate` for the moment; CERTIFICATE_REVOKED also where the authority is known to be revoked later,
    for a reason by which others may have its key: they could state any moment.
    """
    judged = judge_certificate(der, others, policy, min(moment, at))
    if judged.verdict is Verdict.VALID and policy.asked is not None:
        lost = lost_to_others(judged.chain, moment, policy.asked, at)
        if lost is not None:
            return replace(judged, verdict=Verdict.CERTIFICATE_REVOKED, detail=name_text(lost.subject))
    return judged


def check_certificate(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    policy: Policy,
    at: datetime,
    evidence: dict[str, Any],
) -> None:
    """Use, path and revocation at the moment `at`; what is found goes into `evidence`. Raises CheckRefusal."""
    check_use(certificate, policy.uses)
    chain = find_path(certificate, (*policy.intermediates, *others), policy.anchors, at)
    evidence["chain"] = chain
    if policy.revocation is RevocationMode.OFF:
        evidence["revocations"] = tuple(Revocation(standing=Standing.NOT_ASKED) for _ in chain[1:])
        return
    source = policy.revocation_source
    revocations = tuple(
        Revocation(standing=Standing.UNKNOWN, evidence="no source")
        if source is None
        else source.look_up(one, issuer, at)
        for one, issuer in pairwise(chain)
    )
    evidence["revocations"] = revocations
    for one, revocation in zip(chain, revocations, strict=False):
        if revocation.standing is Standing.REVOKED:
            since = "" if revocation.since is None else f": {revocation.since:%Y-%m-%d}"
            raise CheckRefusal(Verdict.CERTIFICATE_REVOKED, name_text(one.subject) + since)
    unknown = [one for one in revocations if one.standing is Standing.UNKNOWN]
    if unknown and policy.revocation is RevocationMode.HARD:
        raise CheckRefusal(Verdict.REVOCATION_UNKNOWN, unknown[0].evidence)
