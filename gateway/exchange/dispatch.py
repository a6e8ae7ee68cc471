"""Dispatch (phân luồng): one Delivery per recipient and one Transfer per next hop, in the transaction of accept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edxml.values import hasten
from gateway.exchange.advance import Effects, do_moves
from gateway.exchange.answers import stored_answers
from gateway.exchange.rows import packet_row
from gateway.exchange.submission import Answer, Prepared
from gateway.model.chain import Chain, Link, Move
from gateway.model.copies import altered
from gateway.model.errors import Conflict, Refusal
from gateway.model.events import Event, EventKind
from gateway.model.instants import new_id, new_id_after
from gateway.model.machine import admit
from gateway.model.moves import TRANSFER_STATES
from gateway.model.states import DeliveryState, LinkKind
from gateway.model.step import Pace
from gateway.store import Connection, deliveries, packets, transfers
from gateway.store.chains import drop_chains, ensure_chains, insert_chains, load_chains, with_archived
from gateway.store.deliveries import NewDelivery
from gateway.store.packets import DocumentRow, PacketRow
from gateway.store.together import Together
from gateway.store.transfers import ChannelFacts, NewTransfer
from routing.plan import Leg, RouteProblem

__all__ = ["Dispatch", "Dispatched", "dispatch"]


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One packet to write with its deliveries; the document row as it will be."""

    prepared: Prepared
    document: DocumentRow
    document_is_new: bool
    may_repeat: bool = False  #: recipients that have a packet which says the same get nothing new
    is_revision: bool = False  #: where none says the same: only for those who refused or could not be reached
    keeps_document: bool = False  #: a status changes nothing of its document


@dataclass(slots=True)
class Dispatched:
    """What was written: lines of the answers, repeats, refusals, effects."""

    lines: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    repeats: dict[str, Answer] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)


@dataclass(slots=True)
class _Rows:
    chains: list[tuple[str, str, str]] = field(default_factory=list)  #: id, root, agency
    packets: list[PacketRow] = field(default_factory=list)
    deliveries: list[NewDelivery] = field(default_factory=list)
    transfers: list[NewTransfer] = field(default_factory=list)
    documents: tuple[list[DocumentRow], list[DocumentRow]] = field(default_factory=lambda: ([], []))
    moves: list[Move] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def dispatch(
    connection: Connection,
    orders: Sequence[Dispatch],
    pace: Pace,
    *,
    now: int,
    is_careful: bool = False,
    channels: Iterable[ChannelFacts] | None = None,
) -> Dispatched:
    """Write packets, deliveries, transfers and events of orders that touch different documents.

    A recipient that has the same packet already gets nothing new; where that is all of them, the first answer goes
    back.  A revision is refused (`document.conflict`), whoever it is addressed to, as long as anybody has, or may get,
    what the document said before.
    `is_careful`: chains of a new document may be there already; without it they are taken to be new, and a conflict
    of constraints says that they were not.  `channels`: of the legs, where they were asked for in this transaction.
    """
    done = Dispatched()
    if not orders:
        return done
    if channels is None:
        legs = (leg for order in orders for leg in order.prepared.plan.legs)
        channels = transfers.channel_facts(connection, {leg.channel_id for leg in legs})
    facts = {channel.channel_id: channel for channel in channels}
    rows = _Rows()
    chains, made = _open_chains(connection, orders, rows, is_careful)
    for order in orders:
        _dispatch_one(connection, order, facts, chains, rows, done, pace, now)
    used = {delivery.chain_id for delivery in rows.deliveries}
    drop_chains(connection, sorted(made - used))
    together = Together()
    insert_chains(together, [chain for chain in rows.chains if chain[0] in used])
    packets.insert_new(together, rows.packets)
    packets.save_documents(together, *rows.documents)
    transfers.insert_new(together, rows.transfers)
    actor = orders[0].prepared.submission.caller.name
    at = orders[0].prepared.submission.received_at
    deliveries.insert_new(connection, rows.deliveries, now=now, happened=rows.events, beside=together)
    done.effects = do_moves(connection, chains.values(), rows.moves, now=now, at=at, actor=actor)
    for delivery in rows.deliveries:
        if delivery.link.state is DeliveryState.AVAILABLE:
            done.effects.topics.add(f"inbox:{delivery.agency_id}")
        elif delivery.link.state is DeliveryState.READY:
            done.effects.topics.add("relay")
            if delivery.is_urgent:
                done.effects.topics.add("relay.urgent")
    return done


