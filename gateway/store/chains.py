"""Chains (chuỗi văn bản): one row per document and recipient, which is what gets locked, and its links as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, delete, exists, insert, select, update

from gateway.model.chain import Attempt, Chain, Link, SinkSureness
from gateway.model.states import AttemptEnd, DeliveryState, LinkKind, TransferState
from gateway.store.deliveries import Facts, Party
from gateway.store.dialect import among, inserting_missing, lock_and_select, writes_beside_others
from gateway.store.months.bounds import among_ids, low_of, of_row, one_of, since
from gateway.store.months.periods import gone_until
from gateway.store.reckoning import Reckoning, reckoning_of
from gateway.store.schema import attempts, chains, channels, deliveries, packets, transfers
from gateway.store.statements import (
    change_and_select,
    execute_one,
    execute_rows,
    select_one,
    select_rows,
    select_together,
)
from gateway.store.together import Together

__all__ = [
    "ATTEMPTS", "LINKED", "MADE", "Loaded", "Named", "attempts_of", "chain_of", "chains_of_deliveries", "drop_chains",
    "ensure_chains", "insert_chains", "link_of", "load", "load_chains", "load_held", "lock_named", "put_in_order",
    "was_sent",
    "with_archived",
]  # fmt: skip

_CHAIN_OF = select(chains.c.id, chains.c.root, chains.c.agency_id).where(among(chains.c.root, "roots"))
_INSERT_CHAIN = insert(chains)
_LOCK = select(chains.c.id).where(among(chains.c.id, "ids")).order_by(chains.c.id)
LINKED = select(
    deliveries.c.chain_id, deliveries.c.id, deliveries.c.transfer_id, deliveries.c.packet_id, deliveries.c.kind,
    deliveries.c.state, deliveries.c.accepted_at, deliveries.c.head_since, deliveries.c.adds_recipient,
    deliveries.c.position, deliveries.c.agency_id, deliveries.c.book,
    deliveries.c.document, deliveries.c.copy.label("copy_of"), deliveries.c.replaces,
    transfers.c.turn, transfers.c.tries, transfers.c.unreported, transfers.c.permits, transfers.c.members,
    transfers.c.state.label("carried"), channels.c.is_polled, channels.c.sink, channels.c.speaks_for_agency,
).select_from(
    deliveries.join(transfers, transfers.c.id == of_row(deliveries.c.transfer_id))
    .join(channels, transfers.c.channel_id == channels.c.id)
)  # fmt: skip
"""Rows that `link_of` makes links of."""
MADE = select(
    attempts.c.id, attempts.c.delivery_id, attempts.c.transfer_id, attempts.c.turn, attempts.c.began_at,
    attempts.c.over_by, attempts.c.lasts, attempts.c.boot, attempts.c.boot_over, attempts.c.outcome,
    attempts.c.ended_at,
)  # fmt: skip
"""Rows that `attempts_of` reads."""
ATTEMPTS = MADE.where(among(attempts.c.delivery_id, "ids")).order_by(attempts.c.id)
_LINKS = LINKED.where(among(deliveries.c.chain_id, "ids"), since(deliveries.c.id)).order_by(of_row(transfers.c.id))
_LINKS_LOCKED = _LINKS.with_for_update(of=transfers)
"""Their transfers are locked in one order, so that two who load chains never wait for each other."""
_IDS_OF = select(deliveries.c.id).where(among(deliveries.c.chain_id, "ids"), since(deliveries.c.id))
_ATTEMPTS_OF = MADE.where(one_of(attempts.c.delivery_id, _IDS_OF)).order_by(of_row(attempts.c.id))
"""On PostgreSQL: by chain, so that it needs not the answer of what finds the links."""
_CHAIN_IDS = select(deliveries.c.id, deliveries.c.chain_id).where(among_ids(deliveries.c.id))
_NAMED = (
    select(
        deliveries.c.id, deliveries.c.chain_id, deliveries.c.packet_id, deliveries.c.agency_id,
        packets.c.document_id, packets.c.sender_id,
    )
    .select_from(deliveries.join(packets, packets.c.id == of_row(deliveries.c.packet_id))
                 .join(chains, chains.c.id == of_row(deliveries.c.chain_id)))
    .where(among_ids(deliveries.c.id))
    .order_by(of_row(chains.c.id))
)  # fmt: skip
_NAMED_LOCKED = _NAMED.with_for_update(of=chains)


def ensure_chains(connection: Connection, wanted: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str], str]:
    """Make the row of each (new id, root, agency) that is missing; gives the chain's id by (root, agency)."""
    if not wanted:
        return {}
    rows = [{"id": new, "root": root, "agency_id": agency} for new, root, agency in wanted]
    roots = sorted({root for _, root, _ in wanted})
    statement, ordered = inserting_missing(connection, chains, rows, "root", "agency_id")
    _, (found,) = change_and_select(connection, statement, ordered, [(_CHAIN_OF, {"roots": roots})])
    return {(row.root, row.agency_id): row.id for row in found}


