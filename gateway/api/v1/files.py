"""Files: a packet as it was received, its seal, its attachments decoded; for the sender by packet, for a recipient by
delivery. Bytes of a packet that go to a recipient are a fetch, whichever part they are (protocol §10).

HEAD tells what a GET would send (size, ETag, Content-Digest, kind, name), and begins no fetch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response

from gateway.api.edge import Edge
from gateway.api.sending import XML, Stored, decoded_pieces, send_stored
from gateway.api.v1.doors import Calling, DeliveryId, Here, PacketId, Position, TheEdge
from gateway.api.v1.examples import refusals
from gateway.api.v1.serve import key_header, open_item, park_damaged, stored_packet
from gateway.exchange import collect
from gateway.exchange.attached import read_attachments
from gateway.exchange.collect import Fetch
from gateway.identity import Caller
from gateway.model.errors import BlobDamaged, BlobMissing, NotFound
from gateway.store import packets, views
from gateway.store.inbox import Item

__all__ = ["BYTES", "Sent", "router"]

router = APIRouter(prefix="/v1", tags=["files"])


def _bytes(description: str, kind: str, example: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}, "example": example}}
    return {"description": description, "content": content}


_PACKET = '<?xml version="1.0" encoding="utf-8"?>\n<edXML xmlns="http://www.mic.gov.vn/TBT/QCVN_102_2016">…</edXML>'
BYTES: dict[int | str, dict[str, Any]] = {
    200: _bytes(
        "The bytes as they were received (octet-stream for MIME); ETag and Content-Digest are their SHA-256",
        "application/xml",
        _PACKET,
    ),
    206: _bytes("The range asked for", "application/xml", "<edXML …"),
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: _bytes("The file, decoded and unzipped", "application/octet-stream", "%PDF-1.7 …"),
    206: _bytes("The range asked for", "application/octet-stream", "%PDF"),
}
_SEAL: dict[int | str, dict[str, Any]] = {
    200: _bytes("XAdES signature over the statement of the packet's digests", XML.decode(), "<ds:Signature …>")
}


class Sent(Response):
    """An answer that a coroutine sends by itself."""

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._send = send

    async def __call__(self, _scope: Any, _receive: Any, _send_: Any) -> None:
        await self._send()


# --- for the sender --------------------------------------------------------------------------------------------


@router.head("/packets/{packet_id}/packet", include_in_schema=False)
@router.get(
    "/packets/{packet_id}/packet",
    response_class=Response,
    responses={**BYTES, **refusals(400, 401, 404, 416)},
    summary="Gói tin tôi đã gửi, nguyên byte / the packet that I sent",
)
async def sent_packet(edge: TheEdge, caller: Calling, asked: Here, packet_id: PacketId) -> Response:
    """The bytes as they were accepted. For the sender only: a recipient fetches from its inbox."""
    row = await edge.looking.run(_own, edge, caller, packet_id)
    stored = await edge.serving.run(stored_packet, edge, row.blob, row.size)
    return Sent(lambda: send_stored(asked, stored, edge.serving))


@router.head("/packets/{packet_id}/seal", include_in_schema=False)
@router.get(
    "/packets/{packet_id}/seal",
    response_class=Response,
    responses={**_SEAL, **refusals(400, 401, 404)},
    summary="Dấu niêm phong của nút / the node's seal",
)
async def sent_seal(edge: TheEdge, caller: Calling, packet_id: PacketId) -> Response:
    """The seal made when the packet was accepted: a small signed statement of its digests, sender, recipients, time."""
    row = await edge.looking.run(_own, edge, caller, packet_id)
    return Response(bytes(row.seal), media_type=XML.decode())


@router.head("/packets/{packet_id}/attachments/{position}", include_in_schema=False)
@router.get(
    "/packets/{packet_id}/attachments/{position}",
    response_class=Response,
    responses={**_FILE, **refusals(400, 401, 404, 416)},
    summary="Tệp đính kèm của gói tin tôi đã gửi / one attachment",
)
async def sent_attachment(
    edge: TheEdge, caller: Calling, asked: Here, packet_id: PacketId, position: Position
) -> Response:
    """One file out of the packet, decoded from its place while it is sent."""
    row = await edge.looking.run(_own, edge, caller, packet_id)
    stored = await edge.serving.run(_stored_attachment, edge, row.blob, row.attachments, position)
    return Sent(lambda: send_stored(asked, stored, edge.serving))


def _own(edge: Edge, caller: Caller, packet_id: str) -> Any:
    """The packet's row where the caller sent it; in a thread. Raises NotFound, foreign and absent alike."""
    with edge.node.store.read() as connection:
        row = packets.by_ids(connection, [packet_id]).get(packet_id)
        gone = None if row is not None else views.archived_id(connection, packet_id)
    if gone is not None:
        raise NotFound("api.archived_document", month=gone.month)
    if row is None or row.sender_id not in caller.agency_ids:
        raise NotFound("api.unknown_document")
    return row