def _open_chains(
    connection: Connection, orders: Sequence[Dispatch], rows: _Rows, is_careful: bool
) -> tuple[dict[tuple[str, str], Chain], set[str]]:
    """Lock and load the chain of each (document, recipient), making those that are missing, in sorted order.

    Gives also the ids of those that were made; those of documents that are new themselves are `rows` yet.
    """
    wanted = sorted({(o.document.root, leg.agency_id) for o in orders for leg in o.prepared.plan.legs})
    brand_new = {o.document.root for o in orders if o.document_is_new and o.document.root == o.document.key}
    brand_new = set() if is_careful else brand_new  # a replacement may have come before what it replaces
    new = {pair: new_id() for pair in wanted if pair[0] in brand_new}
    rows.chains = [(chain_id, root, agency) for (root, agency), chain_id in new.items()]
    known = [pair for pair in wanted if pair not in new]
    wished = [(new_id(), root, agency) for root, agency in known]
    ids = new | ensure_chains(connection, wished)
    loaded = load_chains(connection, [ids[pair] for pair in known])
    made = set(ids.values()) & {chain_id for chain_id, _, _ in wished}
    for chain in with_archived(connection, [chain for chain_id, chain in loaded.items() if chain_id not in made]):
        loaded[chain.id] = chain
    return {pair: loaded.get(ids[pair], Chain(ids[pair], ())) for pair in wanted}, made


def _dispatch_one(
    connection: Connection,
    order: Dispatch,
    facts: Mapping[str, ChannelFacts],
    chains: Mapping[tuple[str, str], Chain],
    rows: _Rows,
    done: Dispatched,
    pace: Pace,
    now: int,
) -> None:
    prepared = order.prepared
    legs = list(prepared.plan.legs)
    of_leg = {leg.agency_id: chains[order.document.root, leg.agency_id] for leg in legs}
    document = order.document.key.split("|", 1)[1]
    if any(_is_recalled(of_leg[leg.agency_id], order, leg.agency_id) for leg in legs):
        done.refused[prepared.packet_id] = Conflict("document.recalled", document=document)
        return
    same: frozenset[str] = frozenset()
    if order.may_repeat:
        same = packets.packets_like(connection, order.document.root, prepared.fingerprint)
        having = [leg for leg in legs if _held(of_leg[leg.agency_id], same)]
        legs = [leg for leg in legs if leg not in having]
        if same and not legs:
            first = _held(of_leg[having[0].agency_id], same)[0] if having else order.document.packet_id
            done.repeats[prepared.packet_id] = stored_answers(connection, {first})[first]
            return
    if (order.may_repeat or order.is_revision) and (
        any(of_leg[leg.agency_id].is_archived for leg in legs)  # what is gone may have said the same
        or (not same and not packets.has_root(connection, order.document.root))
    ):
        done.refused[prepared.packet_id] = Conflict("submission.archived", document=document)
        return
    if order.is_revision and not same and packets.is_held(connection, order.document.key):
        done.refused[prepared.packet_id] = Conflict("document.conflict", document=document)
        return
    if not order.keeps_document and not (order.is_revision and same):
        rows.documents[0 if order.document_is_new else 1].append(order.document)
    rows.events.append(_accepted_event(prepared))
    order = altered(order, is_revision=order.is_revision and not same)
    added = _plan_links(order, legs, facts, chains, pace, now)
    written = added.deliveries + _undeliverable(order, prepared.plan.problems)
    rows.packets.append(packet_row(prepared, order.document.root, [delivery.organ for delivery in written], now))
    rows.deliveries += written
    rows.transfers += added.transfers
    rows.moves += added.moves
    done.lines[prepared.packet_id] = [_line(delivery) for delivery in written]


def _held(chain: Chain, packet_ids: frozenset[str]) -> list[str]:
    """Which of these packets this recipient has, or had, oldest first."""
    return [link.packet_id for link in chain if link.packet_id in packet_ids]


def _is_recalled(chain: Chain, order: Dispatch, agency_id: str) -> bool:
    """A document after its recall, for this recipient (rule 6): it would arrive where it was taken back.

    An update may put back whom another one removed.
    """
    prepared = order.prepared
    if prepared.kind in (LinkKind.RECALL, LinkKind.STATUS) or agency_id in prepared.removed | prepared.added:
        return False
    return chain.is_recalled(order.document.key)


