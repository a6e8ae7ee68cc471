"""What was found out about a packet after it was accepted: whether its signatures are worth anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, select

from edxml.sign.verdicts import Verdict, text_code
from gateway.model.inspection import PdfSignature, PdfVerdict, SignatureCoverage
from gateway.store.schema_judged import inspections, signature_verdicts

__all__ = ["VerdictLine", "verdicts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One verdict (kết luận về chữ ký). `code` is its message code, `verdict` its word on a closed list."""

    packet_id: str
    about: str  #: "packet": the packet's XML signature; "file": a signature in the attachment at `position`
    position: int  #: of the attachment, from 1; 0 for the packet itself
    verdict: str
    standing: str  #: "valid", "bad", "open" (nobody can say), "absent", "decorative" (looks like one and is none)
    code: str
    detail: str
    policy: str  #: the name of the policy it was held against
    signer: str
    certificate: str  #: SHA-256 of the signer's certificate, hex; "" where there is none
    covers_whole: bool  #: all of the packet, or of the file, but the signature itself
    signed_at: int | None  #: as stamped by a trusted authority, else as the signer claims
    checked_at: int
    evidence: PdfSignature | None = None  #: of a signature in a file: what else was seen


_SIGNATURES = select(signature_verdicts).where(signature_verdicts.c.packet_id.in_(bindparam("ids", expanding=True)))


_INSPECTIONS = (
    select(inspections)
    .where(inspections.c.packet_id.in_(bindparam("ids", expanding=True)))
    .order_by(inspections.c.version)
)
_decode = msgspec.json.Decoder(tuple[PdfSignature, ...]).decode


def verdicts(connection: Connection, packet_ids: Iterable[str]) -> tuple[VerdictLine, ...]:
    """Every verdict on these packets, by packet and place. A packet without a signature has none."""
    found = [
        VerdictLine(
            packet_id=row.packet_id,
            about="packet",
            position=0,
            verdict=row.verdict,
            standing=Verdict(row.verdict).standing,
            code=text_code(Verdict(row.verdict), covers_whole=row.covers_whole),
            detail=row.detail,
            policy=row.policy,
            signer=row.signer,
            certificate=row.certificate,
            covers_whole=row.covers_whole,
            signed_at=row.signed_at,
            checked_at=row.checked_at,
        )
        for row in connection.execute(_SIGNATURES, {"ids": list(packet_ids)})
    ]
    newest = {(row.packet_id, row.position): row for row in connection.execute(_INSPECTIONS, {"ids": list(packet_ids)})}
    for row in newest.values():
        found += _of_file(row)
    return tuple(sorted(found, key=lambda line: (line.packet_id, line.position)))


def _of_file(row: Row[Any]) -> Iterable[VerdictLine]:
    """One line per signature; one for the file where it has none, or where something else is graver than all."""
    signatures = _decode(row.signatures)
    for signature in signatures:
        yield _line_of(row, signature.verdict, signature.detail, signature)
    if row.verdict not in {signature.verdict for signature in signatures}:
        yield _line_of(row, PdfVerdict(row.verdict), row.detail, None)


def _line_of(row: Row[Any], verdict: PdfVerdict, detail: str, signature: PdfSignature | None) -> VerdictLine:
    return VerdictLine(
        packet_id=row.packet_id,
        about="file",
        position=row.position,
        verdict=verdict,
        standing=verdict.standing,
        code="inspection.damaged_before" if verdict is PdfVerdict.DAMAGED and detail else f"inspection.{verdict}",
        detail=detail,
        policy=row.policy,
        signer="" if signature is None else signature.signer,
        certificate="" if signature is None else signature.certificate,
        covers_whole=signature is not None and signature.coverage is SignatureCoverage.WHOLE,
        signed_at=None if signature is None else signature.stamped_at or signature.claimed_at,
        checked_at=row.inspected_at,
        evidence=signature,
    )
