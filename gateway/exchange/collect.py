"""Collect (nhận tại hộp đến): the polled side of delivery. The recipient's software lists, fetches, confirms (rule 10).

No ticket is needed: an item is available in the accept commit, broker or no broker.  `fetched` is committed before
the first byte goes out and counts as claimed; while a response runs, the item is hidden from other polls.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from edxml.crashpoints import crash_point, declare
from gateway.exchange.advance import Effects, Planned, advance, give_wakes
from gateway.exchange.outsiders import parties_to_tell
from gateway.exchange.telling import tell_collected
from gateway.identity import Caller
from gateway.model.chain import Chain, Link, Move, NotInChain, Reason
from gateway.model.copies import altered
from gateway.model.errors import Conflict, Gone, NotFound, Refusal
from gateway.model.instants import DAY, SECOND, Instant, new_id
from gateway.model.machine import conclude
from gateway.model.states import AttemptEnd, DeliveryState
from gateway.model.step import Pace, Report, Step
from gateway.node import Node
from gateway.store import Connection, attempts, deliveries, inbox, views
from gateway.store.chains import Loaded, Named, load, load_held, lock_named
from gateway.store.deliveries import Party
from gateway.store.inbox import Item, Listing
from gateway.store.repeating import repeated_where_undone
from gateway.store.together import Together

__all__ = [
    "Confirm", "Fetch", "Known", "Listing", "Served", "Shown", "confirm", "end_responses", "fetch", "list_items",
    "look", "unknown_item",
]  # fmt: skip

declare("collect.fetched", "the fetch is written; no byte has gone out")
declare("collect.confirmed", "the confirmation is written; the recipient has not been answered")

_LEAST_RATE = 16 * 1024
"""Bytes a second that a response must run at: after a lease and the time that this takes it is over, come what may.