def _plan_links(
    order: Dispatch,
    legs: Sequence[Leg],
    facts: Mapping[str, ChannelFacts],
    chains: Mapping[tuple[str, str], Chain],
    pace: Pace,
    now: int,
) -> _Rows:
    """One link per leg, admitted to its chain; recipients share a transfer only while their predecessors share one."""
    rows = _Rows()
    shared: dict[tuple[str, str, str], list[tuple[Leg, Chain, Link, Move]]] = {}
    for leg in legs:
        chain = chains[order.document.root, leg.agency_id]
        link = _link(order, leg, chain, facts[leg.channel_id], now)
        chain = chain.longer(link)
        own, *others = admit(chain, link, now, pace)
        rows.moves += [altered(move, actor=order.prepared.submission.caller.name) for move in others]
        before = chain.links[-2].transfer_id if len(chain.links) > 1 else ""
        alone = leg.agency_id if facts[leg.channel_id].is_polled else ""
        group = (leg.channel_id, str(own.after), before + alone)
        shared.setdefault(group, []).append((leg, chain, link, own))
    for (channel_id, state, _), members in shared.items():
        transfer_id = new_id()
        for leg, chain, link, own in members:
            rows.deliveries.append(
                NewDelivery(
                    link=altered(link, transfer_id=transfer_id, state=own.after),
                    chain_id=chain.id,
                    position=chain.links[-2].position + 1 if len(chain.links) > 1 else 1 + chain.is_archived,
                    agency_id=leg.agency_id,
                    organ=leg.organ_ids[0],
                    book=order.prepared.docket.book,
                    reason=str(own.reason),
                    leg=str(leg.reason),
                    at=order.prepared.submission.received_at,
                    actor=order.prepared.submission.caller.name,
                    is_urgent=order.prepared.is_urgent,
                    readdressed_from=leg.readdressed_from or "",
                )
            )
        rows.transfers.append(
            _transfer(order.prepared, transfer_id, channel_id, DeliveryState(state), len(members), now)
        )
    return rows


def _link(order: Dispatch, leg: Leg, chain: Chain, channel: ChannelFacts, now: int) -> Link:
    prepared, document = order.prepared, order.document.key
    kind = LinkKind.RECALL if leg.agency_id in prepared.removed else prepared.kind
    if order.is_revision and chain.packets_of(document):
        kind = LinkKind.UPDATE  # what it says comes after all that this recipient had (rule 6)
    return Link(
        delivery_id=new_id_after(prepared.packet_id, chain.id),  # where rows lie is told by it
        transfer_id="",
        packet_id=prepared.packet_id,
        kind=kind,
        state=DeliveryState.WAITING,
        accepted_at=now,
        is_polled=channel.is_polled,
        sink=channel.sink,
        adds_recipient=leg.agency_id in prepared.added,
        document=document,
        copy=leg.readdressed_from or leg.agency_id,
        replaces=prepared.replaces,
    )


def _transfer(
    prepared: Prepared, transfer_id: str, channel_id: str, state: DeliveryState, members: int, now: int
) -> NewTransfer:
    return NewTransfer(
        id=transfer_id,
        packet_id=prepared.packet_id,
        channel_id=channel_id,
        state=TRANSFER_STATES[state],
        members=0 if state.is_final else members,
        due_at=now if state is DeliveryState.READY else None,
        is_urgent=prepared.is_urgent,
        size=prepared.submission.size,
    )


def _undeliverable(order: Dispatch, problems: Sequence[RouteProblem]) -> list[NewDelivery]:
    """`recipients=some`: whom nobody can reach becomes a final row in the answer and in the account."""
    made = []
    for problem in problems:
        delivery_id = new_id_after(order.prepared.packet_id)
        link = Link(
            delivery_id=delivery_id, transfer_id="", packet_id=order.prepared.packet_id, kind=order.prepared.kind,
            state=DeliveryState.UNDELIVERABLE, accepted_at=order.prepared.submission.received_at,
            document=order.document.key, copy=problem.agency_id or "", replaces=order.prepared.replaces,
        )  # fmt: skip
        made.append(
            NewDelivery(
                link=link,
                chain_id=delivery_id,
                position=1,
                agency_id=problem.agency_id or "",
                organ=problem.organ_id[:80],
                book=order.prepared.docket.book,
                reason=str(problem.code),
                leg="none",
                at=order.prepared.submission.received_at,
                actor=order.prepared.submission.caller.name,
            )
        )
    return made


def _line(delivery: NewDelivery) -> Mapping[str, Any]:
    return {
        "delivery_id": delivery.link.delivery_id,
        "agency_id": delivery.agency_id,
        "organ_id": delivery.organ,
        "state": str(delivery.link.state),
        "reason": delivery.reason,
        "leg": delivery.leg,
        "readdressed_from": delivery.readdressed_from,
    }


def _accepted_event(prepared: Prepared) -> Event:
    return Event(
        kind=EventKind.PACKET_ACCEPTED,
        at=prepared.submission.received_at,
        actor=prepared.submission.caller.name,
        book=prepared.docket.book,
        packet_id=prepared.packet_id,
        agency_id=prepared.sender_id,
        system_id=prepared.submission.caller.system_id,
        state_after="accepted",
        reason=str(prepared.kind),
    )
