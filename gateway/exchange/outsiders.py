"""Telling outsiders (báo cho phần mềm bên ngoài): software that subscribes learns at once that something moved.

    agency.<id>.sent.<state>        a packet of this agency, at one recipient
    agency.<id>.received.<state>    a packet for this agency

A hint, as every ticket and wake-up: it may be lost, it holds ids and codes only, and whoever hears it asks the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.model.chain import Move
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import Connection, deliveries
from gateway.store.deliveries import Party

__all__ = ["parties_to_tell", "tell_outsiders"]

_ENCODE = msgspec.json.Encoder().encode

_PASSING = frozenset({DeliveryState.WAITING, DeliveryState.READY, DeliveryState.CLAIMED, DeliveryState.FETCHED})
"""States that nobody outside waits for."""


def parties_to_tell(
    node: Node, connection: Connection, moves: Iterable[Move], known: Mapping[str, Party]
) -> list[Party]:
    """Whom these moves concern; who is not `known` is read in this transaction, which saves one after the commit."""
    told = _told(node, moves)
    missing = [delivery_id for delivery_id in told if delivery_id not in known]
    found = deliveries.parties_of(connection, missing) if missing else []
    return [*(known[delivery_id] for delivery_id in told if delivery_id in known), *found]


def tell_outsiders(node: Node, moves: Iterable[Move], parties: Sequence[Party] | None = None) -> None:
    """After the commit of these moves. Nothing where the transport has no outsiders; raises what reading raises."""
    told = _told(node, moves)
    if not told:
        return
    if parties is None:
        with node.store.read(is_hop=True) as connection:
            parties = deliveries.parties_of(connection, told)
    for party in parties:
        state = told[party.delivery_id]
        body = _ENCODE(
            {
                "delivery_id": party.delivery_id,
                "packet_id": party.packet_id,
                "document_id": party.document_id,
                "sender": party.sender_id,
                "recipient": party.agency_id,
                "state": str(state),
            }
        )
        node.transport.publish_event(f"agency.{party.sender_id}.sent.{state}", body)
        node.transport.publish_event(f"agency.{party.agency_id}.received.{state}", body)


def _told(node: Node, moves: Iterable[Move]) -> dict[str, DeliveryState]:
    if not node.transport.has_outsiders:
        return {}
    return {move.delivery_id: move.after for move in moves if move.after not in _PASSING}