So the item of a process that died is shown again soon, and a recall behind it goes on soon (rule 10).
"""

_KEPT = 30 * DAY
"""How long a confirmed item may still be fetched (rule 10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A wish to read one item."""

    caller: Caller
    delivery_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A fetch that may go on: what to send, and the attempt to end when the response has ended ("" where none)."""

    item: Item
    attempt_id: str
    seconds: float  #: after which the response must have ended: its attempt counts as over then


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """What the recipient says of one item: `arrived`, or a transport failure with its reason.

    `fault` is why it parks then; the edge says there that the fault is ours (the blob is missing or damaged).
    """

    caller: Caller
    delivery_id: str
    arrived: bool = True
    reason: str = ""
    fault: Reason = Reason.RECIPIENT_FAILED


class Shown:
    """What the last full list of each inbox showed, in the memory of one process: most of it is fetched before the
    next list, and need not be written down. Used in one thread."""

    def __init__(self) -> None:
        self._last: dict[str, frozenset[str]] = {}

    def note(self, wish: Listing, items: Sequence[Item]) -> None:
        """This list goes out.

        One that is not full, but longer than the last full one, is another poller's: who asks for less is not shown it.
        """
        if wish.after is not None:  # a walk through everything says nothing of whose turn it is
            return
        if len(items) == wish.limit:
            self._last[wish.agency_id] = frozenset(item.delivery_id for item in items)
        elif len(items) <= len(self._last.get(wish.agency_id, ())):
            self._last.pop(wish.agency_id, None)

    def again(self, wish: Listing, items: Sequence[Item]) -> set[str]:
        """What a full list would show once more."""
        is_full = wish.after is None and len(items) == wish.limit
        last = self._last.get(wish.agency_id, frozenset()) if is_full else frozenset()
        return {item.delivery_id for item in items if item.delivery_id in last}


class Known:
    """What never changes of deliveries that were fetched of late, in the memory of one process: their confirmations
    come soon. One thread notes, another one asks."""

    def __init__(self, most: int = 4_096) -> None:
        self._most = most
        self._named: dict[str, Named] = {}

    def note(self, items: Iterable[Item]) -> None:
        """These were fetched; of more than `most` the earliest are forgotten."""
        for item in items:
            party = Party(
                delivery_id=item.delivery_id, packet_id=item.packet_id, document_id=item.document_id,
                sender_id=item.sender_id, agency_id=item.agency_id,
            )  # fmt: skip
            self._named[item.delivery_id] = Named(chain_id=item.chain_id, party=party)
        while len(self._named) > self._most:
            del self._named[next(iter(self._named))]

    def of(self, delivery_ids: Iterable[str]) -> dict[str, Named] | None:
        """Who these are; None where one of them is not known."""
        found = {delivery_id: self._named.get(delivery_id) for delivery_id in delivery_ids}
        return None if None in found.values() else cast("dict[str, Named]", found)


@repeated_where_undone
def list_items(node: Node, group: Sequence[Listing], shown: Shown) -> tuple[list[Item], ...]:
    """Per wish the items that wait: those passed over least recently first, then urgent, then the oldest; where it goes
    `after` a delivery, in the order of ids: who walks on from the last one shown sees each that waits once.

    What stands in two full lists running is passed over, so that items nobody fetches cannot hide those behind them
    (rule 10).  A process that has just begun, or another one, may show it once more.
    """
    with node.store.read(is_hop=True, asks_first=True) as connection:
        kept = inbox.kept_since(connection)
        now = node.store.now(connection)
        lists = inbox.waiting(connection, group, now=now, low=inbox.listed_since(kept, now), is_last=True)
    again = [shown.again(one, items) for one, items in zip(group, lists, strict=True)]
    if any(again):
        with node.store.write() as connection:
            now = node.store.now(connection)
            inbox.rotate(connection, sorted(set().union(*again)), now)
            low = inbox.listed_since(inbox.kept_since(connection), now)
            lists = inbox.waiting(connection, group, now=now, low=low)
    for one, items in zip(group, lists, strict=True):
        shown.note(one, items)
    return tuple(lists)


# --- fetch -----------------------------------------------------------------------------------------------------


@repeated_where_undone
def fetch(node: Node, group: Sequence[Fetch], known: Known | None = None) -> tuple[Served | Refusal, ...]:
    """Begin responses. Each is written down before its first byte; unknown and foreign items answer alike.

    What is served is `known` to whoever takes its confirmation.

    A repeat is another response. Withdrawn and expired items are gone; confirmed ones stay readable for 30 days.
    Crash points: collect.fetched.
    """
    began, reckoning = time.monotonic(), node.store.reckoning
    boot_now = reckoning.clock.boot_now()
    with node.store.write(asks_first=True) as connection:
        found = inbox.items(connection, {want.delivery_id for want in group})
        now = node.store.now(connection)
        outcomes: list[Served | Refusal] = []
        begun: list[attempts.Response] = []
        first: dict[str, Move] = {}
        for want in group:
            outcome = _may_serve(connection, want, found.get(want.delivery_id), now)
            if isinstance(outcome, Item) and outcome.state in _UNCONFIRMED:
                response = attempts.Response(
                    id=new_id(), delivery_id=outcome.delivery_id, transfer_id=outcome.transfer_id, turn=outcome.turn,
                    landing=reckoning.begins(now, _serving_time(outcome.size, node.pace), boot_now=boot_now),
                )  # fmt: skip
                begun.append(response)
                if outcome.state == DeliveryState.AVAILABLE:
                    first[outcome.delivery_id] = _fetched(outcome, want.caller)
                outcomes.append(_served(outcome, node.pace, response.id))
            else:
                outcomes.append(_served(outcome, node.pace) if isinstance(outcome, Item) else outcome)
        beside = Together()
        hidden = attempts.begin_responses(beside, begun, first.keys(), worker=node.worker, now=now)
        deliveries.apply(
            connection, tuple(first.values()), now=now, at=node.now(), actor=group[0].caller.name, facts=found,
            hidden=hidden, beside=beside, is_last=True, commits=True,
        )  # fmt: skip
    crash_point("collect.fetched")
    if known is not None:
        known.note(one.item for one in outcomes if isinstance(one, Served))
    give_wakes(node, Effects(moves=list(first.values())))
    agencies = {delivery_id: item.agency_id for delivery_id, item in found.items()}
    tell_collected(node, "item.fetched", _told([want.delivery_id for want in group], agencies, outcomes), began)
    return tuple(outcomes)


def _serving_time(size: int, pace: Pace) -> int:
    """Microseconds that a response with `size` bytes may run."""
    return min(inbox.LONGEST_RESPONSE, pace.lease + size * SECOND // _LEAST_RATE)


def _served(item: Item, pace: Pace, attempt_id: str = "") -> Served:
    return Served(item=item, attempt_id=attempt_id, seconds=_serving_time(item.size, pace) / SECOND)


def _told(
    delivery_ids: Sequence[str], agencies: Mapping[str, str], outcomes: Sequence[object]
) -> list[tuple[str, str, str | None]]:
    """(delivery, agency, reason of a refusal) per member of a group, for its log lines."""
    return [
        (d, agencies.get(d, ""), o.reason if isinstance(o, Refusal) else None)
        for d, o in zip(delivery_ids, outcomes, strict=True)
    ]


def look(node: Node, want: Fetch) -> Item:
    """What a fetch would serve, without beginning a response: no byte of the packet may follow. Raises Refusal."""
    with node.store.read(is_hop=True) as connection:
        found = inbox.items(connection, [want.delivery_id]).get(want.delivery_id)
        outcome = _may_serve(connection, want, found, node.store.now(connection))
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


_UNCONFIRMED = (DeliveryState.AVAILABLE, DeliveryState.FETCHED)


def unknown_item(connection: Connection, delivery_id: str) -> NotFound:
    """What is answered to an absent and to a foreign id alike; of a month that went, to every id."""
    gone = views.archived_id(connection, delivery_id)
    return NotFound("inbox.unknown_item") if gone is None else NotFound("inbox.archived", month=gone.month)


def _may_serve(connection: Connection, want: Fetch, item: Item | None, now: int) -> Item | Refusal:
    if item is None or item.agency_id not in want.caller.agency_ids or not item.is_polled:
        return unknown_item(connection, want.delivery_id)
    if item.state in _UNCONFIRMED:
        return item
    if item.state == DeliveryState.DELIVERED and now < item.since + _KEPT:
        return item
    if item.state in (DeliveryState.WITHDRAWN, DeliveryState.EXPIRED, DeliveryState.DELIVERED):
        return Gone("inbox.gone", state=item.state)
    if item.state == DeliveryState.PARKED:
        return Conflict("inbox.parked")
    return NotFound("inbox.unknown_item")


def _fetched(item: Item, caller: Caller) -> Move:
    return Move(
        delivery_id=item.delivery_id,
        transfer_id=item.transfer_id,
        before=DeliveryState.AVAILABLE,
        after=DeliveryState.FETCHED,
        reason=Reason.FETCHED,
        actor=caller.name,
    )


@repeated_where_undone
def end_responses(node: Node, attempt_ids: Sequence[str]) -> tuple[None, ...]:
    """Responses ended, whole or broken off: what they sent may have arrived; others may see it again."""
    with node.store.write() as connection:
        attempts.end_responses(connection, attempt_ids, node.store.now(connection))
    return (None,) * len(attempt_ids)


# --- confirm ---------------------------------------------------------------------------------------------------


@repeated_where_undone
def confirm(node: Node, group: Sequence[Confirm], known: Known | None = None) -> tuple[DeliveryState | Refusal, ...]:
    """Take confirmations: the state that each item has afterwards. Repeats get the same answer.

    Who is not `known` yet is asked for first: a trip to the database more.

    Before any fetch a confirmation is refused, unless it may have come by an earlier channel; a late one of a fetched
    item is always taken (rule 10).  A transport failure parks the item and tells the sender.
    Crash points: collect.confirmed.
    """
    began = time.monotonic()
    with node.store.write(asks_first=True) as connection:
        named, loaded, now = _load(connection, node, {said.delivery_id for said in group}, known)
        outcomes, planned = _decide_all(connection, node, group, named, loaded.chains, now)
        effects = advance(
            connection, loaded.chains, planned, pace=node.pace, now=now, at=node.now(), actor=group[0].caller.name,
            facts=loaded.facts, is_last=True,
        )  # fmt: skip
        parties = parties_to_tell(node, connection, effects.moves, {d: one.party for d, one in named.items()})
    crash_point("collect.confirmed")
    give_wakes(node, effects, parties)
    agencies = {delivery_id: one.party.agency_id for delivery_id, one in named.items()}
    tell_collected(node, "item.confirmed", _told([said.delivery_id for said in group], agencies, outcomes), began)
    return tuple(outcomes)


def _load(
    connection: Connection, node: Node, delivery_ids: Collection[str], known: Known | None
) -> tuple[Mapping[str, Named], Loaded, Instant]:
    """Who these are, their chains, locked, and the time when that was done."""
    named = None if known is None else known.of(delivery_ids)
    if named is not None:
        loaded = load(connection, {one.chain_id for one in named.values()}, of=named.keys())
        # Where families were united since the fetch, this is another chain than that which is known.
        now_in = {link.delivery_id: chain.id for chain in loaded.chains.values() for link in chain}
        there = {i: altered(one, chain_id=now_in[i]) for i, one in named.items() if i in now_in}
        return there, loaded, node.store.now(connection)
    named = lock_named(connection, delivery_ids)
    now = node.store.now(connection)
    loaded = load_held(connection, {one.chain_id for one in named.values()})
    if gone := named.keys() - loaded.facts.keys():
        raise NotInChain(*gone)
    return named, loaded, now


def _decide_all(
    connection: Connection,
    node: Node,
    group: Sequence[Confirm],
    named: Mapping[str, Named],
    chains: Mapping[str, Chain],
    now: int,
) -> tuple[list[DeliveryState | Refusal], list[Planned]]:
    outcomes: list[DeliveryState | Refusal] = []
    planned: list[Planned] = []
    seen: set[str] = set()
    meant = [_link_of(said, named, chains) for said in group]
    arrived = {said.delivery_id for said, link in zip(group, meant, strict=True) if link is not None and said.arrived}
    for said, link in zip(group, meant, strict=True):
        if link is None:
            outcomes.append(unknown_item(connection, said.delivery_id))
            continue
        # Of a failure and a receipt of one item in one group the receipt wins (rule 6a).
        decided = _decide(node, said, link, now, has_arrived=said.delivery_id in arrived)
        if isinstance(decided, Refusal):
            outcomes.append(decided)
            continue
        outcomes.append(link.state if decided.move is None else decided.move.after)
        if said.delivery_id not in seen and decided.move is not None:
            seen.add(said.delivery_id)
            planned.append(
                Planned(
                    chain_id=named[said.delivery_id].chain_id,
                    delivery_id=said.delivery_id,
                    step=decided,
                    detail=said.reason[:200],
                    actor=said.caller.name,
                )
            )
    return outcomes, planned


def _link_of(said: Confirm, named: Mapping[str, Named], chains: Mapping[str, Chain]) -> Link | None:
    """The item that somebody speaks of; None where there is none, or it is not theirs to speak of."""
    one = named.get(said.delivery_id)
    if one is None or one.party.agency_id not in said.caller.agency_ids:
        return None
    link = chains[one.chain_id].find(said.delivery_id)
    return link if link.is_polled else None


def _decide(node: Node, said: Confirm, link: Link, now: int, *, has_arrived: bool) -> Step | Refusal:
    if link.state in (DeliveryState.DELIVERED, DeliveryState.REFUSED):
        return Step(move=None)
    if link.state is DeliveryState.PARKED and not has_arrived:
        return Step(move=None)  # the failure was told before
    if not link.may_have_arrived():  # an attempt of an earlier channel that surely did not arrive is no fetch
        if link.state in (DeliveryState.WITHDRAWN, DeliveryState.EXPIRED):
            return Gone("inbox.gone", state=link.state)
        return Conflict("inbox.not_fetched")
    if has_arrived:
        report = Report(arrived=True, turn=link.turn, reason=Reason.CONFIRMED)
        return altered(conclude(link, report, now, node.pace), end_turn=None)
    if link.state is not DeliveryState.FETCHED:
        return Conflict("inbox.not_fetched")
    move = Move(
        delivery_id=link.delivery_id,
        transfer_id=link.transfer_id,
        before=link.state,
        after=DeliveryState.PARKED,
        reason=said.fault,
    )
    return Step(move=move, end=AttemptEnd.UNKNOWN)
