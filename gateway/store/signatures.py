"""Verdicts on the XML signatures of packets: one row per packet that bears one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from gateway.store.dialect import insert_ignore
from gateway.store.months.bounds import among_ids
from gateway.store.schema import packets
from gateway.store.schema_judged import signature_verdicts

__all__ = ["Candidate", "SignatureRow", "find_candidates", "keep_verdicts"]


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


_FIELDS = tuple(SignatureRow.__dataclass_fields__)


def keep_verdicts(connection: Connection, verdicts: Sequence[SignatureRow]) -> frozenset[str]:
    """Write verdicts down; gives the packets that had none yet. The first verdict on a packet stands."""
    rows = [{name: getattr(verdict, name) for name in _FIELDS} for verdict in verdicts]
    return insert_ignore(connection, signature_verdicts, rows, "packet_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A packet that has no verdict yet."""

    packet_id: str
    book: str
    blob: str
    sender_organ: str
    accepted_at: int


_CANDIDATES = (
    select(packets.c.id.label("packet_id"), packets.c.book, packets.c.blob, packets.c.sender_organ,
           packets.c.accepted_at)
    .where(
        among_ids(packets.c.id),
        ~exists().where(signature_verdicts.c.packet_id == packets.c.id),
    )
    .order_by(packets.c.id)
)  # fmt: skip


def find_candidates(connection: Connection, packet_ids: Iterable[str]) -> tuple[Candidate, ...]:
    """Which of these packets have no verdict, in order of id."""
    return tuple(Candidate(**row._mapping) for row in connection.execute(_CANDIDATES, {"ids": list(packet_ids)}))
