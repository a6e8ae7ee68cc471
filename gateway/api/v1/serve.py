"""Serving an item: GET /v1/inbox/{delivery_id}/packet. `fetched` is committed before the first byte (protocol §10)."""

from __future__ import annotations

from gateway.api.asked import Asked
from gateway.api.edge import Edge, Opened
from gateway.api.lanes import ask
from gateway.api.problems import ItemDamaged, ItemMissing
from gateway.api.sending import OPENING, Stored, check_size, file_pieces, packet_kind, send_small, send_stored
from gateway.exchange import collect
from gateway.exchange.collect import Confirm, Fetch
from gateway.identity import Caller
from gateway.model.chain import Reason
from gateway.model.errors import BlobDamaged, BlobMissing, Refusal, StoreError
from gateway.model.states import DeliveryState
from gateway.store.inbox import Item
from monitoring import log

__all__ = ["fetch_packet", "key_header", "open_item", "park_damaged", "stored_packet"]

_log = log.get("api.serve")


def key_header(item: Item) -> tuple[tuple[bytes, bytes], ...]:
    """`Truc-Key`: the delivery key, the same over all fetches; whoever keeps it sees every packet once."""
    return ((b"truc-key", item.key.encode()),)


async def open_item(edge: Edge, caller: Caller, delivery_id: str) -> Opened:
    """Begin a response. Whoever opens one ends it by `edge.endings.add`. Raises NotFound, Gone."""
    opened: Opened | Refusal = await ask(edge.fetching.submit, Fetch(caller=caller, delivery_id=delivery_id))
    if isinstance(opened, Refusal):
        raise opened
    edge.gate.asked_for(opened.served.item.agency_id)
    return opened


async def fetch_packet(edge: Edge, asked: Asked) -> None:
    """The packet's bytes as they were received; ranges, and HEAD, which begins no response. Raises as `open_item`."""
    caller = asked.caller = await edge.gate.admit(asked.header(b"authorization"))
    delivery_id = asked.ids["delivery_id"]
    if asked.is_head:
        item = await edge.looking.run(collect.look, edge.node, Fetch(caller=caller, delivery_id=delivery_id))
        await _send(edge, asked, item, None, 0.0)  # no byte is sent
        return
    opened = await open_item(edge, caller, delivery_id)
    try:
        await _send(edge, asked, opened.served.item, opened.body, opened.served.seconds)
    except (BlobMissing, BlobDamaged) as why:
        raise await park_damaged(edge, caller, opened.served.item, why) from why
    finally:
        edge.endings.add(opened.served)


async def _send(edge: Edge, asked: Asked, item: Item, body: bytes | None, seconds: float) -> None:
    if body is not None:
        await send_small(asked, body, item.digest, packet_kind(body[:OPENING]), key_header(item))
        return
    stored = await edge.serving.run(stored_packet, edge, item.digest, item.size, item.key)
    await send_stored(asked, stored, edge.serving, seconds)


def stored_packet(edge: Edge, digest: str, size: int, key: str = "") -> Stored:
    """A packet as it was received; in a thread. Raises BlobMissing, BlobDamaged."""
    file = edge.node.store.blobs.open(digest)
    check_size(file, size, digest)
    return Stored(
        file=file,
        size=size,
        digest=digest,
        pieces=file_pieces,
        kind=packet_kind(file.read(OPENING)),
        headers=((b"truc-key", key.encode()),) if key else (),
    )


async def park_damaged(edge: Edge, caller: Caller, item: Item, why: BlobMissing | BlobDamaged) -> StoreError:
    """What cannot be served as it was accepted waits for a person, with the reason, and is offered no more.

    Gives what its recipient is told: an item confirmed before stays as it is.
    """
    _log.error("blob.unusable", reason=why.code, delivery=item.delivery_id, packet=item.packet_id)
    fault = Reason.BLOB_MISSING if isinstance(why, BlobMissing) else Reason.BLOB_DAMAGED
    wish = Confirm(caller=caller, delivery_id=item.delivery_id, arrived=False, reason=why.code, fault=fault)
    outcome = await ask(edge.confirming.submit, wish)
    if outcome != DeliveryState.PARKED:
        return why
    return ItemMissing(**why.params) if isinstance(why, BlobMissing) else ItemDamaged(**why.params)