def insert_chains(beside: Together, new: Sequence[tuple[str, str, str]]) -> None:
    """Write chains (id, root, agency) of documents that are new in this transaction, with what is done `beside`;
    StoreConflict then if they are not."""
    beside.add(_INSERT_CHAIN, [{"id": i, "root": root, "agency_id": agency} for i, root, agency in new])


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Chains as values, by id, and what a move must know of each of their deliveries."""

    chains: dict[str, Chain]
    facts: dict[str, Facts]
    beside: list[list[Any]] = field(default_factory=list)  #: rows of what was asked beside


def load_chains(connection: Connection, ids: Iterable[str], *, lock: bool = True) -> dict[str, Chain]:
    """The chains with these ids, as `load`."""
    return load(connection, ids, lock=lock).chains


def load(
    connection: Connection,
    ids: Iterable[str],
    *,
    lock: bool = True,
    beside: Sequence[tuple[Executable, Mapping[str, Any]]] = (),
    of: Collection[str] = (),
) -> Loaded:
    """The chains with these ids, their rows locked in sorted order (protocol §6), each link with its attempts.

    With their links the transfers that carry these: a claim, a lease and an attempt are written by whoever holds the
    transfer, not the chain, and none of them may come between what is decided by these links and its being written
    down.  `beside`: what else is to be selected in the same trip, once all is locked.  `of`: the deliveries for whose
    sake; where one has gone to another chain since its chain's id was read, as families were united, that one is loaded
    too.
    """
    wanted = sorted(set(ids))
    links, made, *others = _read(connection, wanted, locks=lock, is_held=lock, beside=beside)
    loaded = replace(_loaded(connection, wanted, links, made), beside=others)
    gone = set(of) - loaded.facts.keys()
    if gone and (now := set(chains_of_deliveries(connection, gone).values()) - loaded.chains.keys()):
        more = load(connection, now, lock=lock, of=gone)
        return replace(loaded, chains=loaded.chains | more.chains, facts={**loaded.facts, **more.facts})
    return loaded


def load_held(connection: Connection, ids: Iterable[str]) -> Loaded:
    """The same, of chains whose rows this transaction has locked already."""
    wanted = sorted(set(ids))
    return _loaded(connection, wanted, *_read(connection, wanted, locks=False, is_held=True))


def _read(
    connection: Connection,
    wanted: Sequence[str],
    *,
    locks: bool,
    is_held: bool,
    beside: Sequence[tuple[Executable, Mapping[str, Any]]] = (),
) -> list[list[Any]]:
    """Rows of their links, of the attempts of these, and of what is asked beside; where others write meanwhile all in
    one trip."""
    values = {"ids": wanted, "low": low_of(wanted)}
    if not wanted:
        return [[], [], *(select_together(connection, beside) if beside else ())]
    if connection.dialect.name == "sqlite":
        links, *others = select_together(connection, [(_LINKS, values), *beside])
        return [links, select_rows(connection, ATTEMPTS, {"ids": [row.id for row in links]}), *others]
    is_held = is_held and writes_beside_others(connection)
    asked = [(_LINKS_LOCKED if is_held else _LINKS, values), (_ATTEMPTS_OF, values), *beside]
    locking = (_LOCK, {"ids": wanted}) if locks else None
    links, made, *others = lock_and_select(connection, locking, asked)
    if is_held and any(map(_was_claimed_meanwhile, links)):
        links = select_rows(connection, _LINKS_LOCKED, values)
    return [links, made, *others]


def _loaded(connection: Connection, wanted: Sequence[str], found: Sequence[Any], attempted: Sequence[Any]) -> Loaded:
    rows = sorted(found, key=attrgetter("chain_id", "position"))
    by_delivery = attempts_of(connection, attempted)
    links: dict[str, list[Link]] = defaultdict(list)
    for row in rows:
        links[row.chain_id].append(link_of(row, by_delivery))
    return Loaded(
        chains={chain_id: _chain(chain_id, tuple(links.get(chain_id, ()))) for chain_id in wanted},
        facts={row.id: row for row in rows},
    )


def _was_claimed_meanwhile(row: Any) -> bool:
    """A claim held the transfer when it was to be locked: of what waited only the transfer is as the claim left it, the
    delivery is as it was before. Nothing but a claim changes deliveries without their chain."""
    return bool(row.state == DeliveryState.READY and row.carried == TransferState.CLAIMED)


def _chain(chain_id: str, links: tuple[Link, ...]) -> Chain:
    """Places begin at 1 and grow: where the first that is left stands further on, those before it were archived."""
    return Chain(chain_id, links, is_archived=bool(links) and links[0].position > 1)


_ENDED = select(chains.c.id, chains.c.ended_recalled).where(among(chains.c.id, "ids"))


def with_archived(connection: Connection, loaded: Iterable[Chain]) -> list[Chain]:
    """Chains of earlier transactions as they are known where none of their links is left.

    A chain's row is made with its first link, so one without any was archived whole, if that can be by its time.
    """
    found = list(loaded)
    empty = [chain.id for chain in found if not chain.links]
    if not empty or not (until := gone_until(connection)):
        return found
    gone = {row.id: row.ended_recalled for row in select_rows(connection, _ENDED, {"ids": empty}) if row.id < until}
    return [
        replace(chain, is_archived=True, ended_recalled=gone[chain.id]) if chain.id in gone else chain
        for chain in found
    ]


_DROP = delete(chains).where(among(chains.c.id, "ids"))


def drop_chains(connection: Connection, ids: Sequence[str]) -> None:
    """Forget chains that were made in this transaction for links that were not written."""
    if ids:
        execute_one(connection, _DROP, {"ids": list(ids)})


_PLACE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("b_id"))
    .values(chain_id=bindparam("chain"), position=bindparam("place"))
)
_TURN = (
    update(deliveries)
    .where(deliveries.c.chain_id == bindparam("chain"), deliveries.c.position < 0, since(deliveries.c.id))
    .values(position=-deliveries.c.position)
)


def put_in_order(connection: Connection, chain: Chain) -> None:
    """Write the places of a chain's links, by way of places that nobody has: no two of a chain are alike."""
    rows = [{"b_id": link.delivery_id, "chain": chain.id, "place": -link.position} for link in chain]
    execute_rows(connection, _PLACE, rows)
    execute_one(connection, _TURN, {"chain": chain.id, "low": low_of([chain.id])})