def _stored_attachment(
    edge: Edge, digest: str, attachments: str, position: int, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Stored:
    """One attachment, ready to be decoded; in a thread. Raises NotFound, BlobMissing."""
    attachment = next((one for one in read_attachments(attachments) if one.position == position), None)
    if attachment is None:
        raise NotFound("api.unknown_attachment", position=position)
    name = quote(attachment.name or f"tep-{position}", safe="")
    return Stored(
        size=attachment.length,
        digest=attachment.digest,
        file=edge.node.store.blobs.open(digest),
        pieces=lambda file, wanted: decoded_pieces(file, wanted, attachment),
        kind=b"application/octet-stream",  # never what the packet says: a browser must not run it
        headers=(
            *headers,
            (b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()),
            (b"x-content-type-options", b"nosniff"),
        ),
    )


# --- for a recipient -------------------------------------------------------------------------------------------


@router.head("/inbox/{delivery_id}/attachments/{position}", include_in_schema=False)
@router.get(
    "/inbox/{delivery_id}/attachments/{position}",
    response_class=Response,
    responses={**_FILE, **refusals(400, 401, 404, 409, 410, 416)},
    summary="Tệp đính kèm của mục trong hộp đến / one attachment of an item",
)
async def item_attachment(
    edge: TheEdge, caller: Calling, asked: Here, delivery_id: DeliveryId, position: Position
) -> Response:
    """One file of an item, decoded. Like fetching the packet it makes the item `fetched`; confirm it afterwards."""
    if asked.is_head:
        looked = await edge.looking.run(collect.look, edge.node, Fetch(caller=caller, delivery_id=delivery_id))
        stored = await edge.serving.run(_attachment_of, edge, looked, position)
        return Sent(lambda: send_stored(asked, stored, edge.serving))
    opened = await open_item(edge, caller, delivery_id)
    item = opened.served.item

    async def send() -> None:
        try:
            stored = await edge.serving.run(_attachment_of, edge, item, position)
            await send_stored(asked, stored, edge.serving, opened.served.seconds)
        except (BlobMissing, BlobDamaged) as why:
            raise await park_damaged(edge, caller, item, why) from why
        finally:
            edge.endings.add(opened.served)

    return Sent(send)


def _attachment_of(edge: Edge, item: Item, position: int) -> Stored:
    return _stored_attachment(edge, item.digest, item.attachments, position, key_header(item))


@router.head("/inbox/{delivery_id}/seal", include_in_schema=False)
@router.get(
    "/inbox/{delivery_id}/seal",
    response_class=Response,
    responses={**_SEAL, **refusals(400, 401, 404, 409, 410)},
    summary="Dấu niêm phong của gói tin trong hộp đến / the seal of an item",
)
async def item_seal(edge: TheEdge, caller: Calling, delivery_id: DeliveryId) -> Response:
    """The seal of an item's packet. It holds no content: reading it is no fetch."""
    seal = await edge.looking.run(_seal_of_item, edge, caller, delivery_id)
    return Response(seal, media_type=XML.decode())


def _seal_of_item(edge: Edge, caller: Caller, delivery_id: str) -> bytes:
    item = collect.look(edge.node, Fetch(caller=caller, delivery_id=delivery_id))
    with edge.node.store.read() as connection:
        return bytes(packets.by_ids(connection, [item.packet_id])[item.packet_id].seal)
