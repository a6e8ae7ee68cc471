"""Packets and the small key tables in front of them: submissions, idempotency keys, documents (protocol §12)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, delete, exists, insert, literal_column, select, update

from edxml.codes import StatusCode
from edxml.values import hasten
from gateway.model.copies import altered
from gateway.model.states import Book, DeliveryState, LinkKind
from gateway.store.dialect import among, insert_missing, inserting_missing, writes_beside_others
from gateway.store.months.bounds import among_ids, low_of, one_of, since
from gateway.store.schema import deliveries, documents, idempotency, packets, submissions
from gateway.store.statements import change_and_select, execute_rows, select_one, select_rows
from gateway.store.together import Together
from gateway.store.transfers import ChannelFacts, channel_facts_asked, channel_facts_found

__all__ = [
    "BlobUse", "DocumentRow", "Entered", "PacketRow", "RecipientRow", "blobs_after", "blobs_needed", "by_ids",
    "claim_idempotency", "claim_submissions", "documents_by_key", "documents_by_notation", "drop_claims",
    "hand_claims", "has_any", "has_blob", "has_root", "ids_of_blob", "insert_new", "is_held", "name_documents",
    "packets_asked", "packets_found", "packets_like", "recipients_of", "save_documents",
]  # fmt: skip


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRow:
    """A packet as it is written and read: field for field the row."""

    id: str
    kind: str
    book: str
    document_key: str
    document_id: str
    root: str
    sender_id: str
    system_id: str
    sender_organ: str
    notation: str
    subject: str
    status_code: str
    is_urgent: bool
    wire_digest: str
    fingerprint: str
    blob: str
    size: int
    attachments: str
    repairs: str
    recipients: str
    seal: bytes
    accepted_at: int
    recorded_at: int


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """What is known of a document: field for field the row."""

    key: str
    root: str
    notation: str
    issuer_id: str
    fingerprint: str
    packet_id: str
    packet_fingerprint: str
    kind: str
    came: bool
    is_recalled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRow:
    """A delivery as the sender of its packet is told of it."""

    id: str
    packet_id: str
    agency_id: str
    organ: str
    state: str
    reason: str
    detail: str
    leg: str
    readdressed_from: str


_PACKET_FIELDS = tuple(PacketRow.__dataclass_fields__)
_DOCUMENT_FIELDS = tuple(DocumentRow.__dataclass_fields__)
_INSERT = insert(packets)


def insert_new(beside: Together, new: Sequence[PacketRow]) -> None:
    """Write packets, with what is done `beside`."""
    beside.add(_INSERT, [{name: getattr(p, name) for name in _PACKET_FIELDS} for p in new])


_BY_IDS = select(packets).where(among_ids(packets.c.id))


def by_ids(connection: Connection, ids: Iterable[str]) -> dict[str, PacketRow]:
    """Packets, by id."""
    return packets_found(select_rows(connection, *packets_asked(ids)))


def packets_asked(ids: Iterable[str]) -> tuple[Executable, Mapping[str, object]]:
    """What `by_ids` asks, for a trip with others."""
    return _BY_IDS, {"ids": list(ids)}


def packets_found(rows: Iterable[Any]) -> dict[str, PacketRow]:
    """The answer to it."""
    return {row.id: PacketRow(**row._asdict()) for row in rows}


# --- first answers -------------------------------------------------------------------------------------------

_SUBMISSIONS = select(submissions.c.key, submissions.c.packet_id).where(among(submissions.c.key, "keys"))
_IDEMPOTENCY = select(idempotency).where(among(idempotency.c.key, "keys"))
_DROP_SUBMISSION = delete(submissions).where(submissions.c.packet_id == bindparam("b_id"))
_DROP_IDEMPOTENCY = delete(idempotency).where(idempotency.c.packet_id == bindparam("b_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Who holds submission keys now, and what was asked for behind that."""

    held: dict[str, str] = field(default_factory=dict)  #: the packet of each key: ours, or the first one's
    documents: dict[str, DocumentRow] = field(default_factory=dict)  #: as `documents_by_key` gives them
    channels: list[ChannelFacts] = field(default_factory=list)  #: as `channel_facts` gives them


