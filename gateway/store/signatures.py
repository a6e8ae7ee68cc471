"""Verdicts on the XML signatures of packets: one row per packet that bears one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, exists, select

from gateway.store.dialect import insert_ignore, upsert_counts
from gateway.store.schema import intake_faults, packets
from gateway.store.schema_judged import signature_verdicts

__all__ = ["Candidate", "SignatureRow", "begin", "end", "find_candidates", "keep_verdicts", "starts"]

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
        packets.c.id.in_(bindparam("ids", expanding=True)),
        ~exists().where(signature_verdicts.c.packet_id == packets.c.id),
    )
    .order_by(packets.c.id)
)  # fmt: skip


def find_candidates(connection: Connection, packet_ids: Iterable[str]) -> tuple[Candidate, ...]:
    """Which of these packets have no verdict, in order of id."""
    return tuple(Candidate(**row._mapping) for row in connection.execute(_CANDIDATES, {"ids": list(packet_ids)}))


# --- checks that began and never ended (rule 8), beside those of intake ----------------------------------------

_KEY = "signature|"
_STARTS = select(intake_faults).where(intake_faults.c.key.in_(bindparam("keys", expanding=True)))
_END = delete(intake_faults).where(intake_faults.c.key.in_(bindparam("keys", expanding=True)))


def starts(connection: Connection, packet_ids: Iterable[str]) -> dict[str, int]:
    """How often the check of each of these packets began without an end; none where it never did."""
    found = connection.execute(_STARTS, {"keys": [_KEY + packet_id for packet_id in packet_ids]})
    return {row.key.removeprefix(_KEY): row._mapping["count"] for row in found}


def begin(connection: Connection, packet_ids: Sequence[str]) -> None:
    """Note that the checks of these packets begin."""
    if packet_ids:
        statement = upsert_counts(connection.dialect.name, intake_faults, ("key",), "count")
        connection.execute(statement, [{"key": _KEY + packet_id, "count": 1} for packet_id in packet_ids])


def end(connection: Connection, packet_ids: Iterable[str]) -> None:
    """They ended, whatever came of it."""
    connection.execute(_END, {"keys": [_KEY + packet_id for packet_id in packet_ids]})
