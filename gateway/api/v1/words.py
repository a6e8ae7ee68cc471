"""The words of the hot answers, encoded by msgspec; `shapes` documents the same words for OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.exchange.collect import Listing
from gateway.exchange.submission import Answer
from gateway.model.instants import local_iso
from gateway.model.states import DeliveryState
from gateway.store.inbox import Item

__all__ = ["encode_answer", "encode_items", "item_words"]

_encode = msgspec.json.Encoder().encode


def encode_answer(answer: Answer) -> bytes:
    """What a sender is told."""
    return _encode(
        {
            "packet_id": answer.packet_id,
            "document_id": answer.document_id,
            "is_repeat": answer.is_repeat,
            "accepted_at": local_iso(answer.accepted_at),
            "recipients": answer.recipients,
            "all_undeliverable": _is_for_nobody(answer),
            "findings": [finding.as_dict() for finding in answer.findings],
            "repairs": answer.repairs,
        }
    )


def _is_for_nobody(answer: Answer) -> bool:
    """With `recipients=some` a packet is taken also where none of its recipients can be reached (protocol §12)."""
    states = {line["state"] for line in answer.recipients}
    return states == {DeliveryState.UNDELIVERABLE}


def encode_items(items: Sequence[Item], wish: Listing) -> bytes:
    """What waits in an inbox; in a walk through it also where to go on, "" where there was nothing more."""
    words: dict[str, object] = {"items": [item_words(item) for item in items]}
    if wish.after is not None:
        words["next"] = items[-1].delivery_id if len(items) == wish.limit else ""
    return _encode(words)


class _File(msgspec.Struct):
    """One attachment as the packet's row keeps it; what is not told is left out."""

    position: int
    name: str
    content_type: str
    digest: str
    length: int


_files = msgspec.json.Decoder(list[_File])


def item_words(item: Item) -> dict[str, object]:
    """One item as its recipient sees it."""
    return {
        "delivery_id": item.delivery_id,
        "key": item.key,
        "packet_id": item.packet_id,
        "document_id": item.document_id,
        "kind": item.kind,
        "book": item.book,
        "status_code": item.status_code,
        "sender": item.sender,
        "notation": item.notation,
        "subject": item.subject,
        "is_urgent": item.is_urgent,
        "size": item.size,
        "digest": item.digest,
        "accepted_at": local_iso(item.accepted_at),
        "state": item.state,
        "readdressed_from": item.readdressed_from,
        "attachments": _files.decode(item.attachments),
    }
