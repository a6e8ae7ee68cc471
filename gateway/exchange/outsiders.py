"""Telling outsiders (báo cho phần mềm bên ngoài): software that subscribes learns at once that something moved.

    agency.<id>.sent.<state>        a packet of this agency, at one recipient
    agency.<id>.received.<state>    a packet for this agency

A hint, as every ticket and wake-up: it may be lost, it holds ids and codes only, and whoever hears it asks the API.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from gateway.model.chain import Move
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import deliveries

__all__ = ["tell_outsiders"]

_PASSING = frozenset({DeliveryState.WAITING, DeliveryState.READY, DeliveryState.CLAIMED, DeliveryState.FETCHED})
"""States that nobody outside waits for."""


def tell_outsiders(node: Node, moves: Iterable[Move]) -> None:
    """After the commit of these moves. Nothing where the transport has no outsiders; raises what reading raises."""
    told = {move.delivery_id: move.after for move in moves if move.after not in _PASSING}
    if not told or not node.transport.has_outsiders:
        return
    with node.store.read() as connection:
        parties = deliveries.parties_of(connection, told)
    for party in parties:
        state = told[party.delivery_id]
        body = json.dumps(
            {
                "delivery_id": party.delivery_id,
                "packet_id": party.packet_id,
                "document_id": party.document_id,
                "sender": party.sender_id,
                "recipient": party.agency_id,
                "state": str(state),
            }
        ).encode()
        node.transport.publish_event(f"agency.{party.sender_id}.sent.{state}", body)
        node.transport.publish_event(f"agency.{party.agency_id}.received.{state}", body)