def chains_of_deliveries(connection: Connection, delivery_ids: Iterable[str]) -> dict[str, str]:
    """The chain's id of each delivery that exists."""
    rows = select_rows(connection, _CHAIN_IDS, {"ids": list(delivery_ids)})
    return {row.id: row.chain_id for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A delivery that somebody names, as far as it never changes."""

    chain_id: str
    party: Party


def lock_named(connection: Connection, delivery_ids: Iterable[str]) -> dict[str, Named]:
    """The deliveries with these ids that exist and have a packet; the rows of their chains are locked, and the chains
    may be loaded by `load_held`."""
    statement = _NAMED_LOCKED if writes_beside_others(connection) else _NAMED
    rows = select_rows(connection, statement, {"ids": sorted(delivery_ids)})
    return {
        row.id: Named(
            chain_id=row.chain_id,
            party=Party(
                delivery_id=row.id, packet_id=row.packet_id, document_id=row.document_id, sender_id=row.sender_id,
                agency_id=row.agency_id,
            ),
        )
        for row in rows
    }  # fmt: skip


def _attempt(row: Any, reckoning: Reckoning) -> Attempt:
    end = None if row.outcome is None else AttemptEnd(row.outcome)
    left = reckoning.left(row) if end is None or end is AttemptEnd.UNKNOWN else None
    return Attempt(
        id=row.id, transfer_id=row.transfer_id, turn=row.turn, over_by=row.over_by, left=left, end=end,
        ended_at=row.ended_at,
    )  # fmt: skip


def attempts_of(connection: Connection, rows: Iterable[Any]) -> dict[str, list[Attempt]]:
    """Attempts by their delivery, in the order of these rows of `MADE`."""
    reckoning = reckoning_of(connection)
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in rows:
        found[row.delivery_id].append(_attempt(row, reckoning))
    return found


def link_of(row: Any, made: Mapping[str, Sequence[Attempt]]) -> Link:
    """The link that a row of `LINKED` tells of, with its attempts among these."""
    return Link(
        delivery_id=row.id,
        transfer_id=row.transfer_id,
        packet_id=row.packet_id,
        kind=LinkKind(row.kind),
        state=DeliveryState(row.state),
        accepted_at=row.accepted_at,
        head_since=row.head_since,
        attempts=tuple(made.get(row.id, ())),
        turn=row.turn,
        is_polled=row.is_polled,
        sink=SinkSureness.stored(row.sink),
        adds_recipient=row.adds_recipient,
        tries=row.tries,
        unreported=row.unreported,
        permits=row.permits,
        position=row.position,
        document=row.document,
        copy=row.copy_of,
        replaces=tuple(row.replaces.split("\n")) if row.replaces else (),
    )


# --- by document and recipient -------------------------------------------------------------------------------

_CHAIN_BY_PAIR = select(chains.c.id).where(
    chains.c.root == bindparam("root"), chains.c.agency_id == bindparam("agency")
)
_WAS_SENT = select(
    exists().where(
        chains.c.root == bindparam("root"),
        chains.c.agency_id == bindparam("agency"),
        deliveries.c.chain_id == chains.c.id,
    )
)


def chain_of(connection: Connection, root: str, agency_id: str) -> str | None:
    """The chain's id of one document and recipient, None where there is none."""
    found: str | None = select_one(connection, _CHAIN_BY_PAIR, {"root": root, "agency": agency_id})
    return found


def was_sent(connection: Connection, root: str, agency_id: str) -> bool:
    """Whether this document was ever planned for this recipient; also where it was archived since."""
    if select_one(connection, _WAS_SENT, {"root": root, "agency": agency_id}):
        return True
    found = chain_of(connection, root, agency_id)
    return found is not None and with_archived(connection, [Chain(found, ())])[0].is_archived
