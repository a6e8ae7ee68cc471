"""What was found out about PDF attachments: one row per file and version of the inspector; the first one stands.

Beside it, how often the inspection of a packet began and nobody reported: a file that takes the whole node down with it
is given up after a few times, and not tried for ever (rule 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, exists, select

from gateway.store.dialect import insert_ignore, upsert_counts
from gateway.store.schema import packets
from gateway.store.schema_judged import inspection_starts, inspections

__all__ = ["DuePacket", "InspectionRow", "begin", "find_due", "forget_starts", "keep", "starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePacket:
    """A packet with attachments that this version of the inspector has not looked at."""

    id: str
    blob: str
    attachments: str  #: JSON, as the packet's row has it
    accepted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRow:
    """One file's inspection: field for field the row."""

    packet_id: str
    position: int
    version: int
    verdict: str
    detail: str
    signatures: str  #: JSON: what gateway.model.inspection.PdfSignature says
    policy: str
    digest: str
    inspected_at: int


_FIELDS = tuple(InspectionRow.__dataclass_fields__)
_DUE = (
    select(packets.c.id, packets.c.blob, packets.c.attachments, packets.c.accepted_at)
    .where(
        packets.c.id.in_(bindparam("ids", expanding=True)),
        packets.c.attachments != "[]",
        ~exists().where(inspections.c.packet_id == packets.c.id, inspections.c.version == bindparam("version")),
    )
    .order_by(packets.c.id)
)
_STARTS = select(inspection_starts.c.packet_id, inspection_starts.c.count.label("times")).where(
    inspection_starts.c.packet_id.in_(bindparam("ids", expanding=True))
)
_FORGET = delete(inspection_starts).where(inspection_starts.c.packet_id.in_(bindparam("ids", expanding=True)))


def find_due(connection: Connection, packet_ids: Iterable[str], version: int) -> tuple[DuePacket, ...]:
    """Which of these packets have attachments and no inspection of this version."""
    rows = connection.execute(_DUE, {"ids": list(packet_ids), "version": version})
    return tuple(DuePacket(**row._mapping) for row in rows)


def starts(connection: Connection, packet_ids: Iterable[str]) -> dict[str, int]:
    """How often the inspection of each of these packets began without an end; none where it never did."""
    return {row.packet_id: row.times for row in connection.execute(_STARTS, {"ids": list(packet_ids)})}


def begin(connection: Connection, packet_ids: Sequence[str]) -> None:
    """Note that these are about to be inspected."""
    if packet_ids:
        statement = upsert_counts(connection.dialect.name, inspection_starts, ("packet_id",), "count")
        connection.execute(statement, [{"packet_id": packet_id, "count": 1} for packet_id in packet_ids])


def forget_starts(connection: Connection, packet_ids: Iterable[str]) -> None:
    """Nothing of these packets is to blame for whatever ended meanwhile."""
    connection.execute(_FORGET, {"ids": list(packet_ids)})


def keep(connection: Connection, rows: Sequence[InspectionRow]) -> frozenset[str]:
    """Write inspections down, all files of a packet at once; gives the packets that had none of this version."""
    values = [{name: getattr(row, name) for name in _FIELDS} for row in rows]
    kept = insert_ignore(connection, inspections, values, "packet_id", "position", "version")
    forget_starts(connection, {row.packet_id for row in rows})
    return kept
