"""What is no longer here because its month was archived and went."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, bindparam, exists, select

from gateway.store.months.partitions import made_at, month_of
from gateway.store.months.periods import Period
from gateway.store.schema import chains, documents
from gateway.store.schema_periods import periods
from gateway.store.views.document import document_keys

__all__ = ["archived", "archived_id"]

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_PERIOD = select(periods).where(periods.c.month == bindparam("wanted"), periods.c.dropped_at.is_not(None))
_DOCUMENTS = select(documents.c.root, documents.c.issuer_id, documents.c.packet_id).where(
    documents.c.key.in_(bindparam("keys", expanding=True))
)
_NEXT = select(documents.c.root).where(documents.c.key == bindparam("root"))
_WAS_SENT = select(
    exists().where(chains.c.root == bindparam("root"), chains.c.agency_id.in_(bindparam("agencies", expanding=True)))
)


def archived_id(connection: Connection, text: str) -> Period | None:
    """The month of an id of ours, where it was archived and went.

    Nothing is left to tell whether there ever was such a packet or delivery, so all ids of that month answer alike.
    """
    if not _ID.fullmatch(text):
        return None
    row = connection.execute(_PERIOD, {"wanted": month_of(made_at(text)).name}).one_or_none()
    return None if row is None else Period(**row._mapping)


def archived(
    connection: Connection, text: str, *, issuers: Iterable[str], seen_by: frozenset[str] | None
) -> Period | None:
    """The month that holds what a person may mean by `text` (`find_packets`), where it was archived and went.

    A document's id tells something only to its issuer and to whom it was sent; `seen_by` None: an operator, to whom all
    is told.
    """
    if found := archived_id(connection, text):
        return found
    keys = document_keys(text, issuers)
    for row in connection.execute(_DOCUMENTS, {"keys": keys}) if keys else ():
        if seen_by is None or row.issuer_id in seen_by or _was_sent(connection, row.root, seen_by):
            return archived_id(connection, row.packet_id)
    return None


def _was_sent(connection: Connection, root: str, agency_ids: Iterable[str]) -> bool:
    """Whether one of these was sent anything of the family: its chains bear the root that it has today."""
    while (after := connection.execute(_NEXT, {"root": root}).scalar() or root) != root:
        root = after
    return bool(connection.execute(_WAS_SENT, {"root": root, "agencies": sorted(agency_ids)}).scalar())
