"""What is entered of a packet, and its row. The subject stands here alone: never in events, logs or metrics."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from edxml.packet import Packet, StatusPacket
from gateway.exchange.attached import write_attachments
from gateway.exchange.submission import Docket, Prepared
from gateway.model.states import Book
from gateway.store.packets import PacketRow

__all__ = ["docket_of", "packet_row"]

_ENCODE = msgspec.json.Encoder().encode


def docket_of(packet: Packet | StatusPacket, unsigned: Collection[int] = ()) -> Docket:
    """What is entered of a packet; documents and statuses have separate books.

    `unsigned`: positions of the files that plainly bear no signature.
    """
    sender = str(packet.sender.organ_id)
    if isinstance(packet, StatusPacket):
        about = packet.response_for
        return Docket(
            book=Book.STATUSES,
            sender_organ=sender,
            document_id="" if about.document_id is None else about.document_id.text,
            notation=about.code,
            status=packet,
        )
    return Docket(
        book=Book.DOCUMENTS,
        sender_organ=sender,
        document_id=packet.document_id.text,
        notation=packet.number_notation,
        subject=packet.subject,
        is_urgent=packet.is_urgent,
        attachments=write_attachments(packet.attachments, unsigned),
    )


def packet_row(prepared: Prepared, root: str, recipients: Sequence[str], now: int) -> PacketRow:
    """One packet as it is stored; `root` is the document family whose chains it joins.

    `recipients` are the organ ids of the deliveries written with it, as the sender wrote them: what the account
    holds against the deliveries.
    """
    submission, docket = prepared.submission, prepared.docket
    return PacketRow(
        id=prepared.packet_id,
        kind=prepared.kind,
        book=docket.book,
        document_key=prepared.document_key,
        root=root,
        sender_id=prepared.sender_id,
        system_id=submission.caller.system_id,
        sender_organ=docket.sender_organ,
        wire_digest=prepared.wire_digest,
        fingerprint=prepared.fingerprint,
        blob=prepared.digest,
        size=submission.size,
        repairs=_ENCODE(prepared.repairs).decode(),
        recipients=_ENCODE(list(recipients)).decode(),
        seal=prepared.seal,
        accepted_at=submission.received_at,
        recorded_at=now,
        document_id=docket.document_id,
        notation=docket.notation,
        subject=docket.subject,
        status_code="" if docket.status is None else str(docket.status.status_code),
        is_urgent=docket.is_urgent,
        attachments=docket.attachments,
    )
