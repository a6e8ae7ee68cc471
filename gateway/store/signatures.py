"""Verdicts on the XML signatures of packets: one row per packet that bears one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.store.dialect import insert_ignore
from gateway.store.schema_judged import signature_verdicts

__all__ = ["SignatureRow", "keep_verdicts"]

_FIELDS = (
    "packet_id", "verdict", "detail", "policy", "form", "signer", "certificate", "covers_whole", "signed_at",
    "checked_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRow:
    """What the signature of one packet is worth: field for field the row. `certificate`: SHA-256 of its DER, hex."""

    packet_id: str
    verdict: str
    detail: str
    policy: str
    form: str
    signer: str
    certificate: str
    covers_whole: bool
    signed_at: int | None
    checked_at: int


def keep_verdicts(connection: Connection, verdicts: Sequence[SignatureRow]) -> frozenset[str]:
    """Write verdicts down; gives the packets that had none yet. The first verdict on a packet stands."""
    rows = [{name: getattr(verdict, name) for name in _FIELDS} for verdict in verdicts]
    return insert_ignore(connection, signature_verdicts, rows, "packet_id")