def claim_submissions(
    connection: Connection,
    wanted: Sequence[tuple[str, str]],
    *,
    documents: Collection[str] = (),
    channels: Collection[str] = (),
) -> Entered:
    """Enter (submission key, packet id) pairs; gives the packet that holds each key now.

    With it, where they are named, documents and channels, as they are when all keys are held; on PostgreSQL in the same
    trip.
    """
    if not wanted:
        return Entered()
    rows = [{"key": key, "packet_id": packet_id} for key, packet_id in wanted]
    statement, ordered = inserting_missing(connection, submissions, rows, "key")
    asked = [_documents_asked(connection, documents), channel_facts_asked(channels)] if documents or channels else []
    count, told = change_and_select(connection, statement, ordered, asked)
    held = dict(wanted)
    if count < len(rows):
        found = select_rows(connection, _SUBMISSIONS, {"keys": [key for key, _ in wanted]})
        held = {row.key: row.packet_id for row in found}
    if not told:
        return Entered(held=held)
    return Entered(held=held, documents=_documents_found(connection, told[0]), channels=channel_facts_found(told[1]))


def claim_idempotency(connection: Connection, wanted: Sequence[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """Enter (Idempotency-Key, submission key, packet id); gives (submission key, packet id) that hold each key now."""
    if not wanted:
        return {}
    rows = [{"key": key, "submission_key": made, "packet_id": packet_id} for key, made, packet_id in wanted]
    if insert_missing(connection, idempotency, rows, "key") == len(rows):
        return {key: (made, packet_id) for key, made, packet_id in wanted}
    found = select_rows(connection, _IDEMPOTENCY, {"keys": [key for key, _, _ in wanted]})
    return {row.key: (row.submission_key, row.packet_id) for row in found}


def drop_claims(connection: Connection, packet_ids: Sequence[str]) -> None:
    """Forget the keys of packets that were refused after they had been entered in this transaction."""
    if packet_ids:
        rows = [{"b_id": packet_id} for packet_id in packet_ids]
        execute_rows(connection, _DROP_SUBMISSION, rows)
        execute_rows(connection, _DROP_IDEMPOTENCY, rows)


_HAND_SUBMISSION = (
    update(submissions).where(submissions.c.packet_id == bindparam("b_id")).values(packet_id=bindparam("first"))
)
_HAND_IDEMPOTENCY = (
    update(idempotency).where(idempotency.c.packet_id == bindparam("b_id")).values(packet_id=bindparam("first"))
)


def hand_claims(connection: Connection, repeats: Mapping[str, str]) -> None:
    """These packets said nothing new: their keys answer with the first packet from now on (packet id → first)."""
    if repeats:
        rows = [{"b_id": packet_id, "first": first} for packet_id, first in repeats.items()]
        execute_rows(connection, _HAND_SUBMISSION, rows)
        execute_rows(connection, _HAND_IDEMPOTENCY, rows)


# --- documents -----------------------------------------------------------------------------------------------

_KNOWN = select(documents).where(among(documents.c.key, "keys"))
_tied = select(documents.c.key).where(among(documents.c.key, "keys")).cte(recursive=True, nesting=True)
_root = select(documents.c.root).where(documents.c.key == _tied.c.key).scalar_subquery()
_TIED = select(_tied.union(select(_root).select_from(_tied)))
_LOCKED = select(documents).where(one_of(documents.c.key, _TIED)).order_by(documents.c.key).with_for_update()
"""On PostgreSQL: with the roots of their families, all locked in one order, so that never two wait for each other."""
_BY_NOTATION = select(documents.c.key, documents.c.notation).where(among(documents.c.notation, "keys"))
_SAVE = (
    update(documents)
    .where(documents.c.key == bindparam("b_key"))
    .values({name: bindparam(name) for name in _DOCUMENT_FIELDS if name != "key"})
)
_INSERT_DOCUMENT = insert(documents)


def name_documents(connection: Connection, keys: Iterable[str], issuer_id: str) -> None:
    """Enter documents that are known by name alone, as somebody's that replaces them; who has one keeps it."""
    row = DocumentRow(
        key="", root="", notation="", issuer_id=issuer_id, fingerprint="", packet_id="", packet_fingerprint="",
        kind=LinkKind.NEW, came=False, is_recalled=False,
    )  # fmt: skip
    rows = [{name: getattr(row, name) for name in _DOCUMENT_FIELDS} | {"key": key, "root": key} for key in keys]
    insert_missing(connection, documents, rows, "key")


def documents_by_key(connection: Connection, keys: Iterable[str]) -> dict[str, DocumentRow]:
    """Known documents, by key, their rows locked and as they are under the lock; for a transaction that writes.

    Roots of their families may be among them.  Who is making one of the others meanwhile is met by `save_documents`.
    """
    return _documents_found(connection, select_rows(connection, *_documents_asked(connection, keys)))


def _documents_asked(connection: Connection, keys: Iterable[str]) -> tuple[Executable, Mapping[str, Any]]:
    return _LOCKED if writes_beside_others(connection) else _KNOWN, {"keys": sorted(set(keys))}


def _documents_found(connection: Connection, rows: Iterable[Any]) -> dict[str, DocumentRow]:
    """Each with the root that its family has today: a former root's own row says the next, and is locked too.

    Where families were united while these were being locked, the new root is read, and locked, after them.
    """
    found = {row.key: DocumentRow(**row._asdict()) for row in rows}
    nexts = {key: row.root for key, row in found.items()}
    while unknown := set(nexts.values()) - nexts.keys():
        nexts |= dict.fromkeys(unknown, "")
        nexts |= {row.key: row.root for row in select_rows(connection, *_documents_asked(connection, unknown))}
        nexts |= {key: key for key in unknown if not nexts[key]}
    return {key: altered(row, root=_end(nexts, row.root)) for key, row in found.items()}


def _end(nexts: Mapping[str, str], root: str) -> str:
    while nexts[root] != root:
        root = nexts[root]
    return root


def documents_by_notation(connection: Connection, keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys of known documents, by folded issuer, date and number/notation; several where senders reuse a number."""
    found: dict[str, list[str]] = {}
    for row in select_rows(connection, _BY_NOTATION, {"keys": list(keys)}):
        found.setdefault(row.notation, []).append(row.key)
    return found


def save_documents(beside: Together, new: Sequence[DocumentRow], changed: Sequence[DocumentRow]) -> None:
    """Write documents, with what is done `beside`.

    A key that somebody else has just made raises IntegrityError then: the hop runs again, singly.
    """
    beside.add(_INSERT_DOCUMENT, [{name: getattr(d, name) for name in _DOCUMENT_FIELDS} for d in new])
    rows = [{**{n: getattr(d, n) for n in _DOCUMENT_FIELDS if n != "key"}, "b_key": d.key} for d in changed]
    beside.add(_SAVE, rows)


_LIKE = select(packets.c.id).where(packets.c.root == bindparam("root"), packets.c.fingerprint == bindparam("print"))


def packets_like(connection: Connection, root: str, fingerprint: str) -> frozenset[str]:
    """Ids of packets of one document family that say the same."""
    return frozenset(row.id for row in select_rows(connection, _LIKE, {"root": root, "print": fingerprint}))


_GONE = (DeliveryState.REFUSED, DeliveryState.UNDELIVERABLE, DeliveryState.EXPIRED, DeliveryState.WITHDRAWN)
_later = deliveries.alias("later")
_GIVEN_BACK = exists().where(
    _later.c.chain_id == deliveries.c.chain_id,
    _later.c.document == deliveries.c.document,
    _later.c.position >= deliveries.c.position,
    _later.c.status_code == StatusCode.REFUSED,
)
"""A status 02 is about the document: whoever has it and an update of it gives back both."""
_HELD = select(
    exists()
    .where(packets.c.document_key == bindparam("key"), packets.c.book == Book.DOCUMENTS)
    .where(
        deliveries.c.packet_id == packets.c.id,
        deliveries.c.kind != LinkKind.RECALL,
        deliveries.c.state.not_in(_GONE),
        ~_GIVEN_BACK,
    )
)


def is_held(connection: Connection, document_key: str) -> bool:
    """Whether anybody has, or may yet get, what a document says or an update of it; who refused it gave it back."""
    return bool(select_one(connection, _HELD, {"key": document_key}))


_HAS_ROOT = select(exists().where(packets.c.root == bindparam("root")))


def has_root(connection: Connection, root: str) -> bool:
    """Whether any packet of a document family is stored; a known one without any was archived and is gone."""
    return bool(select_one(connection, _HAS_ROOT, {"root": root}))


_RECIPIENTS = (
    select(
        deliveries.c.id, deliveries.c.packet_id, deliveries.c.agency_id, deliveries.c.organ, deliveries.c.state,
        deliveries.c.reason, deliveries.c.detail, deliveries.c.leg, deliveries.c.readdressed_from,
    )
    .where(among(deliveries.c.packet_id, "ids"), since(deliveries.c.id))
    .order_by(deliveries.c.id)
)  # fmt: skip


def recipients_of(connection: Connection, packet_ids: Iterable[str]) -> dict[str, list[RecipientRow]]:
    """Today's deliveries of packets, by packet."""
    found: dict[str, list[RecipientRow]] = {}
    wanted = list(packet_ids)
    for row in select_rows(connection, _RECIPIENTS, {"ids": wanted, "low": low_of(wanted)}):
        found.setdefault(row.packet_id, []).append(RecipientRow(**row._asdict()))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobUse:
    """A packet, the digest of its blob, and how many bytes that has."""

    packet_id: str
    digest: str
    size: int


_BLOBS = (
    select(packets.c.id.label("packet_id"), packets.c.blob.label("digest"), packets.c.size)
    .where(packets.c.id > bindparam("after"), packets.c.id <= bindparam("until"), packets.c.blob != "")
    .order_by(packets.c.id)
    .limit(bindparam("most"))
)


def blobs_after(connection: Connection, after: str, until: str, most: int) -> tuple[BlobUse, ...]:
    """The blobs of the next packets after that id, up to and with `until`; an erased packet has none."""
    rows = select_rows(connection, _BLOBS, {"after": after, "until": until, "most": most})
    return tuple(BlobUse(**row._asdict()) for row in rows)


_IDS_OF_BLOB = select(packets.c.id).where(packets.c.blob == bindparam("digest")).order_by(packets.c.id)


def ids_of_blob(connection: Connection, digest: str) -> tuple[str, ...]:
    """The packets that need this blob, in the order of their acceptance."""
    return tuple(row.id for row in select_rows(connection, _IDS_OF_BLOB, {"digest": digest}))


_HAS_BLOB = select(exists().where(packets.c.blob == bindparam("digest")))


def has_blob(connection: Connection, digest: str) -> bool:
    """Whether any packet needs this blob."""
    return bool(select_one(connection, _HAS_BLOB, {"digest": digest}))


_NEEDED = select(packets.c.blob).distinct().where(among(packets.c.blob, "digests"))


def blobs_needed(connection: Connection, digests: Sequence[str]) -> frozenset[str]:
    """Which of these, some hundred at most, any packet needs."""
    return frozenset(row.blob for row in select_rows(connection, _NEEDED, {"digests": list(digests)}))


_HAS_ANY = select(exists().where(packets.c.id != literal_column("''")))


def has_any(connection: Connection) -> bool:
    """Whether anything was ever accepted here."""
    return bool(select_one(connection, _HAS_ANY, {}))
