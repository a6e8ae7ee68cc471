"""Events: append-only; the account and the timeline are made from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert

from gateway.model.events import RULE_VERSION, Event, leaf_digest
from gateway.model.instants import new_id
from gateway.store.schema import events
from gateway.store.together import Together
from gateway.store.witnesses import note

__all__ = ["append"]

_INSERT = insert(events)


def append(
    connection: Connection, happened: Sequence[Event], recorded_at: int, *, beside: Together | None = None
) -> None:
    """Write events down, in order, at once or with what is done `beside` them.

    They can never be changed or deleted afterwards (triggers refuse it).
    """
    together = Together() if beside is None else beside
    rows = [_row(event, recorded_at) for event in happened]
    together.add(_INSERT, rows)
    if rows:
        note(connection, rows[-1]["id"], rows[-1]["packet_id"], recorded_at)
    if beside is None:
        together.execute(connection)


def _row(event: Event, recorded_at: int) -> dict[str, Any]:
    event_id = new_id()
    return {
        "id": event_id,
        "kind": event.kind,
        "book": event.book,
        "packet_id": event.packet_id,
        "delivery_id": event.delivery_id,
        "agency_id": event.agency_id,
        "system_id": event.system_id,
        "state_after": event.state_after,
        "holder_after": event.holder_after,
        "reason": event.reason,
        "actor": event.actor,
        "at": event.at,
        "recorded_at": recorded_at,
        "reported_at": event.reported_at,
        "rule_version": RULE_VERSION,
        "salt": event.salt,
        "leaf": leaf_digest(event, event_id, recorded_at, RULE_VERSION),
    }
