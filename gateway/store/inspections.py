"""What was found out about PDF attachments: one row per file and version of the inspector; the first one stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, exists, select

from gateway.store.dialect import insert_ignore
from gateway.store.months.bounds import among_ids
from gateway.store.schema import packets
from gateway.store.schema_judged import inspections

__all__ = ["DuePacket", "InspectionRow", "find_due", "keep"]


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
        among_ids(packets.c.id),
        packets.c.attachments != "[]",
        ~exists().where(inspections.c.packet_id == packets.c.id, inspections.c.version == bindparam("version")),
    )
    .order_by(packets.c.id)
)


def find_due(connection: Connection, packet_ids: Iterable[str], version: int) -> tuple[DuePacket, ...]:
    """Which of these packets have attachments and no inspection of this version."""
    rows = connection.execute(_DUE, {"ids": list(packet_ids), "version": version})
    return tuple(DuePacket(**row._mapping) for row in rows)


def keep(connection: Connection, rows: Sequence[InspectionRow]) -> frozenset[str]:
    """Write inspections down, all files of a packet at once; gives the packets that had none of this version."""
    values = [{name: getattr(row, name) for name in _FIELDS} for row in rows]
    return insert_ignore(connection, inspections, values, "packet_id", "position", "version")
