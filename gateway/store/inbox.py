"""The inbox of a polled channel: what waits for an agency, and single items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    true,
    union_all,
    update,
)

from gateway.model.instants import CLOCKS_APART, HOUR
from gateway.model.states import DeliveryState
from gateway.store.dialect import lock_and_select, texts, whole_numbers
from gateway.store.months.bounds import among_ids, of_row, one_of, since
from gateway.store.months.listed import LISTED, kept_since, listed_since
from gateway.store.schema import chains, channels, deliveries, is_state, packets, transfers
from gateway.store.statements import execute_rows, select_rows

__all__ = ["LONGEST_RESPONSE", "Item", "Listing", "items", "kept_since", "listed_since", "rotate", "waiting"]

LONGEST_RESPONSE: Final = 1 * HOUR
"""Longest time that one response may run, and hide its item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One delivery as its recipient's software sees it."""

    delivery_id: str
    key: str  #: the delivery key: stable over all fetches
    transfer_id: str
    chain_id: str
    agency_id: str
    organ: str
    state: str
    since: int
    turn: int
    is_polled: bool
    packet_id: str
    document_id: str
    sender_id: str
    kind: str
    book: str
    status_code: str
    sender: str
    notation: str
    subject: str
    is_urgent: bool
    size: int
    digest: str
    attachments: str
    accepted_at: int
    readdressed_from: str
    members: int  #: deliveries that share its transfer and are not at their end
    speaks_for_agency: bool  #: the node reports for this agency, whose software cannot


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """To see what waits for one agency, up to `limit` items. `after`: those whose delivery id sorts after it, in the
    order of ids ("" is before all); None: those whose turn it is."""

    agency_id: str
    limit: int
    after: str | None = None


_COLUMNS = (
    deliveries.c.id, deliveries.c.transfer_id, deliveries.c.chain_id, deliveries.c.agency_id, deliveries.c.organ,
    deliveries.c.state, deliveries.c.since, deliveries.c.polled_at, deliveries.c.book, deliveries.c.kind,
    deliveries.c.readdressed_from, deliveries.c.packet_id, deliveries.c.is_urgent,
    transfers.c.turn, transfers.c.members, channels.c.is_polled, channels.c.speaks_for_agency,
)  # fmt: skip
_FROM = deliveries.join(transfers, transfers.c.id == of_row(deliveries.c.transfer_id)).join(
    channels, transfers.c.channel_id == channels.c.id
)
_OF_PACKET = (
    packets.c.document_id, packets.c.sender_id, packets.c.status_code, packets.c.sender_organ, packets.c.notation,
    packets.c.subject, packets.c.size, packets.c.blob, packets.c.attachments, packets.c.accepted_at,
)  # fmt: skip
_PACKETS = select(packets.c.id, *_OF_PACKET).where(among_ids(packets.c.id))


_KINDS: Final = tuple((state, is_urgent) for is_urgent in (True, False) for state in LISTED)


_AGENCY: ColumnElement[str] = bindparam("agency")
_MOST: ColumnElement[int] = bindparam("most")


def _listed(state: DeliveryState, is_urgent: bool, agency: ColumnElement[str] = _AGENCY) -> Select[tuple[str]]:
    """Ids of one state and urgency that no response hides."""
    return select(deliveries.c.id).where(
        deliveries.c.agency_id == agency,
        is_state(deliveries.c.state, state),
        since(deliveries.c.id),
        deliveries.c.is_urgent.is_(is_urgent),
        (deliveries.c.served_until <= bindparam("now")) | (deliveries.c.served_until > bindparam("longest")),
    )


def _in_order_of_index(
    state: DeliveryState, is_urgent: bool, agency: ColumnElement[str] = _AGENCY, most: ColumnElement[int] = _MOST
) -> Select[tuple[str]]:
    """So that no more than a list's worth are looked at."""
    return _listed(state, is_urgent, agency).order_by(deliveries.c.polled_at, deliveries.c.id).limit(most)


def _never_passed_over(state: DeliveryState, is_urgent: bool) -> Select[tuple[str]]:
    """Those after an id that stand in the index in the order of their ids: nearly all."""
    found = _in_order_of_index(state, is_urgent)
    return found.where(deliveries.c.polled_at == literal_column("0"), deliveries.c.id > bindparam("after"))


def _passed_over(state: DeliveryState, is_urgent: bool) -> Select[tuple[str]]:
    """Those after an id that were shown and left: all of them are looked at, in the index."""
    after = deliveries.c.id > bindparam("after")
    found = _listed(state, is_urgent).where(deliveries.c.polled_at > literal_column("0"), after)
    return found.order_by(of_row(deliveries.c.id)).limit(bindparam("most"))


def _united(some: Iterable[Select[tuple[str]]]) -> CompoundSelect[tuple[str]]:
    return union_all(*(select(one.subquery().c.id) for one in some))


def _together(*some: Select[tuple[str]]) -> Select[tuple[str]]:
    return select(_united(some).subquery("candidates").c.id)


_WAITING = _together(*(_in_order_of_index(*kind) for kind in _KINDS))
_WISHES = func.unnest(texts("agencies"), whole_numbers("mosts")).table_valued("agency", "most").render_derived("wishes")
_EACH = _united(
    _in_order_of_index(*kind, literal_column("wishes.agency"), literal_column("wishes.most")) for kind in _KINDS
).lateral("candidates")
_WAITING_FOR_EACH = select(_WISHES.c.agency, _EACH.c.id).select_from(_WISHES.join(_EACH, true()))
"""On PostgreSQL: one statement however many agencies ask, where more than one does."""
_AFTER = _together(*(find(*kind) for find in (_never_passed_over, _passed_over) for kind in _KINDS))
_ITEMS = select(*_COLUMNS).select_from(_FROM).where(among_ids(deliveries.c.id))
_WITH_PACKETS = (
    select(*_COLUMNS, *_OF_PACKET)
    .select_from(_FROM.join(packets, packets.c.id == of_row(deliveries.c.packet_id)))
    .where(among_ids(deliveries.c.id))
)  # fmt: skip
_CHAINS = (
    select(chains.c.id)
    .where(one_of(chains.c.id, select(deliveries.c.chain_id).where(among_ids(deliveries.c.id))))
    .order_by(chains.c.id)
)  # fmt: skip
_ROTATE = update(deliveries).where(deliveries.c.id == bindparam("b_id")).values(polled_at=bindparam("now"))


