"""A store filled row by row, through the store's own functions, as accept and the hops would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sqlalchemy import insert

from gateway.model.chain import Link, Move, Reason
from gateway.model.events import Event, EventKind
from gateway.model.instants import new_id
from gateway.model.moves import FIRST, TRANSFER_STATES
from gateway.model.states import Book, DeliveryState, LinkKind
from gateway.store import Connection, Store, deliveries, events, open_store, schema, transfers
from gateway.store.chains import ensure_chains
from gateway.store.together import Together
from tests.support.leaving import folder_of_this_process
from tests.support.postgres import cluster
from tests.support.stores import Database, HandClock

_TEMPLATE = "khuon_kho"
CHANNEL = "channel-inbox"
START = 1_760_000_000_000_000  # an instant in October 2025


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A packet that was stored, and its deliveries in order of its recipients."""

    packet_id: str
    delivery_ids: tuple[str, ...]


@dataclass(slots=True)
class FilledStore:
    """A temporary store and what is needed to fill it."""

    store: Store
    clock: HandClock
    states: dict[str, DeliveryState] = field(default_factory=dict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)

    def send(
        self,
        recipients: Sequence[str],
        *,
        sender: str = "a-sender",
        root: str = "",
        book: Book = Book.DOCUMENTS,
        kind: LinkKind = LinkKind.NEW,
        first: DeliveryState = DeliveryState.AVAILABLE,
        named: Sequence[str] | None = None,
        subject: str = "Về việc phòng, chống thiên tai",
        status_code: str = "",
        packet_id: str = "",
        document_key: str = "",
    ) -> Sent:
        """Store one accepted packet for agencies; `named`: organ ids in its row, where other than theirs."""
        packet_id, now = packet_id or new_id(), self.clock.turn()
        root = root or f"root-{packet_id}"
        links = [self._link(packet_id, kind, first, now) for _ in recipients]
        with self.store.write() as connection:
            row = _packet_row(packet_id, sender, root, book, kind, now)
            row |= {"subject": subject, "status_code": status_code, "document_key": document_key or root}
            row["recipients"] = json.dumps([f"organ-{agency}" for agency in recipients] if named is None else named)
            connection.execute(insert(schema.packets), [row])
            accepted = Event(
                kind=EventKind.PACKET_ACCEPTED, at=now, actor="test", book=book, packet_id=packet_id, agency_id=sender
            )
            events.append(connection, [accepted], now)
            chains = ensure_chains(connection, [(new_id(), root, agency) for agency in recipients])
            write_transfers(connection, [_transfer(link) for link in links])
            new = [
                deliveries.NewDelivery(
                    link=link, chain_id=chains[root, agency], position=self._position(root, agency), agency_id=agency,
                    organ=f"organ-{agency}", book=book, reason=Reason.PLANNED, leg="direct",
                    at=now, actor="test",
                )
                for link, agency in zip(links, recipients, strict=True)
            ]  # fmt: skip
            deliveries.insert_new(connection, new, now=now)
        self.states |= {link.delivery_id: first for link in links}
        return Sent(packet_id=packet_id, delivery_ids=tuple(link.delivery_id for link in links))

    def move(self, delivery_id: str, *to: DeliveryState, reason: Reason = Reason.CONFIRMED, detail: str = "") -> None:
        """Move one delivery along, all in one transaction."""
        now = self.clock.turn()
        moves = []
        for after in to:
            moves.append(
                Move(
                    delivery_id=delivery_id, transfer_id="", before=self.states[delivery_id], after=after,
                    reason=reason, detail=detail,
                )
            )  # fmt: skip
            self.states[delivery_id] = after
        with self.store.write() as connection:
            deliveries.apply(connection, moves, now=now, at=now, actor="test")

    def _position(self, root: str, agency: str) -> int:
        self.positions[root, agency] = self.positions.get((root, agency), -1) + 1
        return self.positions[root, agency]

    def _link(self, packet_id: str, kind: LinkKind, first: DeliveryState, now: int) -> Link:
        assert first in FIRST
        return Link(
            delivery_id=new_id(), transfer_id=new_id(), packet_id=packet_id, kind=kind, state=first, accepted_at=now
        )


@cache
def _template() -> Path:
    """The data folder of a migrated database that others are copied from: migrations are made once."""
    folder = folder_of_this_process("template")
    open_store(folder, node="t", database=cluster().create(_TEMPLATE)).close()
    return folder


def fill_store(folder: Path, database: Database = Database.SQLITE) -> FilledStore:
    """An empty store with one channel."""
    clock = HandClock(START)
    url = ""
    if database is Database.POSTGRESQL:
        shutil.copytree(_template(), folder, dirs_exist_ok=True)
        url = cluster().create(template=_TEMPLATE)
    store = open_store(folder, node="t", database=url, clock=clock)
    channel = {"id": CHANNEL, "kind": "inbox", "sink": "idempotent", "is_polled": True, "state": "open"}
    with store.write() as connection:
        connection.execute(insert(schema.channels), [channel])
    return FilledStore(store, clock)


def _packet_row(
    packet_id: str, sender: str, root: str, book: Book, kind: LinkKind, now: int
) -> dict[str, str | int | bool | bytes | None]:
    return {
        "id": packet_id, "kind": kind, "book": book, "document_key": root, "document_id": f"id of {root}",
        "root": root, "sender_id": sender, "system_id": "system", "sender_organ": f"organ-{sender}",
        "notation": "12/TB-UBND", "subject": "", "status_code": "", "is_urgent": False,
        "wire_digest": packet_id, "fingerprint": packet_id, "blob": packet_id, "size": 1000, "attachments": "[]",
        "repairs": "[]", "recipients": "[]", "seal": b"", "accepted_at": now, "recorded_at": now,
    }  # fmt: skip


def _transfer(link: Link) -> transfers.NewTransfer:
    return transfers.NewTransfer(
        id=link.transfer_id, packet_id=link.packet_id, channel_id=CHANNEL,
        state=TRANSFER_STATES[link.state], members=int(not link.state.is_final),
        due_at=link.accepted_at if link.state is DeliveryState.READY else None, is_urgent=False, size=1000,
    )  # fmt: skip


def write_transfers(connection: Connection, new: Sequence[transfers.NewTransfer]) -> None:
    """Write transfers at once."""
    together = Together()
    transfers.insert_new(together, new)
    together.execute(connection)
