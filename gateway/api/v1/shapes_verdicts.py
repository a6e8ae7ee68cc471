"""The shapes of verdicts on signatures: of packets, and of PDFs within them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.api.v1.shape import Id, Shape, Time

__all__ = ["VerdictShape"]


class EvidenceShape(Shape):
    """What was seen of one signature within a PDF; null and empty where it was not reached."""

    field: Annotated[str, Field(description="Form field that holds the signature")]
    is_stamp: Annotated[bool, Field(description="A time stamp over the whole file, nobody's signature")]
    serial: Annotated[str, Field(description="Serial number of the signer's certificate, hex")]
    issuer: str
    valid_from: Time | None
    valid_to: Time | None
    state: Annotated[
        Literal["good", "revoked", "untrusted", "expired", "not_yet_valid", "wrong_use", "weak", "unknown"],
        Field(description="Of the certificate at `judged_at`; unknown: could not be checked"),
    ]
    judged_at: Annotated[Time | None, Field(description="The stamped time, else when the packet came")]
    claimed_at: Annotated[Time | None, Field(description="As the signer says: proves nothing")]
    stamp: Annotated[Literal["absent", "good", "invalid", "unchecked"], Field(description="Of the time stamp")]
    stamped_at: Time | None
    coverage: Literal["whole", "revision", "part"] | None
    changes: Annotated[
        Literal["none", "evidence", "forms", "notes", "other"] | None, Field(description="Made after the signature")
    ]
    weaknesses: list[str]


class VerdictShape(Shape):
    """What one signature is worth, found out after the packet was accepted; no delivery waits for it."""

    packet_id: Id
    about: Annotated[Literal["packet", "file"], Field(description="Its XML signature, or one in an attachment")]
    position: Annotated[int, Field(description="Of the attachment, from 1; 0 for the packet itself")]
    verdict: str
    standing: Literal["valid", "bad", "open", "absent", "decorative"]
    code: str
    vi: str
    en: str
    detail: str
    policy: str
    signer: str
    certificate: Annotated[str, Field(description="SHA-256 of the signer's certificate, hex")]
    covers_whole: bool
    signed_at: Time | None
    checked_at: Time
    evidence: EvidenceShape | None = None
