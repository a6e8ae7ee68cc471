"""Finding documents by what a person remembers of them: number, date, subject, sender, recipient, state.

Nothing is indexed for it: a copy of each subject without accents would be one more place that keeps personal data.
The search reads packets backwards in time, page by page, and ends at a stated count (`LOOKED_AT_MOST`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from gateway.model.instants import id_floor
from gateway.model.states import Book
from gateway.store.schema import deliveries, documents, packets
from gateway.store.views.lists import NEWEST
from routing.names import fold_accents

__all__ = ["LOOKED_AT_MOST", "Found", "FoundLine", "Wanted", "search"]

LOOKED_AT_MOST: Final = 200_000
"""Packets that one search looks at: some ten days of a province, a few seconds."""

_PAGE: Final = 1000
_NUMBER = re.compile(r"(?:so )?0*(\d+)(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is remembered; what is left empty leaves nothing out. Several are all meant at once.

    `number`: "128", "Số 128/QĐ-UBND", "128 / qd.ubnd", "QĐ-UBND"; a notation may be left off at its end.
    `subject`: words that all stand in the subject, in any order and case, with or without accents.
    """

    number: str = ""
    subject: str = ""
    dated: date | None = None  #: the day that the document itself bears
    start: int = 0  #: accepted at this instant or later
    end: int | None = None  #: accepted before this instant
    senders: frozenset[str] | None = None  #: our ids; None: all
    recipients: frozenset[str] | None = None
    states: frozenset[str] | None = None  #: a delivery is in one of them; to one of `recipients` where those are said


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLine:
    """A packet that bears content of a document, and how far it is on its way to each recipient."""

    packet_id: str
    document_id: str
    root: str  #: the same for all packets of one document
    kind: str
    sender_id: str
    notation: str
    subject: str
    dated: str  #: as 2026-12-01; "" where it bears no date
    accepted_at: int
    recipients: tuple[tuple[str, str], ...]  #: (agency id, state), by delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, newest first."""

    lines: tuple[FoundLine, ...]
    looked: int  #: packets that were looked at
    back_to: int | None  #: when the last of them was accepted; None where none was looked at
    is_all: bool  #: False: it ended at `limit` or at `look`, and older packets may match too


_ROWS = (
    select(
        packets.c.id.label("packet_id"), packets.c.document_id, packets.c.root, packets.c.kind, packets.c.sender_id,
        packets.c.notation, packets.c.subject, packets.c.book, packets.c.accepted_at,
        documents.c.notation.label("key"),
    )
    .select_from(packets.outerjoin(documents, documents.c.key == packets.c.document_key))
    .where(packets.c.id < bindparam("before"), packets.c.id >= bindparam("floor"))
    .order_by(packets.c.id.desc())
    .limit(bindparam("limit"))
)  # fmt: skip
_RECIPIENTS = (
    select(deliveries.c.packet_id, deliveries.c.agency_id, deliveries.c.state)
    .where(deliveries.c.packet_id.in_(bindparam("ids", expanding=True)))
    .order_by(deliveries.c.id)
)


def search(connection: Connection, wanted: Wanted, *, limit: int = 20, look: int = LOOKED_AT_MOST) -> Found:
    """Packets of documents (no statuses) that fit what is `wanted`, for an operator, who may see all.

    Looks at no more than `look` packets and gives no more than `limit`.
    """
    found: list[FoundLine] = []
    before = NEWEST if wanted.end is None else id_floor(wanted.end)
    looked, back_to, is_all = 0, None, False
    while len(found) < limit and looked < look and not is_all:
        size = min(_PAGE, look - looked)
        given = {"before": before, "floor": id_floor(wanted.start), "limit": size}
        page = connection.execute(_ROWS, given).all()
        is_all = len(page) < size
        if page:
            looked, before, back_to = looked + len(page), page[-1].packet_id, page[-1].accepted_at
            found += _matching(connection, page, wanted)
    return Found(lines=tuple(found[:limit]), looked=looked, back_to=back_to, is_all=is_all and len(found) <= limit)


def _matching(connection: Connection, page: Sequence[Any], wanted: Wanted) -> Iterator[FoundLine]:
    """The packets of a page that fit; deliveries are read for those alone whose own row fits."""
    number, words = _folded_number(wanted.number), fold_accents(wanted.subject).split()
    rows = [row for row in page if row.book == Book.DOCUMENTS and _fits(row, wanted, number, words)]
    to: dict[str, list[tuple[str, str]]] = defaultdict(list)
    if rows:
        for line in connection.execute(_RECIPIENTS, {"ids": [row.packet_id for row in rows]}):
            to[line.packet_id].append((line.agency_id, line.state))
    for row in rows:
        lines = to[row.packet_id]
        if _is_among(lines, wanted):
            told = {name: value for name, value in row._mapping.items() if name not in ("book", "key")}
            yield FoundLine(**told, dated=_day(row.key), recipients=tuple(lines))


def _fits(row: Any, wanted: Wanted, number: tuple[str, str], words: list[str]) -> bool:
    if wanted.senders is not None and row.sender_id not in wanted.senders:
        return False
    if wanted.dated is not None and _day(row.key) != wanted.dated.isoformat():
        return False
    if wanted.number:
        figures, notation = _folded_number(row.notation)
        if number[0] not in ("", figures) or not notation.startswith(number[1]):
            return False
    subject = fold_accents(row.subject) if words else ""
    return all(word in subject for word in words)


def _is_among(lines: list[tuple[str, str]], wanted: Wanted) -> bool:
    if wanted.recipients is None and wanted.states is None:
        return True
    return any(
        (wanted.recipients is None or agency in wanted.recipients) and (wanted.states is None or state in wanted.states)
        for agency, state in lines
    )


def _folded_number(written: str) -> tuple[str, str]:
    """Number and notation without accents, case, blanks, punctuation and leading noughts: ("128", "qdubnd")."""
    folded = fold_accents(written)
    parts = _NUMBER.fullmatch(folded)
    figures, notation = (parts[1], parts[2]) if parts else ("", folded)
    return figures, notation.replace(" ", "")


def _day(key: str | None) -> str:
    """The date in a key that `edxml.ids.notation_key` made: issuer, date, number and notation between bars."""
    return key.split("|")[1] if key else ""
