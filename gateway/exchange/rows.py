"""The row of a packet, from what was read. The subject stands here alone: never in events, logs or metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edxml.packet import Packet, StatusPacket
from gateway.exchange.attached import write_attachments
from gateway.exchange.submission import Prepared
from gateway.model.states import Book
from gateway.store.packets import PacketRow

__all__ = ["book_of", "packet_row"]

_ENCODE = msgspec.json.Encoder().encode


def book_of(prepared: Prepared) -> Book:
    """Documents and statuses have separate books."""
    return Book.STATUSES if isinstance(prepared.packet, StatusPacket) else Book.DOCUMENTS


def packet_row(prepared: Prepared, root: str, recipients: Sequence[str], now: int) -> PacketRow:
    """One packet as it is stored; `root` is the document family whose chains it joins.

    `recipients` are the organ ids of the deliveries written with it, as the sender wrote them: what the account
    holds against the deliveries.
    """
    submission = prepared.submission
    said = _of_status(prepared.packet) if isinstance(prepared.packet, StatusPacket) else _of_document(prepared.packet)
    return PacketRow(
        id=prepared.packet_id,
        kind=prepared.kind,
        book=book_of(prepared),
        document_key=prepared.document_key,
        root=root,
        sender_id=prepared.sender_id,
        system_id=submission.caller.system_id,
        sender_organ=str(prepared.packet.sender.organ_id),
        wire_digest=prepared.wire_digest,
        fingerprint=prepared.fingerprint,
        blob=submission.digest,
        size=submission.size,
        repairs=_ENCODE(prepared.repairs).decode(),
        recipients=_ENCODE(list(recipients)).decode(),
        seal=prepared.seal,
        accepted_at=submission.received_at,
        recorded_at=now,
        **said,
    )


def _of_document(packet: Packet) -> dict[str, Any]:
    return {
        "document_id": packet.document_id.text,
        "notation": packet.number_notation,
        "subject": packet.subject,
        "status_code": "",
        "is_urgent": packet.is_urgent,
        "attachments": write_attachments(packet.attachments),
    }


def _of_status(packet: StatusPacket) -> dict[str, Any]:
    about = packet.response_for
    return {
        "document_id": "" if about.document_id is None else about.document_id.text,
        "notation": about.code,
        "subject": "",
        "status_code": str(packet.status_code),
        "is_urgent": False,
        "attachments": "[]",
    }
