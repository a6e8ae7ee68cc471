"""Families (họ văn bản): documents tied by replacement have one root, and so at each agency one chain.

A document's row says its family's root, or a former one, whose row says the next: who unites two families changes one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from heapq import merge

from sqlalchemy import Connection, bindparam, select, update

from gateway.model.chain import Chain, Link
from gateway.model.copies import altered
from gateway.store.chains import load_chains, put_in_order, with_archived
from gateway.store.dialect import AloneAt, among, lock_alone
from gateway.store.months.holds import HoldKind
from gateway.store.schema import chains, documents, packets
from gateway.store.schema_periods import holds
from gateway.store.statements import execute_one, execute_rows, select_rows

__all__ = ["unite"]

_CHAINS = select(chains.c.id, chains.c.agency_id).where(among(chains.c.root, "roots")).order_by(chains.c.id)
_NAME = update(chains).where(chains.c.id == bindparam("b_id")).values(root=bindparam("new"))
_FOLLOW = (
    update(documents).where(among(documents.c.key, "roots")).values(root=bindparam("lead")),
    update(packets).where(among(packets.c.root, "roots")).values(root=bindparam("lead")),
    update(holds)
    .where(among(holds.c.value, "roots"), holds.c.kind == HoldKind.DOCUMENT)
    .values(value=bindparam("lead")),
)


def unite(connection: Connection, lead: str, others: Sequence[str]) -> None:
    """Make one family of those with these roots, whose rows in `documents` this transaction has locked.

    What an agency has of several becomes one chain, in the order of acceptance, under the earliest of their ids: no row
    lies in a month before it.  The others stay as empty rows, for whoever has read their ids.  Whoever puts a hold on
    meanwhile reads its family's root afterwards.
    """
    lock_alone(connection, AloneAt.HOLDING)
    found = select_rows(connection, _CHAINS, {"roots": [lead, *others]})
    loaded = load_chains(connection, [row.id for row in found])
    loaded |= {chain.id: chain for chain in with_archived(connection, loaded.values())}
    at: dict[str, list[str]] = defaultdict(list)
    for row in found:
        at[row.agency_id].append(row.id)
    for ids in at.values():
        if len(ids) > 1:
            put_in_order(connection, _joined([loaded[chain_id] for chain_id in ids]))
    if empty := [{"b_id": i, "new": f"joined|{i}"} for ids in at.values() for i in ids[1:]]:
        execute_rows(connection, _NAME, empty)
    if kept := [{"b_id": ids[0], "new": lead} for ids in at.values()]:
        execute_rows(connection, _NAME, kept)
    for statement in _FOLLOW:
        execute_one(connection, statement, {"roots": list(others), "lead": lead})


def _joined(found: Sequence[Chain]) -> Chain:
    """Under the first one's id. Of a chain that was archived in part the first place stays free."""
    links = merge(*(chain.links for chain in found), key=_accepted)
    first = 1 + any(chain.is_archived for chain in found)
    return Chain(found[0].id, tuple(altered(link, position=place) for place, link in enumerate(links, first)))


def _accepted(link: Link) -> tuple[int, str]:
    return link.accepted_at, link.delivery_id