def _ids(connection: Connection, wish: Listing, values: Mapping[str, Any]) -> list[str]:
    asked = {"agency": wish.agency_id, "most": wish.limit, **values}
    if wish.after is None:
        return [row.id for row in select_rows(connection, _WAITING, asked)]
    asked |= {"after": wish.after, "low": max(asked["low"], wish.after)}
    return sorted(row.id for row in select_rows(connection, _AFTER, asked))[: wish.limit]


def _candidates(connection: Connection, wishes: Sequence[Listing], values: Mapping[str, Any]) -> list[list[str]]:
    """Per wish the ids that may be in its list."""
    mosts: dict[str, int] = {}
    for one in wishes:
        if one.after is None:
            mosts[one.agency_id] = max(one.limit, mosts.get(one.agency_id, 0))
    if len(mosts) < 2 or connection.dialect.name == "sqlite":
        return [_ids(connection, one, values) for one in wishes]
    found: dict[str, list[str]] = {agency: [] for agency in mosts}
    given = {"agencies": list(mosts), "mosts": list(mosts.values()), **values}
    for row in select_rows(connection, _WAITING_FOR_EACH, given):
        found[row.agency].append(row.id)
    return [found[one.agency_id] if one.after is None else _ids(connection, one, values) for one in wishes]


def _order_of(wish: Listing) -> Callable[[Any], Any]:
    return _in_turn if wish.after is None else attrgetter("id")


def _in_turn(row: Any) -> tuple[Any, ...]:
    return row.polled_at, not row.is_urgent, row.state == DeliveryState.FETCHED, row.id


def _with_packets(connection: Connection, rows: Sequence[Any], *, is_last: bool = False) -> list[Item]:
    """The packets are asked for by id: PostgreSQL then looks into no month but theirs."""
    ids = {"ids": list({row.packet_id for row in rows})}
    packets_ = select_rows(connection, _PACKETS, ids, is_last=is_last) if rows else ()
    found = {packet.id: packet for packet in packets_}
    return [_item(row, found[row.packet_id]) for row in rows if row.packet_id in found]


def _item(row: Any, packet: Any) -> Item:
    return Item(
        delivery_id=row.id,
        key=row.transfer_id,
        transfer_id=row.transfer_id,
        chain_id=row.chain_id,
        agency_id=row.agency_id,
        organ=row.organ,
        state=row.state,
        since=row.since,
        turn=row.turn,
        is_polled=row.is_polled,
        packet_id=row.packet_id,
        document_id=packet.document_id,
        sender_id=packet.sender_id,
        kind=row.kind,
        book=row.book,
        status_code=packet.status_code,
        sender=packet.sender_organ,
        notation=packet.notation,
        subject=packet.subject,
        is_urgent=row.is_urgent,
        size=packet.size,
        digest=packet.blob,
        attachments=packet.attachments,
        accepted_at=packet.accepted_at,
        readdressed_from=row.readdressed_from,
        members=row.members,
        speaks_for_agency=row.speaks_for_agency,
    )


def waiting(
    connection: Connection, wishes: Sequence[Listing], *, now: int, low: str = "", is_last: bool = False
) -> list[list[Item]]:
    """What each agency may fetch: least recently passed over first, then urgent, new before fetched; where it goes
    `after` an id, in the order of ids.

    Urgent ones that nobody fetches hide nobody either (protocol §10).  `low`: what `listed_since` gave in this
    transaction, so that no month is looked into before it.  `is_last`: the transaction executes nothing after it.
    """
    # One that is hidden for longer was hidden by a clock that was ahead.
    longest = now + LONGEST_RESPONSE + CLOCKS_APART
    ids = _candidates(connection, wishes, {"now": now, "longest": longest, "low": low})
    wanted = sorted({delivery_id for each in ids for delivery_id in each})
    found = {row.id: row for row in select_rows(connection, _ITEMS, {"ids": wanted})} if wanted else {}
    lists = [
        sorted((found[delivery_id] for delivery_id in each if delivery_id in found), key=_order_of(one))[: one.limit]
        for each, one in zip(ids, wishes, strict=True)
    ]
    listed = [row for rows in lists for row in rows]
    items = {item.delivery_id: item for item in _with_packets(connection, listed, is_last=is_last)}
    return [[items[row.id] for row in rows if row.id in items] for rows in lists]


def items(connection: Connection, delivery_ids: Iterable[str]) -> dict[str, Item]:
    """These deliveries, as far as they exist; in a transaction that writes with their chains locked (protocol §6)."""
    ids = {"ids": sorted(delivery_ids)}
    [rows] = lock_and_select(connection, (_CHAINS, ids), [(_WITH_PACKETS, ids)])
    return {row.id: _item(row, row) for row in rows}


def rotate(connection: Connection, delivery_ids: Sequence[str], now: int) -> None:
    """These were shown: the next list begins with others."""
    if delivery_ids:
        execute_rows(connection, _ROTATE, [{"b_id": delivery_id, "now": now} for delivery_id in sorted(delivery_ids)])
